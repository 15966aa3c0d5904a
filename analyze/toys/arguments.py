"""The arguments of `polysem toy-pages`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class Toys(Command):
    """Write a page about each finished toy (one file that opens without a network), an index and experiments.md."""

    directories: Positional[tuple[Path, ...]]
    """what `train toy` wrote, such as checkpoints/toy/abs-100-40"""
    out: Path = Path("results/toys")
    """directory to write to"""

    def run(self, overrides: list[str]) -> None:
        """Write the pages, and print where they lie."""
        from analyze.toys.page import write_pages

        for path in write_pages(self.directories, self.out):
            print(f"wrote {path}")
