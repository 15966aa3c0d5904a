"""Unity: how far the mean context of a neuron's strong firings lies from chance, beside how far they lie apart.

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: a single feature of widely spread contexts, as a place in a sentence.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class Unity(ContextScore):
    """coherence of the contexts of strong firings over itself plus their largest variance."""

    name = "unity"
    title = "unity"
    number = 9
    rank = "unity_around"
    about = About(
        definition="coherence of the contexts of strong firings over itself plus their largest variance",
        cost="4.5 for all figures of contexts",
        null=CHANCE,
        fails="features of widely spread contexts",
    )
    figures = (("", "unity"), ("_spread", "spread"))


SCORE = Unity()
