"""Own part: how well a probe of one cluster of a neuron's strong firings finds the rest of that same cluster.

The contexts are vectors of `analyze.contexts.spaces`; the formula stands in `analyze.contexts.figures`.

Known failures: it says how narrow clusters are, more than how many; it helps others.
"""

from analyze.scores.base import About
from analyze.scores.contexts_base import CHANCE, ContextScore


class OwnPart(ContextScore):
    """1 - AUROC with which the probe of a cluster of strong firings finds that cluster among random tokens."""

    name = "own_part"
    title = "own part"
    number = 13
    rank = "own_part_around"
    about = About(
        definition="1 - AUROC with which the probe of a cluster of strong firings finds it among random tokens",
        cost="3.0 (AMD EPYC) for all figures of contexts",
        null=CHANCE,
        fails="narrowness of clusters, not their number",
    )
    figures = (("", "beyond_own"),)


SCORE = OwnPart()
