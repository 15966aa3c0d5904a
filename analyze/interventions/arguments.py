"""The arguments of `polysem uses`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsCheckpoints, ReadsText


@dataclass(frozen=True, kw_only=True)
class Uses(ReadsText, ReadsCheckpoints):
    """Say what each neuron is used for: the label at whose tokens the loss rises most without it."""

    directories: Positional[tuple[Path, ...]]
    """activations directories, or directories that hold some at any depth; the report's cards then show it"""

    def run(self, overrides: list[str]) -> None:
        """Find out, and print a line a directory."""
        from analyze.interventions.uses_store import find_uses

        find_uses(
            self.directories, data=self.data, checkpoints=self.checkpoints, say=lambda line: print(line, flush=True)
        )
