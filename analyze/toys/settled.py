"""Which networks of a toy had come to rest when their training ended."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from train.toys import settled as curves
from train.toys.runs import ToyRun

STILL_FALLING = 0.05
"""A replica counts as settled if it loses at most this part of its loss in the last tenth of training; a toy with
`fit.converged` says itself how much."""


def settled(run: ToyRun) -> Bool[ndarray, "inst rep"]:
    """Whether each replica had come to rest; true where the curve has too few points to say."""
    steps, own = run.curves.steps, run.config.fit.converged
    if not ((steps >= 0.85 * steps[-1]) & (steps < 0.9 * steps[-1])).any():
        return np.ones(run.losses.shape, dtype=bool)
    return curves.settled(steps, run.curves.losses, run.constant_losses[:, None], STILL_FALLING if own is None else own)
