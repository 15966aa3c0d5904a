"""What a score of neurons is."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.activations.store import Activations


@dataclass(frozen=True)
class About:
    """A score in a few words, for the table that `python -m analyze scores` prints."""

    definition: str
    cost: str
    """CPU seconds per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512."""
    null: str
    """What it is held against beside the rows of nulls that every score has."""
    fails: str


@runtime_checkable
class NeuronScore(Protocol):
    """A number for every neuron: higher = more monosemantic, NaN where the neuron cannot be scored.

    One with a class attribute `optional = True` (slow, weak) is left out unless it is named.
    """

    @property
    def name(self) -> str:
        """Its name in SCORES and in tables."""
        ...

    @property
    def number(self) -> int:
        """Its place in tables; 0 is the one that reports lead with."""
        ...

    @property
    def about(self) -> About:
        """Definition, cost, null and known failures, a sentence each."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """What it reads: "sample", "examples", "text" (the data directory), "labels", "weights", "token_sums"."""
        ...

    def __call__(self, acts: Activations) -> Float[ndarray, " n"]:
        """The score of every neuron."""
        ...

    def table(self, acts: Activations) -> pl.DataFrame:
        """Every column this score adds to scores.parquet, one row a neuron."""
        ...


@runtime_checkable
class KnowsLess(Protocol):
    """A score that goes by what it is given to know, and can be measured with less of it.

    `python -m analyze truth` measures each on the main case beside the score itself.
    """

    @property
    def knowing_less(self) -> dict[str, NeuronScore]:
        """The score with part of what it knows taken away, by what that is; their names are the score's."""
        ...


@runtime_checkable
class ReadsToys(Protocol):
    """A score that can also be read where there is no text: on a toy whose features are known.

    Toys are the second truth (`python -m analyze truth --toys`): the share of each neuron's responses that one
    feature makes up is known there. A score of decision lists takes `features` for its rules, a score of
    labels for its labels, a score of contexts for what the contexts are compared by.
    """

    def toy(self, y: Float[ndarray, "t n"], features: Bool[ndarray, "t f"]) -> Float[ndarray, " n"]:
        """The score of every neuron, as `NeuronScore` gives it, from t samples of a toy.

        Args:
            y: activations of n neurons. A sample is a document of its own; the even ones are the fit half.
            features: which features are active in each sample.
        """
        ...
