"""Jumps in a learning curve: abrupt falls of the loss between stretches in which little happens."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FALL = 0.1
"""Part of the loss by which it has to fall for a jump."""
STEEP = 3.0
"""How many times steeper than the curve's median interval a jump is."""
STEEPEST_PLATEAU = 0.01
"""Fall of ln loss in one interval up to which it is a plateau's, whatever the median."""


def jumps(losses: Float[ndarray, "points"]) -> int:
    """Abrupt falls in a curve of losses at equal distances, taken on the same samples.

    An interval is steep where ln loss falls in it by more than `STEEPEST_PLATEAU` and by more than `STEEP` times the
    median change (in size) of the curve's intervals. Steep intervals in a row, single others between them
    passed over, are a jump where the loss falls by more than `FALL` of itself from the first to the last. The
    descent that a curve starts with is none: before a jump there is an interval that is not steep.
    """
    falls = -np.diff(np.log(np.maximum(losses, np.finfo(np.float64).tiny)))
    steep = falls > max(STEEPEST_PLATEAU, STEEP * float(np.median(np.abs(falls))))
    alone = ~steep[1:-1] & steep[:-2] & steep[2:]
    steep[1:-1] |= alone
    edges = np.flatnonzero(np.diff(np.concatenate([[0], steep.astype(int), [0]])))
    found = 0
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        found += bool(first > 0 and losses[stop] < (1 - FALL) * losses[first])
    return found
