"""Which networks of a toy had come to rest when their training ended."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from train.toys.runs import ToyRun

STILL_FALLING = 0.05
"""A replica counts as settled if it loses at most this part of its loss in the last tenth of training."""
NEXT_TO_NOTHING = 1e-4
"""Whether a loss settled is not asked below this part of the constants' loss."""


def settled(run: ToyRun) -> Bool[ndarray, "inst rep"]:
    """Whether each replica had come to rest; true where the curve has too few points to say.

    Read from the mean of a few points of the curve on either side: one point of a constant rate wavers.
    """
    steps, losses = run.curves.steps, run.curves.losses
    late = steps >= 0.95 * steps[-1]
    before = (steps >= 0.85 * steps[-1]) & (steps < 0.9 * steps[-1])
    if not before.any():
        return np.ones(run.losses.shape, dtype=bool)
    fall = 1 - losses[late].mean(axis=0) / np.maximum(losses[before].mean(axis=0), np.finfo(np.float64).tiny)
    # A loss of next to nothing has nowhere to settle.
    matters = run.losses > NEXT_TO_NOTHING * run.constant_losses[:, None]
    return ~((fall > STILL_FALLING) & matters)
