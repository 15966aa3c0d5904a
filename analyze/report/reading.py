"""The report's glossary."""

from analyze.comparison.wording import glossary
from analyze.report.base import Part, Section, Study, Terms


def _section(study: Study) -> Section:
    return Section("reading", "How to read it", "How to read it", (Terms(glossary(study.comparison)),))


PART = Part("reading", 90, _section)
