"""The arguments of `polysem rescore`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from train.commandline import Command


def _null_names(default: str) -> str:
    from analyze.nulls import made_nulls

    return f"(of: {', '.join(made_nulls())}; default: {default})"


@dataclass(frozen=True, kw_only=True)
class Rescore(Command):
    """Score trained runs with P(one feature), beside nulls and K_eff: OUT/one-feature.md, disagreements.md, .csv.

    Runs of one variant are seeds of it. What is there is found; a stopped one goes on with the next layer.
    """

    runs: Positional[tuple[Path, ...]]
    """runs (their newest step), steps, or directories of runs such as checkpoints/quickstart"""
    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """results directory; whole activations are deleted once scored"""
    variants: tuple[str, ...] = ()
    """of a directory of runs only these variants; default: all"""
    hooks: tuple[str, ...] | None = None
    """mid (after the activation) and post (after a mid LayerNorm, where there is one); default: both"""
    nulls: Annotated[tuple[str, ...], arg(help_behavior_hint=_null_names)] = ("w_in_rotated", "rotated")
    """which nulls to score beside the neurons"""
    untrained: bool = False
    """score step 0 as well, as a null"""
    sample_tokens: int = 190_000
    """held-out tokens whose activations are scored"""
    max_neurons: int = 1024
    """of a wider layer take a random choice of so many; intervals state the error of that"""
    jobs: int | None = None
    """processes at most; default: as many as there are cores to use. The scores are the same for any number"""
    page: Path | None = None
    """also write one-feature.md to this file"""

    def run(self, overrides: list[str]) -> None:
        """Score, and print where the pages lie."""
        from analyze.rescore.command import rescore

        pages = rescore(
            self.runs,
            self.data,
            self.out,
            variants=self.variants,
            hooks=self.hooks,
            nulls=self.nulls,
            untrained=self.untrained,
            sample_tokens=self.sample_tokens,
            max_neurons=self.max_neurons,
            jobs=self.jobs,
            page=self.page,
            command=sys.argv[2:],
            say=lambda line: print(line, flush=True),
        )
        for page in pages:
            print(f"wrote {page}")
