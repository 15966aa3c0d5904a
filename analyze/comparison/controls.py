"""Widened variants with the parent they start from, against the controls without which nothing follows from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

from analyze.comparison.results import Place
from analyze.comparison.summary import CellSummary
from analyze.comparison.variants import VariantResult
from analyze.statistics import Estimate, mean_interval, paired_interval
from train.tracking import read_metrics

CONTROLS = ("narrow", "unparted")
"""What an arm is compared with: its start trained on without widening; as many copies that nothing parted."""


@dataclass(frozen=True)
class AgainstControls:
    """One score of a widened arm against both controls."""

    over: dict[str, Estimate]
    """The difference of the share, duplicates once, to each of CONTROLS, paired by seed; NaN without the control."""
    beats_both: str | None
    """Yes where both intervals lie above 0, "no" where either lies below it, else "not shown"; None where a control or
    an interval is missing."""


@dataclass(frozen=True)
class ArmResult:
    """A parent, or a variant that starts from one."""

    result: VariantResult
    birth_loss: float
    """Nats a token at the first evaluation of the run, mean over seeds."""
    loss_over_narrow: Estimate
    scores: dict[str, AgainstControls]
    """By the name of the score."""

    @property
    def has_control(self) -> bool:
        """Whether any control is there."""
        return any(over.n for score in self.scores.values() for over in score.over.values())


def arms_with_controls(rows: Sequence[VariantResult], roots: Mapping[str, str | None]) -> tuple[ArmResult, ...]:
    """Parents and, behind each, the variants that descend from it.

    Args:
        roots: of each run, the run from scratch that it descends from, both by their hashes.
    """
    ancestors = {roots[meta.run_hash] for row in rows if row.is_arm for meta in row.metas}
    kept = [row for row in rows if row.is_arm or any(meta.run_hash in ancestors for meta in row.metas)]
    return tuple(_arm(row, kept) for row in sorted(kept, key=_order))


def _order(row: VariantResult) -> tuple[str, Place, bool, int, bool, str]:
    """Parents first, then by factor, and of one factor the arm without noise first."""
    meta = row.meta
    return meta.root_variant, row.place, row.is_arm, meta.factor, meta.scheme != "none", row.variant


def _arm(row: VariantResult, rows: Sequence[VariantResult]) -> ArmResult:
    births = []
    for each in row.cells:
        evaluations = read_metrics(each.cell.directory.run_directory / "metrics.jsonl", "eval")
        births.append(evaluations[0]["loss"] if evaluations else nan)
    controls = {name: _control(name, row, rows) for name in CONTROLS}
    over_narrow = _difference(row, controls["narrow"], lambda each: each.cell.meta.eval_loss)
    scores = {name: _against(row, controls, name) for name in row.scores}
    return ArmResult(row, mean_interval(births).mean, over_narrow, scores)


def _against(row: VariantResult, controls: Mapping[str, VariantResult | None], score: str) -> AgainstControls:
    over = {
        name: _difference(row, control, lambda each: each.own.called[score].share).clipped(-1.0, 1.0)
        for name, control in controls.items()
    }
    return AgainstControls(over, _beats(list(over.values())))


def _control(name: str, row: VariantResult, rows: Sequence[VariantResult]) -> VariantResult | None:
    """The arm of that kind with the same start, layer and hook; None for what is not widened, or is itself one."""
    if row.meta.factor == 1 or not row.is_arm:
        return None
    for other in rows:
        if other is row or other.starts != row.starts or other.place != row.place:
            continue
        if name == "narrow" and other.meta.factor == 1:
            return other
        if name == "unparted" and other.meta.factor == row.meta.factor and other.meta.scheme == "none":
            return other
    return None


def _difference(
    row: VariantResult, control: VariantResult | None, figure: Callable[[CellSummary], float | None]
) -> Estimate:
    own, other = ({} if each is None else {cell.seed: figure(cell) for cell in each.cells} for each in (row, control))
    pairs = [(own[seed], other[seed]) for seed in sorted(own.keys() & other.keys())]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return paired_interval([a for a, _ in known], [b for _, b in known])


def _beats(over: Sequence[Estimate]) -> str | None:
    if not all(estimate.has_interval for estimate in over):
        return None
    if all(estimate.low > 0 for estimate in over):
        return "yes"
    return "no" if any(estimate.high < 0 for estimate in over) else "not shown"
