"""The report's reasons to doubt its numbers."""

from analyze.comparison.wording import doubts
from analyze.report.base import Bullets, Paragraph, Part, Section, Study


def _section(study: Study) -> Section:
    none = Paragraph(
        "polysem looked for the usual reasons and found none here. That does not prove that there is none."
    )
    reasons = doubts(study.comparison)
    return Section("doubts", "Reasons to doubt", "Reasons to doubt", (Bullets(reasons) if reasons else none,))


PART = Part("doubts", 20, _section)
