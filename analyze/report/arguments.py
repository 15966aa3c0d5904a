"""The arguments of `polysem report`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsCheckpoints, ReadsText


@dataclass(frozen=True, kw_only=True)
class Report(ReadsText, ReadsCheckpoints):
    """Write report.html, one file that opens without a network, and figures/*.svg."""

    directory: Positional[Path]
    """results directory"""
    reference: str | None = None
    """variant that differences are taken to; default: as compared"""

    def run(self, overrides: list[str]) -> None:
        """Write the page, and print where it lies."""
        from analyze.report.page import report

        print(f"wrote {report(self.directory, self.reference, data=self.data, checkpoints=self.checkpoints)}")
