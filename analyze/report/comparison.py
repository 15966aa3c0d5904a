"""The report's tables."""

from analyze.comparison.table import all_tables
from analyze.report.base import Folded, Part, Section, Study


def _section(study: Study) -> Section:
    headline, chance, *others = all_tables(study.comparison)
    return Section("table", "Comparison", "Comparison", (headline, chance, Folded(tuple(others))))


PART = Part("comparison", 10, _section)
