"""The arguments of `polysem labels`."""

from dataclasses import dataclass
from pathlib import Path

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class PrintLabels(Command):
    """Print the bank of labels (features of tokens with known truth) that scores and probes read the text by."""

    data: Path
    """directory that `train prepare` wrote"""
    extra: tuple[Path, ...] = ()
    """your own: tables of spans (.csv, .jsonl, .parquet: label, document, start, stop) or .py files"""
    out: Path | None = None
    """directory to write labels.parquet to, with every label's stream positions"""

    def run(self, overrides: list[str]) -> None:
        """Print the bank."""
        from analyze.labels.table import labels

        print(labels(self.data, self.extra, self.out))
