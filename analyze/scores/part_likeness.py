"""Likeness of parts: do the parts into which a neuron's strong firings split have something in common?

Firings are split into two and four clusters in four spaces, and the parts are compared in five: by the tokens before
them, the tokens around them, their sentences, their spelling and their word class. `analyze.contexts.parts` has the
formula, `analyze.contexts.spaces` the spaces.

Known failures: a feature of spelling that no space shows (a word of many syllables);
two features that are two of a kind (two topics of science).
"""

from math import nan

import numpy as np
import polars as pl

from analyze.activations.store import Activations
from analyze.contexts.figures import figures_of
from analyze.contexts.part import part_of
from analyze.contexts.parts import N_PARTS, SIDES, SPLITS
from analyze.contexts.spaces import prepare
from analyze.scores.base import About, NeuronScore
from analyze.scores.contexts_base import CHANCE, lacks_for_some


class PartLikeness(NeuronScore):
    """Mean cosine of the mean contexts of parts of the firings, for each split and side."""

    name = "part_likeness"
    title = "likeness of parts"
    number = 8
    rank = "part_likeness_4_around_sentence"
    about = About(
        definition="cosine of the mean contexts of clusters of strong firings, split in one space, compared in another",
        cost="in those 3.0",
        null=CHANCE,
        fails="features of spelling that no space shows; two features that are two of a kind",
    )
    needs = ("sample", "text")
    shares = "contexts"
    by_neuron = True
    optional = True

    def prepare(self, acts: Activations) -> None:
        """The vectors of the sentence model."""
        prepare(part_of(acts))

    def lacks(self) -> str:
        """The package without which figures of a space are missing."""
        return lacks_for_some()

    def table(self, acts: Activations) -> pl.DataFrame:
        """part_likeness_{parts}_{split}_{side}; missing for neurons with few strong firings, or without a package.

        And known_text, the share of strong firings in English or in code.
        """
        figures = figures_of(acts)
        found = figures.parts
        columns = {"known_text": pl.Series(np.array(figures.known_text, np.float64), dtype=pl.Float64)}
        for key in ((k, split, side) for k in N_PARTS for split in SPLITS for side in SIDES):
            values = np.array([each.get(key, nan) for each in found], np.float64)
            columns["_".join([self.name, *map(str, key)])] = pl.Series(values, dtype=pl.Float64)
        return pl.DataFrame(columns)


SCORE = PartLikeness()
