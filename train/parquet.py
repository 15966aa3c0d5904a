"""Parquet files by their exact names. No other file gives polars a path.

polars takes `[`, `]`, `*` and `?` in a path for a pattern, `~` for a home directory and `a://b` for a service on the
network, and reads whatever else fits. So files are opened here.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl

from train.errors import BadInput


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The table in the file of this very name.

    Args:
        columns: only these.

    Raises:
        BadInput: not there, not readable, not parquet, or without one of the columns.
    """
    try:
        return pl.read_parquet(BytesIO(path.read_bytes()), columns=None if columns is None else list(columns))
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as failure:
        # Of some damaged files polars panics, which is no Exception.
        reason = failure.strerror if isinstance(failure, OSError) and failure.strerror else failure
        raise BadInput(f"{path}: not a readable parquet file ({reason})") from None


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table into the file of this very name.

    Raises:
        OSError: it could not be written.
    """
    with path.open("wb") as file:
        table.write_parquet(file)
