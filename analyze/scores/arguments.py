"""The arguments of `polysem score` and `list-scores`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from analyze.arguments import ReadsCheckpoints, ReadsText
from train.commandline import Command


def _score_names(default: str) -> str:
    """Called when help is shown, since the registry imports much."""
    from analyze.scores import SCORES, default_names

    names = ", ".join(name if name in default_names() else f"{name} (optional)" for name in SCORES)
    return f"(of: all, {names}; default: {default})"


def _null_names(default: str) -> str:
    from analyze.nulls import made_nulls

    return f"(of: {', '.join(made_nulls())}; the untrained null is step 0, scored like any step; default: {default})"


@dataclass(frozen=True, kw_only=True)
class Score(ReadsText, ReadsCheckpoints):
    """Score every neuron of collected activations, and nulls of them: what chance looks like."""

    directories: Positional[tuple[Path, ...]]
    """activations directories, or directories that hold some at any depth"""
    scores: Annotated[tuple[str, ...], arg(help_behavior_hint=_score_names)] = ("all",)
    """which scores; all: those that are not optional. Others that stand there, of the same code and nulls, stay"""
    nulls: Annotated[tuple[str, ...], arg(help_behavior_hint=_null_names)] = ("w_in_rotated", "rotated")
    """which nulls to score beside the neurons; z is against the first that can be made"""
    seed: int = 0
    """of the nulls"""
    jobs: int | None = None
    """processes at most; default: as many as there are cores to use. The scores are the same for any number"""
    drop_samples: bool = False
    """delete the whole activations once scored; collect makes them again"""

    def run(self, overrides: list[str]) -> None:
        """Score, and print a line a directory."""
        from analyze.scores.run import score

        score(
            self.directories,
            self.scores,
            nulls=self.nulls,
            seed=self.seed,
            drop_samples=self.drop_samples,
            data=self.data,
            checkpoints=self.checkpoints,
            say=lambda line: print(line, flush=True),
            jobs=self.jobs,
        )


@dataclass(frozen=True, kw_only=True)
class ListScores(Command):
    """List every score: definition, cost, null, measured validity, known failures."""

    def run(self, overrides: list[str]) -> None:
        """Print the table."""
        from analyze.scores.catalogue import score_list

        table = score_list()
        print(f"{table.caption}\n\n{table.markdown()}")
