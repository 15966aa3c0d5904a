"""Coherence: how far the mean context of a neuron's strong firings lies from that of all tokens.

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: narrow features lie farther from chance than broad ones, however many a neuron has.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class Coherence(ContextScore):
    """squared distance of the mean context of strong firings from that of all tokens, in standard deviations."""

    name = "coherence"
    title = "coherence"
    number = 10
    rank = "coherence_around"
    about = About(
        definition="squared distance of the mean context of strong firings from that of all tokens, in white space",
        cost="3.0 (AMD EPYC) for all figures of contexts",
        null=CHANCE,
        fails="narrow features lie farther out than broad ones",
    )
    figures = (("", "coherence"), ("_by_length", "coherence_by_length"), ("_auroc", "linear"))


SCORE = Coherence()
