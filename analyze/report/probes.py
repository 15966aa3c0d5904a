"""The report's part about sparse probes: figures, tables and how to read them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.figures import Figure
from analyze.probing.figures import probe_figures
from analyze.probing.record import read_probes
from analyze.probing.tables import RULE, auprc_table, sparsity_table
from analyze.tables import Table

PAGE_ROWS = 60
"""Rows of the long table on the page."""


@dataclass(frozen=True)
class ProbePart:
    """Everything that the page prints about probes."""

    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    rule: str


def probe_part(results: Path, styles: dict[str, tuple[str, Any]]) -> ProbePart | None:
    """What was probed under a results directory of the variants in `styles`; None where nothing was.

    Raises:
        BadInput: damaged directories, or ones of another format version.
    """
    table = read_probes(results)
    if table is None:
        return None
    table = table.filter(pl.col("variant").is_in(list(styles)))
    if not table.height:
        return None
    return ProbePart(probe_figures(table, styles), (sparsity_table(table), auprc_table(table, PAGE_ROWS)), RULE)
