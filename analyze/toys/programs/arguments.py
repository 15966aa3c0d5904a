"""The arguments of `polysem toy-known`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class ToyKnown(Command):
    """Reproduce published results about toy models: train their set-ups, and write ours beside what was published."""

    names: Positional[tuple[str, ...]] = ("all",)
    """collisions, compressed, fourth-power, overlap, dropout, two-heads, or all"""
    checkpoints: Path = Path("checkpoints/toy")
    """where the programs lie or are trained"""
    out: Path = Path("results/toys")
    """takes known.md and known.json"""
    only_table: bool = False
    """write the table from known.json, without training"""

    def run(self, overrides: list[str]) -> None:
        """Train, compare, write."""
        from analyze.toys.programs.known_table import reproduce

        reproduce(
            self.names, self.checkpoints, self.out, only_table=self.only_table, say=lambda line: print(line, flush=True)
        )
