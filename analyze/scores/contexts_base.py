"""What the scores of contexts share: each shows some of the figures that `analyze.contexts.figures` makes at once."""

from math import nan

import numpy as np
import polars as pl

from analyze.activations.store import Activations
from analyze.contexts.figures import figures_of
from analyze.contexts.part import part_of
from analyze.contexts.spaces import SPACES, lacks, prepare
from analyze.scores.base import NeuronScore

CHANCE = "random tokens: what is seen in the fit half is measured in the eval half, so that nothing is left of noise"


def lacks_for_some() -> str:
    """The package that is not installed and without which some figures are missing, and how to get it."""
    return f"{needs} for some of its figures" if (needs := lacks()) else ""


class ContextScore(NeuronScore):
    """A score that is read from the contexts of strong firings: one column a figure and space.

    The rank is a figure in the space `around`, which needs the package of the word classes (`pip install
    'polysem[labels]'`); without it, and in a wide layer for neurons outside of the sample, it is missing.
    """

    needs = ("sample", "text")
    shares = "contexts"
    by_neuron = True
    optional = True
    figures: tuple[tuple[str, str], ...]
    """Suffix of the columns, and the field of `Figures`. The first is the rank, in `around`."""

    def columns(self) -> list[str]:
        """The names of the columns, by space."""
        return [f"{self.name}{suffix}_{space}" for space in SPACES for suffix, _ in self.figures]

    def prepare(self, acts: Activations) -> None:
        """The vectors of the sentence model."""
        prepare(part_of(acts))

    def lacks(self) -> str:
        """The package without which figures of a space are missing."""
        return lacks_for_some()

    def table(self, acts: Activations) -> pl.DataFrame:
        """A column for each figure and space; missing for neurons with few strong firings."""
        found = figures_of(acts).of_space
        columns = {}
        for space in SPACES:
            for suffix, field in self.figures:
                values = [getattr(each, field) for each in found.get(space, [])] or [nan] * acts.n_neurons
                columns[f"{self.name}{suffix}_{space}"] = pl.Series(np.array(values, np.float64), dtype=pl.Float64)
        return pl.DataFrame(columns)
