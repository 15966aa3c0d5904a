"""What a program is asked: its question, how a finished run is measured, and its figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Rule
from analyze.toys.verdicts.question import ToyQuestion
from train.toys.programs.run import ProgramRun, VariantRun

STILL_FALLING = 0.05
"""A replica has settled if it loses at most this part of its loss in the last tenth of training."""
NEXT_TO_NOTHING = 1e-3
"""Whether a loss settled is not asked below this part of the loss before training."""


@dataclass(frozen=True)
class Replica:
    """What was measured of one replica (or one group of starts)."""

    number: int
    measurement: Measurement


@dataclass(frozen=True)
class ProgramQuestion:
    """An open problem as one program asks it."""

    program: str
    problem: str
    rule: Rule
    statistic: str
    null: str
    measure: Callable[[ProgramRun], dict[str, list[Replica]]]
    """The replicas of every variant that answers, by its name."""
    figures: Callable[[ProgramRun, Sequence[Measured]], Sequence[Figure]] = field(default=lambda run, measured: ())
    doubts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def question(self, name: str) -> ToyQuestion:
        """As verdicts take it; `name` is the run's."""
        return ToyQuestion(
            problem=self.problem,
            name=name,
            rule=self.rule,
            statistic=self.statistic,
            null=self.null,
            command=f"polysem toy {name}",
            doubts=self.doubts,
            sources=self.sources,
        )


def measured(name: str, variants: dict[str, list[Replica]], hashes: dict[str, str], step: int) -> list[Measured]:
    """Measurements with the names by which findings know them."""
    return [
        Measured(
            run=f"{name}, {variant}, replica {each.number}",
            variant=f"{name}, {variant}",
            seed=each.number,
            step=step,
            checkpoint=hashes.get(variant, ""),
            measurement=each.measurement,
        )
        for variant, replicas in variants.items()
        for each in replicas
    ]


def settled(run: VariantRun) -> Bool[ndarray, " rep"]:
    """Whether each replica had come to rest when its training ended, as `analyze.toys.settled` says of other toys."""
    steps, curve = run.curve_steps, run.curve
    late = steps >= 0.95 * steps[-1]
    before = (steps >= 0.85 * steps[-1]) & (steps < 0.9 * steps[-1])
    if not before.any():
        return np.ones(run.replicas, dtype=bool)
    return ~(falls(curve[before].mean(0), curve[late].mean(0)) & (run.losses > NEXT_TO_NOTHING * curve[0]))


def falls(before: Float[ndarray, " rep"], late: Float[ndarray, " rep"]) -> Bool[ndarray, " rep"]:
    """Whether losses fell by more than `STILL_FALLING`."""
    return 1 - late / np.maximum(before, np.finfo(np.float64).tiny) > STILL_FALLING
