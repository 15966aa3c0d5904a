"""`polysem report`: one self-contained page about a results directory, and its figures as SVG files."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analyze.comparison.comparison import Comparison, comparison_of
from analyze.comparison.results import Cell, find_cells
from analyze.figures import styles_of
from analyze.html import render
from analyze.registry import Registry
from analyze.report.base import Part, Study
from analyze.scores import PRIMARY
from train.errors import BadInput
from train.files import write_atomic
from train.parquet import read_parquet

PARTS: Registry[Part] = Registry("analyze.report", "PART", order=lambda part: part.order)
"""Every part by name: the PART of each module of this package."""


def report(
    results_dir: Path | str,
    reference: str | None = None,
    primaries: Sequence[str] | None = None,
    *,
    data: Sequence[Path | str] = (),
    checkpoints: Sequence[Path | str] = (),
) -> Path:
    """Write report.html and figures/*.svg into a results directory; the page opens without a network.

    Where a comparison lies there, its variants and seeds are reported, in its order.

    Args:
        reference, primaries: as of `compare`; default: those of the comparison.parquet that lies there, else
            the first variant and PRIMARY.
        data: where to look first for the text, if it has moved (see `train.locate`).
        checkpoints: as of `compare`.

    Returns:
        The path of report.html.

    Raises:
        BadInput: no scores there, damaged ones, or ones that `compare` refuses.
    """
    results = Path(results_dir)
    before = _as_compared(results)
    cells = _cells(results, before, checkpoints)
    if before is not None:
        reference = before["reference"][0] if reference is None else reference
        primaries = before["primaries"][0].split() if primaries is None else primaries
    comparison = comparison_of(cells, reference, (PRIMARY,) if primaries is None else primaries)
    study = Study(results, comparison, styles_of(list(comparison.results)), tuple(map(Path, data)))
    sections = [section for part in PARTS.values() if (section := part.make(study)) is not None]
    (results / "figures").mkdir(exist_ok=True)
    for figure in (figure for section in sections for figure in section.figures):
        write_atomic(results / "figures" / f"{figure.name}.svg", figure.svg.encode())
    name, question = results.resolve().name, _question(comparison)
    page = render("report.html.j2", study=name, question=question, sections=sections)
    write_atomic(results / "report.html", page.encode())
    return results / "report.html"


def _as_compared(results: Path) -> pl.DataFrame | None:
    """Variants, their seeds, reference and primaries of the comparison that lies there, in its order."""
    path = results / "comparison.parquet"
    if not path.is_file():
        return None
    try:
        return read_parquet(path, columns=["variant", "seeds", "reference", "primaries"])
    except BadInput as failure:
        raise BadInput(f"{failure}; compare again") from None


def _cells(results: Path, before: pl.DataFrame | None, checkpoints: Sequence[Path | str]) -> list[Cell]:
    """The cells under `results`: those that were compared, in that order, or all."""
    cells = find_cells([results], checkpoints)
    if before is None:
        return cells
    order = {
        (variant, int(seed)): place
        for place, (variant, seeds) in enumerate(before.select("variant", "seeds").iter_rows())
        for seed in seeds.split()
    }
    compared = [cell for cell in cells if (cell.meta.variant, cell.meta.seed) in order]
    return sorted(compared, key=lambda cell: order[cell.meta.variant, cell.meta.seed])


def _question(comparison: Comparison) -> str:
    n_seeds = max(row.n_seeds for row in comparison.rows)
    return (
        f"How many neurons of {len(comparison.results)} model variants answer to one thing? The variants are trained "
        f"on the same text, each from {n_seeds} random start{'s' if n_seeds != 1 else ''} (seeds). polysem scores "
        "every neuron, and holds each score against chance: an untrained network, and nulls made of the same layer."
    )
