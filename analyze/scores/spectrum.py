"""Spectrum: in how many directions, besides that of the mean, a neuron's strong firings are unlike chance.

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: a single feature that several kinds of contexts go with.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class Spectrum(ContextScore):
    """share of what sets the contexts of strong firings apart from chance that lies in their mean."""

    name = "spectrum"
    title = "spectrum"
    number = 11
    rank = "spectrum_around"
    about = About(
        definition="share of what sets the contexts of strong firings apart from chance that lies in their mean",
        cost="4.5 for all figures of contexts",
        null=CHANCE,
        fails="one feature with several kinds of contexts",
    )
    figures = (("", "coherent_share"), ("_largest", "largest"), ("_total", "total"))


SCORE = Spectrum()
