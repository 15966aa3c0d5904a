"""A comparison of variants: what it is, and how it is made from scored cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from analyze.comparison.controls import ArmResult, arms_with_controls
from analyze.comparison.relations import final_cells, precisions_of, roots_of, untrained_among
from analyze.comparison.results import Cell, require_same_tokens
from analyze.comparison.separation import Separation, separations
from analyze.comparison.summary import CellSummary, ComparedScore, Rows, compared_scores, rows_of, summarize
from analyze.comparison.variants import Results, VariantResult, over_seeds
from analyze.scores import PRIMARY
from train.errors import BadInput, did_you_mean


@dataclass(frozen=True)
class Comparison:
    """Variants over the last step of their seeds.

    Shares lie in 0..1, losses are in nats a token; a figure that is not there is NaN. Intervals are 95 % t intervals
    over seeds (none with one seed), except `within` (bootstrap over clusters of duplicates, seeds fixed) and those of
    nulls (Wilson, over the rows of all seeds).
    """

    results: Results
    """The reference first, and what starts from a checkpoint behind what was trained from scratch."""
    arms: tuple[ArmResult, ...]
    """Variants that start from a checkpoint, behind the parent they start from."""
    scores: tuple[ComparedScore, ...]
    reference: str
    primaries: tuple[str, ...]
    separations: tuple[Separation, ...]
    """What each score separates, of the variants from scratch."""
    precisions: tuple[str, ...]
    """In which runs were trained."""
    first: Cell
    """Of which text and token sample are those of all."""

    @property
    def rows(self) -> list[VariantResult]:
        """Every variant, layer and hook, in the order of tables."""
        return [row for places in self.results.values() for row in places.values()]

    @property
    def primary(self) -> ComparedScore:
        """The score that summaries and figures show: the first of `scores` that is a primary."""
        return next((score for score in self.scores if score.name in self.primaries), self.scores[0])

    @property
    def n_tests(self) -> int:
        """Contrasts with the reference over all primaries: the family that Holm's correction counts."""
        planned = [score.name for score in self.scores if score.name in self.primaries]
        return sum(isfinite(row.scores[name].difference.mean) for row in self.rows for name in planned)


def comparison_of(
    cells: Sequence[Cell], reference: str | None = None, primaries: Sequence[str] = (PRIMARY,)
) -> Comparison:
    """As `analyze.comparison.command.compare`, from cells and without writing."""
    require_same_tokens(cells)
    finals = final_cells(cells)
    reference = next(iter(finals)) if reference is None else reference
    if reference not in finals:
        raise BadInput(f"reference: no variant {reference!r} among the runs{did_you_mean(reference, list(finals))}")
    is_arm = {cell.meta.variant: cell.meta.start_hash is not None for cell in cells}
    finals = dict(sorted(finals.items(), key=lambda item: (item[0] != reference, is_arm[item[0]])))
    scores = compared_scores(next(iter(finals[reference].values()))[0].scores().columns)
    known = [score.name for score in scores]
    for primary in primaries:
        if primary not in known:
            hint = did_you_mean(primary, known)
            raise BadInput(f"primaries: no score {primary!r} here{hint}; score it, or compare with other --primaries")

    untrained_of = untrained_among(cells)
    births: dict[Path, Rows] = {}

    def summary_of(cell: Cell) -> CellSummary:
        birth = untrained_of(cell)
        if birth is not None and birth.path not in births:
            births[birth.path] = rows_of(birth.neurons(), scores)
        return summarize(cell, scores, None if birth is None else births[birth.path])

    summaries = {
        variant: {place: tuple(map(summary_of, by_seed)) for place, by_seed in places.items()}
        for variant, places in finals.items()
    }
    results = over_seeds(summaries, reference, scores, primaries)
    rows = [row for places in results.values() for row in places.values()]
    return Comparison(
        results,
        arms_with_controls(rows, roots_of(cells)),
        scores,
        reference,
        tuple(primaries),
        separations(summaries, reference),
        tuple(precisions_of(cells)),
        cells[0],
    )
