"""What a measure is: one number a replica, by name, with its formula, its unit and its scope."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Num
from numpy import ndarray

from analyze.toys.reading import Reading
from train.errors import BadInput, did_you_mean
from train.toys.measures import SCOPES, Scope
from train.toys.runs import ToyRun

PerReplica: TypeAlias = Num[ndarray, "inst rep"]


@dataclass(frozen=True)
class Measure:
    """A number for every replica of every instance."""

    name: str
    says: str
    """Formula and unit."""
    scope: Scope
    function: Callable[[Reading], PerReplica]

    def __call__(self, run: ToyRun | Reading) -> Float[ndarray, "inst rep"]:
        """Its values, float64; NaN throughout for a toy that it does not apply to."""
        reading = run if isinstance(run, Reading) else Reading(run)
        if not self.scope.holds(reading.run.config):
            return np.full((reading.run.n_inst, reading.run.n_rep), nan)
        return np.asarray(self.function(reading), dtype=np.float64)


MEASURES: dict[str, Measure] = {}


def measure_named(name: str) -> Measure:
    """The measure of this name.

    Raises:
        BadInput: there is none; names the nearest.
    """
    if name not in MEASURES:
        raise BadInput(f"measure {name!r} is not known{did_you_mean(name, list(MEASURES))}")
    return MEASURES[name]


def add(name: str, says: str, function: Callable[[Reading], PerReplica]) -> None:
    """Register a measure under a name of `train.toys.measures`, which says what toys it applies to."""
    MEASURES[name] = Measure(name, " ".join(says.split()), SCOPES[name], function)


def register(function: Callable[[Reading], PerReplica]) -> Callable[[Reading], PerReplica]:
    """Registers a function under its own name; its docstring says what it measures."""
    add(function.__name__, function.__doc__ or "", function)
    return function


def mean_where(values: ndarray, where: ndarray) -> PerReplica:
    """Mean over the last axis of the marked values; NaN where none is marked."""
    counts = where.sum(-1)
    return np.where(where, values, 0).sum(-1) / np.where(counts, counts, nan)
