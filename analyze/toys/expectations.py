"""Whether the expectations of a toy held, with the counts behind each verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.toys.measures import measure_named
from analyze.toys.reading import Reading
from train.errors import BadInput
from train.toys.experiment import Expectation
from train.toys.runs import ToyRun

Word = Literal["held", "did not hold", "unclear"]


@dataclass(frozen=True)
class Verdict:
    """One expectation, the measure of every replica of its instance, and what follows from them."""

    expectation: Expectation
    best: float
    """The measure of the replica of lowest loss (less that of the other instance's best)."""
    values: Float[ndarray, " rep"]
    """Of every replica (less that of the other instance's best)."""
    good: Bool[ndarray, " rep"]
    """Replicas that end as well as the leading one: `ToyRun.good`."""

    @property
    def satisfies(self) -> Bool[ndarray, " rep"]:
        """Whether each replica's value lies within the bounds; NaN does not."""
        return _within(self.values, self.expectation)

    @property
    def n_good_satisfying(self) -> int:
        """Good replicas that satisfy it."""
        return int((self.satisfies & self.good).sum())

    @property
    def word(self) -> Word:
        """held: the best replica satisfies it, and at least half of the good ones do. did not hold: the best does not,
        and fewer than half of the good ones do. Else unclear."""
        best = bool(_within(np.array([self.best]), self.expectation)[0])
        half = 2 * self.n_good_satisfying >= int(self.good.sum())
        return "held" if best and half else "unclear" if best or half else "did not hold"

    @property
    def of_good(self) -> str:
        """How many good replicas satisfy it, such as `12 of 14`."""
        return f"{self.n_good_satisfying} of {self.good.sum()}"

    @property
    def of_all(self) -> str:
        """How many replicas satisfy it, such as `20 of 48`."""
        return f"{self.satisfies.sum()} of {len(self.values)}"


def bounds(expectation: Expectation) -> str:
    """Such as `0.4 to 0.5`, `at least 2`, or `5`."""
    low, high = expectation.at_least, expectation.at_most
    if low is not None and high is not None:
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def judge(run: ToyRun | Reading) -> list[Verdict]:
    """A verdict on every [[expect]] of a run's config, in order.

    Raises:
        BadInput: a measure that is not known (the nearest is named) or does not apply to this toy.
    """
    reading = run if isinstance(run, Reading) else Reading(run)
    return [verdict(reading, each, i) for i, each in enumerate(reading.run.config.expect)]


def verdict(reading: Reading, expectation: Expectation, index: int = 0) -> Verdict:
    """The verdict on one expectation; `index` is its number in the config, for the message.

    Raises:
        BadInput: as `judge`.
    """
    run = reading.run
    try:
        measure = measure_named(expectation.measure)
    except BadInput as failure:
        raise BadInput(f"{run.directory}: expect.{index}.measure: {failure}") from None
    if not measure.scope.holds(run.config):
        raise BadInput(
            f"{run.directory}: expect.{index}.measure: {measure.name!r} does not apply to this "
            f"{run.config.network.kind} model; it is for {measure.scope.says}"
        )
    table = measure(reading)
    instance = run.config.instance_of(expectation.where)
    values = table[instance]
    if expectation.minus is not None:
        other = run.config.instance_of(expectation.minus)
        values = values - table[other, run.best[other]]
    return Verdict(expectation, float(values[run.best[instance]]), values, run.good[instance])


def limits(expectation: Expectation) -> tuple[float, float]:
    """The lowest and the highest value that satisfy it; infinite where there is no bound."""
    low, high = expectation.at_least, expectation.at_most
    return -np.inf if low is None else low, np.inf if high is None else high


def _within(values: Float[ndarray, " n"], expectation: Expectation) -> Bool[ndarray, " n"]:
    low, high = limits(expectation)
    return (values >= low) & (values <= high)
