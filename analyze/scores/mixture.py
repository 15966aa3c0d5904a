"""Mixture gain: how much better several probes find a neuron's strong firings than one does.

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: a broad feature gains from several probes too.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class Mixture(ContextScore):
    """AUROC of one probe of all strong firings less that of the best of eight clusters' probes."""

    name = "mixture"
    title = "one probe"
    number = 12
    rank = "mixture_around"
    about = About(
        definition="AUROC of one probe of all strong firings less that of the best of eight clusters' probes",
        cost="4.5 for all figures of contexts",
        null=CHANCE,
        fails="broad features gain from several probes too",
    )
    figures = (("", "one_probe"), ("_linear", "linear"))


SCORE = Mixture()
