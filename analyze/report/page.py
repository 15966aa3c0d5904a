"""One self-contained report.html about a results directory, and its figures as SVG files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.directory import beside
from analyze.comparison.command import comparison_of
from analyze.comparison.comparison import Comparison
from analyze.comparison.results import Cell, final_cells, find_cells
from analyze.comparison.summary import JUDGES, NULLS_SHOWN, Judge
from analyze.comparison.table import all_tables
from analyze.comparison.wording import GLOSSARY, doubts, place, tests_made, with_interval
from analyze.figures import Figure, styles_of
from analyze.html import render, versions
from analyze.report.fission import FissionPart, fission_part
from analyze.report.neurons import Cards, Group, Text, shown_cells
from analyze.report.parts import loss_figure, score_figure, share_figure, widened_figures
from analyze.report.probes import ProbePart, probe_part
from analyze.scores.passages import N_EXTREME, N_RANDOM
from analyze.scores.validity import may_lead, validity_line
from analyze.tables import Table, count, percent, visible
from train.errors import BadInput
from train.files import manifest_hash, write_atomic


@dataclass(frozen=True)
class VariantCards:
    """A variant's neurons."""

    title: str
    colour: str
    facts: str
    troubles: tuple[str, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Page:
    """Everything the template prints."""

    study: str
    question: str
    summary: tuple[str, ...]
    tests: str
    tables: tuple[Table, ...]
    doubts: tuple[str, ...]
    share_figure: Figure
    loss_figure: Figure | None
    score_figure: Figure
    score_title: str
    widened_figures: tuple[Figure, ...]
    fission: FissionPart | None
    probes: ProbePart | None
    sampling: str
    variants: tuple[VariantCards, ...]
    glossary: tuple[tuple[str, str], ...]
    provenance: str
    command: str
    versions: str
    runs: Table

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them, in order of reading."""
        parted = () if self.fission is None else self.fission.figures
        probed = () if self.probes is None else self.probes.figures
        found = (self.share_figure, self.loss_figure, self.score_figure, *self.widened_figures, *parted, *probed)
        return tuple(figure for figure in found if figure is not None)


def report(results_dir: Path | str, reference: str | None = None, primaries: Sequence[str] | None = None) -> Path:
    """Write report.html and figures/*.svg into a results directory; the page opens without a network.

    Args:
        reference, primaries: as of `compare`; default: those of the comparison.parquet that lies there, else
            the first variant and K_eff.

    Returns:
        The path of report.html.

    Raises:
        BadInput: no scores there, damaged ones, or ones that `compare` refuses.

    Where a comparison lies there, its variants and seeds are reported, in its order.
    """
    results = Path(results_dir)
    before = _as_compared(results)
    cells = _cells(results, before)
    if before is not None:
        reference = before["reference"][0] if reference is None else reference
        primaries = before["primaries"][0].split() if primaries is None else primaries
    comparison = comparison_of(cells, reference, ("k_eff",) if primaries is None else primaries)
    page = _page(results, comparison, cells)
    (results / "figures").mkdir(exist_ok=True)
    for figure in page.figures:
        write_atomic(results / "figures" / f"{figure.name}.svg", figure.svg.encode())
    write_atomic(results / "report.html", render("report.html.j2", page=page).encode())
    return results / "report.html"


def _as_compared(results: Path) -> pl.DataFrame | None:
    """Variants, their seeds, reference and primaries of the comparison that lies there, in its order."""
    path = results / "comparison.parquet"
    if not path.is_file():
        return None
    try:
        return pl.read_parquet(path, columns=["variant", "seeds", "reference", "primaries"])
    except (OSError, pl.exceptions.PolarsError) as failure:
        raise BadInput(f"{path}: cannot be read ({failure}); compare again") from None


def _cells(results: Path, before: pl.DataFrame | None) -> list[Cell]:
    """The cells under `results`: those that were compared, in that order, or all."""
    cells = find_cells([results])
    if before is None:
        return cells
    order = {
        (variant, int(seed)): place
        for place, (variant, seeds) in enumerate(before.select("variant", "seeds").iter_rows())
        for seed in seeds.split()
    }
    compared = [cell for cell in cells if (cell.meta["variant"], cell.meta["seed"]) in order]
    return sorted(compared, key=lambda cell: order[cell.meta["variant"], cell.meta["seed"]])


def _page(results: Path, comparison: Comparison, cells: Sequence[Cell]) -> Page:
    finals = final_cells(cells)
    variants = comparison.rows["variant"].unique(maintain_order=True).to_list()
    styles = styles_of(variants)
    judge = next((judge for judge in comparison.judges if judge.name in comparison.primaries), JUDGES[0])
    facts = comparison.facts
    n_seeds = comparison.rows["n_seeds"].max()
    return Page(
        study=visible(results.resolve().name),
        question=(
            f"How many neurons of {len(variants)} model variants answer to one thing? Variants are trained "
            f"on the same text and compared over {n_seeds} seed{'s' if n_seeds != 1 else ''}; every neuron "
            "is scored, and each score is held against an untrained network and a random rotation of the "
            "same "
            "activations."
        ),
        summary=tuple(visible(sentence) for sentence in summary(comparison, judge)),
        tests=visible(tests_made(comparison)),
        tables=tuple(all_tables(comparison)),
        doubts=tuple(visible(doubt) for doubt in doubts(comparison)),
        share_figure=share_figure(comparison, judge, styles),
        loss_figure=loss_figure(finals, comparison, styles),
        score_figure=score_figure(comparison, finals, cells, styles),
        score_title="K_eff",
        widened_figures=widened_figures(comparison, judge, styles),
        fission=fission_part(results, styles),
        probes=probe_part(results, styles),
        sampling=(
            f"Of the first seed of each variant: {N_RANDOM} scored neurons drawn at random with a fixed "
            f"seed, and, "
            f"named as such, the {N_EXTREME} with the smallest and the {N_EXTREME} with the largest "
            f"K_eff. Only the "
            "random ones are typical. Under each neuron: its rules with their gain on held-out documents "
            "(per cent "
            "of the variance that is explained), and its strongest examples in the held-out half, at most "
            "one a "
            "document."
        ),
        variants=tuple(_variant_cards(variant, finals[variant], styles) for variant in variants),
        glossary=GLOSSARY,
        provenance=(
            f"Data {facts['data_hash'][:16]}; token sample {facts['tokens_hash'][:16]}; "
            f"{count(facts['n_tokens'])} held-out tokens, of which activations of "
            f"{count(facts['n_sampled_tokens'])} are held whole; rows of {facts['n_ctx']} tokens. Hashes are "
            "sha256 of the sealed directories' manifests."
        ),
        command=visible(f"python -m analyze report {results}"),
        versions=versions(),
        runs=_runs(finals),
    )


def summary(comparison: Comparison, judge: Judge) -> list[str]:
    """Sentences made from the numbers; they name estimates, and claim nothing that was not tested."""
    name = judge.name
    rows = [row for row in comparison.rows.iter_rows(named=True) if row[f"{name}_mono_share"] is not None]
    if not rows:
        return [f"No neuron could be judged by {judge.title}."]
    found = []
    if not may_lead(name):
        found.append(
            f"No headline: {judge.title} has not passed on planted neurons ({validity_line(name)}), so what follows "
            "describes what it calls monosemantic and is no count of monosemantic neurons."
        )
    own = next((row for row in rows if row["variant"] == comparison.reference), rows[0])
    share = with_interval(own, f"{name}_mono_share", percent)
    chances = [f"{shown.title} {percent(own[f'{name}_{null}_share'])}" for null, shown in NULLS_SHOWN.items()]
    found.append(
        f"By {judge.title}, {share} per cent of the judged neurons of {place(own)} are monosemantic "
        f"({with_interval(own, f'{name}_mono_number', count)} of {count(own['n_neurons'])} neurons); "
        f"{', '.join(chances)} per cent."
    )
    others = [row for row in rows if row[f"{name}_difference"] is not None]
    if others:
        most = max(others, key=lambda row: row[f"{name}_difference"])
        least = min(others, key=lambda row: row[f"{name}_difference"])

        def points(row: dict[str, Any]) -> str:
            return with_interval(row, f"{name}_difference", lambda value: percent(value, signed=True))

        pairs = most[f"{name}_difference_n"]
        means = "brackets are 95 % t intervals over seeds" if pairs > 1 else "one seed, so without an interval"
        found.append(
            f"Estimated differences to {comparison.reference} run from {points(least)} percentage points "
            f"({place(least)}) to {points(most)} ({place(most)}); {means}."
        )
    widest = max(rows, key=lambda row: row[f"{name}_mono_once"])
    found.append(
        f"The largest number of monosemantic neurons, each cluster of duplicates counted once, is "
        f"{count(round(widest[f'{name}_mono_once'], 1))} of {count(widest['n_neurons'])} ({place(widest)})."
    )
    n_doubts = len(doubts(comparison))
    if n_doubts:
        found.append(f"{n_doubts} reason{'s' if n_doubts > 1 else ''} to doubt these numbers stand below the table.")
    return found


def _variant_cards(
    variant: str, places: dict[tuple[int, str], dict[int, Cell]], styles: dict[str, Any]
) -> VariantCards:
    groups, troubles = [], []
    chosen = shown_cells(places)
    for cell in chosen:
        meta = cell.meta
        cards = Cards(cell, Text(meta["data_dir"], meta["data_hash"], meta["n_ctx"]))
        groups += cards.groups()
        troubles += [trouble for trouble in cards.troubles if trouble not in troubles]
    meta = chosen[0].meta
    facts = f"{meta['run']}, seed {meta['seed']}, step {meta['step']:,}, {meta['act']}"
    return VariantCards(visible(variant), styles[variant][0], visible(facts), tuple(troubles), tuple(groups))


def _runs(finals: dict[str, dict[tuple[int, str], dict[int, Cell]]]) -> Table:
    rows = []
    for places in finals.values():
        for (layer, hook), by_seed in places.items():
            for seed, cell in sorted(by_seed.items()):
                meta = cell.meta
                hashes = (meta["checkpoint_hash"], manifest_hash(beside(cell.directory, "activations")), cell.hash)
                where = f"L{layer}.{hook}"
                rows.append((meta["run"], str(seed), f"{meta['step']:,}", where, *(found[:16] for found in hashes)))
    headers = ("run", "seed", "step", "hook", "checkpoint", "activations", "scores")
    return Table("Runs", "", headers, tuple(rows))
