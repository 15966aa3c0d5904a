"""What a score of neurons is."""

from typing import Protocol, runtime_checkable

import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.store import Activations


@runtime_checkable
class NeuronScore(Protocol):
    """A number for every neuron: higher = more monosemantic, NaN where the neuron cannot be scored."""

    @property
    def name(self) -> str:
        """Its name in SCORES and in tables."""
        ...

    @property
    def number(self) -> int:
        """Its place in tables; 0 is the one that reports lead with."""
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
