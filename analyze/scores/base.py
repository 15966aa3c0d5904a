"""What a score of neurons is."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol, runtime_checkable

import polars as pl
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.activations.store import Activations


@dataclass(frozen=True)
class About:
    """A score in a few words, for the table that `polysem list-scores` prints."""

    definition: str
    cost: str
    """CPU seconds per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512."""
    null: str
    """What chance is for it, beside the rows of nulls that every score has."""
    fails: str


@dataclass(frozen=True)
class JudgedBy:
    """The figure that decides whether a score judges a neuron at all."""

    column: str
    """In scores.parquet."""
    least: float
    """With less the neuron gets no verdict."""
    meaning: str
    """What the figure is, for a glossary."""


CALLED = {
    "k_eff_mono": "one word rule",
    "throughout_mono": "one word rule throughout",
    "rule_share_mono": "one rule",
    "labelled_mono": "one label",
}
"""`Verdict.called` of scores whose published validity is bound to their modules as they stand."""


@dataclass(frozen=True)
class Verdict:
    """How a score says yes or no of a neuron: whether it is one thing, in the score's own sense."""

    column: str
    """In scores.parquet: true, false, or null where the score does not judge the neuron."""
    value: str
    """Column of the figure that the verdict goes by, which tables give the median of."""
    threshold: float
    at_most: bool
    """Whether it says yes up to `threshold`; else from there on."""
    meaning: str
    """What a neuron must show for a yes, for a glossary."""
    judged_by: JudgedBy | None = None
    """None of a score that judges every neuron that it has a figure for."""
    shown: bool = True
    """Whether comparisons and reports show it."""
    called: str = ""
    """What it says a neuron is that it says yes of: "monosemantic" is the headline's word alone."""
    otherwise: str = ""
    """What it says of the others; empty: `not` and `called`."""
    neither: str = "not judged"
    """What it says where it gives no verdict."""

    seen: str | None = None
    """Column that says whether the score was fitted on neurons like it; None: it was not fitted."""

    sampled: bool = False
    """Whether it reads a sample of a wide layer's neurons (`analyze.activations.store.sampled_neurons`)."""

    def __post_init__(self) -> None:
        if not self.called:
            object.__setattr__(self, "called", CALLED.get(self.column, "one thing"))

    def word(self, mono: bool | None) -> str:
        """A verdict in words."""
        return {True: self.called, False: self.otherwise or f"not {self.called}", None: self.neither}[mono]


@runtime_checkable
class NeuronScore(Protocol):
    """A number for every neuron: higher = more monosemantic, NaN where the neuron cannot be scored."""

    name: str
    """Its name in SCORES and on the command line."""
    title: str
    """Its name in tables and sentences."""
    number: int
    """Its place in tables; 0 is the one that reports lead with."""
    rank: str
    """Its column in scores.parquet, higher = more monosemantic."""
    about: About
    """Definition, cost, null and known failures, a sentence each."""
    needs: tuple[str, ...]
    """What it reads: "sample", "examples", "text" (the data directory), "labels", "weights", "token_sums"."""
    verdict: Verdict | None = None
    """How it says yes or no of neurons; None where it does not."""
    optional: bool = False
    """Whether it (slow, weak) is left out unless it is named."""

    def __call__(self, acts: Activations) -> Float[ndarray, " n"]:
        """The score of every neuron: column `rank` of its table."""
        return self.table(acts)[self.rank].cast(pl.Float64).fill_null(nan).to_numpy()

    def table(self, acts: Activations) -> pl.DataFrame:
        """Every column this score adds to scores.parquet, one row a neuron."""
        ...

    def prepare(self, acts: Activations) -> None:
        """Do once what each process that makes part of the table would do again: work whose outcome stays on disk."""
        return

    def lacks(self) -> str:
        """The package that is not installed and without which figures are missing, and how to get it; mostly none."""
        return ""

    def sentence(self, row: Mapping[str, Any]) -> str:
        """What a row of scores.parquet says of its neuron, for the card that a report shows; of scores with a verdict.

        A report shows its primary score as figures instead.
        """
        assert self.verdict is not None
        value, mono = row.get(self.verdict.value), row.get(self.verdict.column)
        called = self.verdict.word(mono)
        return f"{self.title}: {called}." if value is None else f"{self.title}: {value:.2f} ({called})."


@runtime_checkable
class MadeFromScores(Protocol):
    """A score that is made from other scores' columns and reads nothing else."""

    made_from: tuple[str, ...]
    """Names of those scores."""

    def from_columns(self, columns: pl.DataFrame) -> pl.DataFrame:
        """Its table, from the columns of theirs."""
        ...


@runtime_checkable
class KnowsLess(Protocol):
    """A score that goes by what it is given to know, and can be measured with less of it.

    `polysem truth` measures each on the main case beside the score itself.
    """

    @property
    def knowing_less(self) -> dict[str, NeuronScore]:
        """The score with part of what it knows taken away, by what that is; their names are the score's."""
        ...


@runtime_checkable
class ReadsToys(Protocol):
    """A score that can also be read where there is no text: on a toy whose features are known.

    Toys are the second truth (`polysem truth --toys`): the share of each neuron's responses that one
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
