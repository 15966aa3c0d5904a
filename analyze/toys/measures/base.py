"""What a measure is: one number a replica, by name, with its formula, its unit and its scope."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Num
from numpy import ndarray

from analyze.toys.phase import has_phase_diagram
from analyze.toys.reading import Reading
from train.errors import BadInput, did_you_mean
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun

PerReplica: TypeAlias = Num[ndarray, "inst rep"]


@dataclass(frozen=True)
class Scope:
    """The toys that a measure applies to."""

    says: str
    holds: Callable[[ToyConfig], bool]


ANY = Scope("every toy", lambda config: True)
TIED = Scope("bottleneck and neuron models", lambda config: config.network.is_tied)
NEURONS = Scope("neuron and computation models", lambda config: config.network.kind != "bottleneck")
SQUARED = Scope("toys with loss = 'mse'", lambda config: config.fit.loss == "mse")
CLASSIFIES = Scope("toys with loss = 'cross_entropy'", lambda config: config.fit.loss == "cross_entropy")
CLASSES = Scope(
    "bottleneck and neuron models with features.classes", lambda c: c.network.is_tied and bool(c.features.classes)
)
PAIRS = Scope(
    "bottleneck and neuron models of an even number of features", lambda c: c.network.is_tied and c.features.n % 2 == 0
)
PHASES = Scope(
    "bottlenecks of n features in n - 1 dimensions with ReLU and bias, independent uniform features in [0, 1] of one "
    "probability, all but the last of importance 1",
    lambda config: all(has_phase_diagram(each) for each in config.instances()),
)
MOTIFS = Scope(
    "computations with one hidden layer and one output a feature",
    lambda c: (
        not c.network.is_tied
        and len(c.network.hidden) == 1
        and c.target.function in ("identity", "abs", "square", "relu")
    ),
)


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


def add(name: str, says: str, scope: Scope, function: Callable[[Reading], PerReplica]) -> None:
    """Register a measure under a name."""
    MEASURES[name] = Measure(name, " ".join(says.split()), scope, function)


def register(scope: Scope) -> Callable[[Callable[[Reading], PerReplica]], Callable[[Reading], PerReplica]]:
    """Registers a function under its own name; its docstring says what it measures."""

    def keep(function: Callable[[Reading], PerReplica]) -> Callable[[Reading], PerReplica]:
        add(function.__name__, function.__doc__ or "", scope, function)
        return function

    return keep


def mean_where(values: ndarray, where: ndarray) -> PerReplica:
    """Mean over the last axis of the marked values; NaN where none is marked."""
    counts = where.sum(-1)
    return np.where(where, values, 0).sum(-1) / np.where(counts, counts, nan)
