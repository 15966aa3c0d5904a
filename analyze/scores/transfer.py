"""Transfer: does what tells one part of a neuron's strong firings from other tokens also find its other parts?

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: a broad feature whose parts have little in common but what the neuron reads;
parts that chance has made alike.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class Transfer(ContextScore):
    """AUROC with which a probe of one cluster of strong firings finds the other clusters among random tokens."""

    name = "transfer"
    title = "transfer"
    number = 8
    rank = "transfer_around"
    about = About(
        definition="AUROC with which a probe of one cluster of strong firings finds the others among random tokens",
        cost="3.0 (AMD EPYC) for all figures of contexts",
        null=CHANCE,
        fails="broad features of unlike parts; features that share their contexts",
    )
    figures = (("", "transfer_2"), ("_least", "transfer_2_least"), ("_four", "transfer_4"))


SCORE = Transfer()
