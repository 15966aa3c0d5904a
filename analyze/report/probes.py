"""The report's sparse probes."""

from pathlib import Path

import polars as pl

from analyze.figures import Styles
from analyze.probing.figures import probe_figures
from analyze.probing.record import read_probes
from analyze.probing.tables import RULE, auprc_table, sparsity_table
from analyze.report.base import Block, Folded, Paragraph, Part, Section, Study

PAGE_ROWS = 60
"""Rows of the long table on the page."""


def _section(study: Study) -> Section | None:
    blocks = probe_blocks(study.results, study.styles)
    return Section("probes", "Sparse probes", "Probes", blocks) if blocks else None


def probe_blocks(results: Path, styles: Styles) -> tuple[Block, ...]:
    """What was probed under a results directory of the variants in `styles`; empty where nothing was.

    Raises:
        BadInput: damaged directories, or ones of another format version.
    """
    table = read_probes(results)
    table = None if table is None else table.filter(pl.col("variant").is_in(list(styles)))
    if table is None or not table.height:
        return ()
    longer = Folded((auprc_table(table, PAGE_ROWS),))
    return Paragraph(RULE), *probe_figures(table, styles), sparsity_table(table), longer


PART = Part("probes", 70, _section)
