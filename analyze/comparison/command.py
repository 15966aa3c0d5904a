"""`python -m analyze compare`: variants x seeds, with intervals, differences, and what chance would give."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from analyze.comparison.comparison import Comparison, comparison_of
from analyze.comparison.flatten import flattened
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
) -> Comparison:
    """Compare all scored runs under `dirs` and write comparison.{md,csv,parquet} into `out`.

    Args:
        dirs: results directories, searched for scores; their order is the order of the variants.
        reference: variant that differences are taken to; default the first.
        primaries: scores whose contrasts are the planned tests (Holm); the others are corrected by
            Benjamini and Hochberg.
        checkpoints: where to look first for the checkpoints of results of earlier versions.

    Raises:
        BadInput: no scores, two runs or cells that claim one place, runs on other data or another token sample,
            or a reference or primary that is not there.
    """
    comparison = comparison_of(find_cells(dirs, checkpoints), reference, primaries)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table, parquet = flattened(comparison), io.BytesIO()
    table.write_parquet(parquet)
    write_atomic(out / "comparison.parquet", parquet.getvalue())
    write_atomic(out / "comparison.csv", table.write_csv().encode())
    write_atomic(out / "comparison.md", as_markdown(comparison).encode())
    return comparison
