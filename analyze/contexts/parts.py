"""Are the parts of a neuron's firings alike? Clusters made in one space, held against each other in others.

A neuron of one feature may be split by what its firings do not share (the topic, where it reads a word; the word, where
it reads a topic): what they do share is then alike in all parts. A neuron of several features splits into parts that
are alike in no respect. So firings are split in several spaces, and every split is looked at from several sides.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.contexts.clusters import FEWEST, Clusters
from analyze.contexts.firings import Firings

SPLITS = ("left", "around", "sentence", "window")
"""Spaces in which firings are split."""
SIDES = ("left", "around", "sentence", "form", "class")
"""Spaces in which the parts are held against each other."""
N_PARTS = (2, 4)


def likeness(
    parts: Clusters,
    fit: Firings,
    held_out: Firings,
    sides: dict[str, tuple[Float[ndarray, "m d"], Float[ndarray, "n d"]]],
) -> dict[str, float]:
    """The mean cosine of the mean vectors of two parts, over pairs by weight, from each side; NaN without two parts.

    Products are taken across the halves and divided by the lengths that each mean has across them, so that the noise
    of one half is not in them; a part whose mean is nothing but noise is like no other.

    Args:
        sides: vectors of the firings of both halves in each space.
    """
    k = len(parts.n_fit)
    inside = [np.arange(k)[:, None] == each for each in (parts.fit, parts.eval)]
    enough = np.minimum(*(each.sum(axis=1) for each in inside)) >= FEWEST
    weights = [each * half.weights for each, half in zip(inside, (fit, held_out))]
    mass = [each.sum(axis=1) for each in weights]
    pair = np.outer(*mass) * (enough[:, None] & enough & ~np.eye(k, dtype=bool))
    if not pair.any():
        return dict.fromkeys(sides, np.nan)
    weights = [each / np.maximum(total, 1e-9)[:, None] for each, total in zip(weights, mass)]
    found = {}
    for name, (za, zb) in sides.items():
        across = ((weights[0] @ za) @ (weights[1] @ zb).T).astype(np.float64)
        across = (across + across.T) / 2
        own = np.diag(across)
        length = np.sqrt(np.where(own > 0, own, np.inf))
        found[name] = float((across / length[:, None] / length * pair).sum() / pair.sum())
    return found
