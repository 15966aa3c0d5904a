"""The arguments of `python -m analyze truth`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.commandline import Command


@dataclass(frozen=True, kw_only=True)
class Truth(Command):
    """Measure scores on neurons whose meaning is known, planted on real text: OUT/validity/validity.md."""

    data: Path
    """directory that `train prepare` wrote"""
    out: Path
    """directory to write to; a second run finds its result"""
    features: Literal["held", "tuning"] = "held"
    """which planted features: only `tuning` may be looked at while a score is being built"""
    scores: tuple[str, ...] = ("all",)
    """names of scores, or all"""
    toys: tuple[Path, ...] = ()
    """finished toys, a second truth for the scores that can read them"""
    publish: bool = False
    """put what was measured on held features beside the scores in every report (analyze/scores/validity.json)"""

    def run(self, overrides: list[str]) -> None:
        """Measure, and print where the page lies."""
        from analyze.validation.command import truth

        names = None if self.scores == ("all",) else self.scores
        say = lambda line: print(line, flush=True)  # noqa: E731
        final = truth(self.data, self.out, self.features, names, self.toys, self.publish, say=say)
        print(f"{final / 'validity.md'}")
