"""The arguments of `polysem compare`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsCheckpoints


@dataclass(frozen=True, kw_only=True)
class Compare(ReadsCheckpoints):
    """Compare scored variants over their seeds: comparison.md, .csv and .parquet."""

    directories: Positional[tuple[Path, ...]]
    """results directories; their order is the table's"""
    out: Path
    """directory to write to"""
    reference: str | None = None
    """variant that differences are taken to; default: the first"""
    primaries: tuple[str, ...] = ("k_eff",)  # (PRIMARY,), whose import is slow
    """scores named beforehand as the question; others are corrected as secondary"""

    mixed_precision: bool = False
    """compare runs that were trained in fp32 and in bf16, which is refused otherwise"""

    def run(self, overrides: list[str]) -> None:
        """Compare, and print the tables."""
        from analyze.comparison.command import compare

        compare(self.directories, self.out, self.reference, self.primaries, self.checkpoints, self.mixed_precision)
        print((self.out / "comparison.md").read_text())
        print(f"wrote {self.out}/comparison.md, .csv, .parquet")
