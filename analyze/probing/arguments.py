"""The arguments of `polysem probe`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analyze.arguments import ReadsText


@dataclass(frozen=True, kw_only=True)
class Probe(ReadsText):
    """Say how few neurons tell each label: probes on 1, 2, 4, ... neurons, judged on held-out documents."""

    directories: Positional[tuple[Path, ...]]
    """activations directories with their samples, or directories that hold some at any depth"""
    out: Path
    """writes OUT/probes.parquet, probes.md, figures/probes-*.svg and OUT/<run>/step-<step>/L<layer>.<hook>.probes/"""
    labels: tuple[str, ...] | None = None
    """names of labels (`polysem labels` lists them); default: every one"""
    families: tuple[str, ...] | None = None
    """every label of these families"""
    k: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    """numbers of neurons"""
    shifts: int = 5
    """labels moved along the corpus that say what chance is"""
    extra: tuple[Path, ...] = ()
    """your own labels, as for `labels`"""

    def run(self, overrides: list[str]) -> None:
        """Probe, and print the tables."""
        from analyze.probing.command import probe

        written = probe(
            self.directories,
            self.out,
            labels=self.labels,
            families=self.families,
            ks=self.k,
            shifts=self.shifts,
            extra=self.extra,
            data=self.data,
            say=lambda line: print(line, flush=True),
        )
        print(f"\n{written.markdown.read_text(encoding='utf-8')}\nwrote {written.markdown}, probes.parquet, figures/")
