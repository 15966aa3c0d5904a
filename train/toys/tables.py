"""The tables of a toy's directory, as parquet: one row a replica, an output or a point of a curve."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from train.errors import BadInput
from train.parquet import read_parquet, write_parquet
from train.toys.config import ToyConfig

Schema = dict[str, Any]
"""Columns in order, and the polars type of each."""

LOSSES: Schema = {
    "instance": pl.Int32,
    "replica": pl.Int32,
    "loss": pl.Float64,
    "best": pl.Boolean,
    "naive": pl.Float64,
    "constant": pl.Float64,
    "dedicated": pl.Int32,
}
OUTPUTS: Schema = {
    "instance": pl.Int32,
    "replica": pl.Int32,
    "output": pl.Int32,
    "name": pl.String,
    "loss": pl.Float64,
    "naive": pl.Float64,
}
CURVES: Schema = {"step": pl.Int64, "instance": pl.Int32, "replica": pl.Int32, "loss": pl.Float64}


def instance_table(config: ToyConfig) -> pl.DataFrame:
    """One row an instance: its number (`instance`), and the values that the sweep gives it."""
    rows = config.sweep.rows()
    numbers = pl.Series("instance", range(len(rows)), dtype=pl.Int32)
    return pl.DataFrame([numbers, *(pl.Series(name, [row[name] for row in rows]) for name in rows[0])])


def grid(**axes: np.ndarray) -> pl.DataFrame:
    """One row for every combination of the axes' values, the last axis varying fastest."""
    columns = np.meshgrid(*axes.values(), indexing="ij")
    return pl.DataFrame({name: column.reshape(-1) for name, column in zip(axes, columns, strict=True)})


def write_table(table: pl.DataFrame, schema: Schema, path: Path) -> None:
    """Write a table with the columns of `schema`; further ones follow as they are.

    Raises:
        OSError: it could not be written.
    """
    further = [name for name in table.columns if name not in schema]
    columns = [pl.col(name).cast(kind) for name, kind in schema.items()]
    write_parquet(table.select(*columns, *further), path)


def read_table(path: Path, schema: Schema, n_rows: int | None = None) -> pl.DataFrame:
    """Read a table back and check it against its schema.

    Args:
        n_rows: rows that it must have.

    Raises:
        BadInput: not parquet; other columns or types; another number of rows; a number that is missing or not finite.
    """
    table = read_parquet(path)
    for name, kind in schema.items():
        if table.schema.get(name) != kind:
            raise BadInput(f"{path}: column '{name}' is {table.schema.get(name, 'missing')}, not {kind.__name__}")
        if kind == pl.Float64 and not table[name].is_finite().all(ignore_nulls=False):
            raise BadInput(f"{path}: column '{name}' holds a value that is not a finite number")
    if n_rows is not None and table.height != n_rows:
        raise BadInput(f"{path}: {table.height} rows where its config makes {n_rows}")
    return table
