"""`polysem compare`: variants x seeds, with intervals, differences, and what chance would give."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from analyze.comparison.comparison import Comparison, comparison_of
from analyze.comparison.flatten import flattened
from analyze.comparison.relations import require_one_precision
from analyze.comparison.results import find_cells
from analyze.comparison.table import as_markdown
from analyze.scores import PRIMARY
from train.files import write_atomic


def compare(
    dirs: Iterable[Path | str],
    out: Path | str,
    reference: str | None = None,
    primaries: Sequence[str] = (PRIMARY,),
    checkpoints: Iterable[Path | str] = (),
    mixed_precision: bool = False,
) -> Comparison:
    """Compare all scored runs under `dirs` and write comparison.{md,csv,parquet} into `out`.

    Args:
        dirs: results directories, searched for scores; their order is the order of the variants.
        reference: variant that differences are taken to; default the first.
        primaries: scores whose contrasts are the planned tests (Holm); the others are corrected by
            Benjamini and Hochberg.
        checkpoints: where to look first for the checkpoints of results of earlier versions.
        mixed_precision: compare runs that were trained in fp32 and in bf16; the doubts then say so.

    Raises:
        BadInput: no scores, runs of unlike precision or on other data or token samples, cells that claim one place,
            or a reference or primary that is not there.
    """
    cells = find_cells(dirs, checkpoints)
    if not mixed_precision:
        require_one_precision(cells)
    comparison = comparison_of(cells, reference, primaries)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table, parquet = flattened(comparison), io.BytesIO()
    table.write_parquet(parquet)
    write_atomic(out / "comparison.parquet", parquet.getvalue())
    write_atomic(out / "comparison.csv", table.write_csv().encode())
    write_atomic(out / "comparison.md", as_markdown(comparison).encode())
    return comparison
