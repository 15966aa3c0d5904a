"""The arguments of `polysem fission`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsCheckpoints


@dataclass(frozen=True, kw_only=True)
class Fission(ReadsCheckpoints):
    """Say what each copy became after widening: every saved step of a run and its parent, on the same tokens."""

    runs: Positional[tuple[Path, ...]]
    """widened runs, or single steps of them"""
    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """results directory; writes OUT/<run>/step-<step>/L<layer>.mid.fission/ and OUT/<run>/fission-L<layer>.md"""
    parent: Path | None = None
    """the parent's run or step (or the first ancestor's); default: found by its hash"""
    layers: tuple[int, ...] | None = None
    """default: all that were widened"""
    steps: tuple[int, ...] | None = None
    """default: all that are saved"""
    jobs: int | None = None
    """processes at most; default: as many as there are cores to use. The results are the same for any number"""
    max_tokens: int | None = None
    """held-out tokens of every step, spread evenly; default: all for the last step, 65,536 for the others"""

    def run(self, overrides: list[str]) -> None:
        """Measure, and print each layer's tables."""
        from analyze.fission.command import fission

        for run in self.runs:
            for path in fission(
                run,
                self.data,
                self.out,
                parent=self.parent,
                layers=self.layers,
                only=self.steps,
                max_tokens=self.max_tokens,
                checkpoints=self.checkpoints,
                say=lambda line: print(line, flush=True),
                jobs=self.jobs,
            ):
                print(f"\n{path.read_text(encoding='utf-8')}\nwrote {path}", flush=True)
