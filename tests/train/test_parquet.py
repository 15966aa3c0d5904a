"""Damaged parquet files are bad input, whatever polars does with them."""

import random
from pathlib import Path

import polars as pl

from train.errors import BadInput
from train.parquet import read_parquet


def test_a_parquet_file_of_which_polars_panics_is_bad_input(tmp_path: Path) -> None:
    path, chance = tmp_path / "own.parquet", random.Random(0)
    pl.DataFrame({"label": ["a", "b"] * 50, "document": list(range(100))}).write_parquet(path)
    good, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read_parquet(path)
        except BadInput:
            refused += 1
    assert refused > 100
