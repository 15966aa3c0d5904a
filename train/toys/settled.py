"""Whether the training of a toy's networks had come to rest, read from their curves."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

NEXT_TO_NOTHING = 1e-4
"""Whether a loss settled is not asked below this part of a reference loss: it has nowhere to settle."""
LEAST_POINTS = 40
"""Points of the curve that training needs before it may stop: a mean of two on either side, since one wavers."""


def settled(
    steps: Int[ndarray, " points"],
    losses: Float[ndarray, "points inst rep"],
    reference: Float[ndarray, "inst #rep"],
    tolerance: float,
) -> Bool[ndarray, "inst rep"]:
    """Whether each network lost at most `tolerance` of its loss in the last tenth of the steps so far.

    The mean of the curve's points in the last twentieth is compared with that of the points a tenth earlier; where
    the curve has none there, no network counts as settled.

    Args:
        reference: a loss of networks that have learnt nothing, such as that of constants.
    """
    late = steps >= 0.95 * steps[-1]
    before = (steps >= 0.85 * steps[-1]) & (steps < 0.9 * steps[-1])
    if not before.any():
        return np.zeros(losses.shape[1:], dtype=bool)
    end = losses[late].mean(axis=0)
    fall = 1 - end / np.maximum(losses[before].mean(axis=0), np.finfo(np.float64).tiny)
    return (fall <= tolerance) | (end <= NEXT_TO_NOTHING * reference)
