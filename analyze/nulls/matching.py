"""A score beside its null: the mean of null rows that fire about as often, and how many deviations away it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

NEAREST = 64
"""Null rows that a neuron is held against at most."""
FEWEST = 20
"""With fewer scored null rows there is no z."""


@dataclass(frozen=True)
class Matched:
    """Of each neuron, NaN where it has no score or too few null rows have one."""

    mean: Float[ndarray, " n"]
    """Of the score over its matched null rows."""
    z: Float[ndarray, " n"]
    """(score - mean) / sd, the sd that of the matched rows (with n - 1). NaN where they are all equal."""


def match(
    score: Float[ndarray, " n"],
    rate: Float[ndarray, " n"],
    null_score: Float[ndarray, " m"],
    null_rate: Float[ndarray, " m"],
) -> Matched:
    """Hold each neuron's score against the NEAREST null rows in log firing rate, among those that have a score.

    Rates tell how often a neuron fires; many scores rise or fall with it, null or not. Where fewer than NEAREST null
    rows have a score all of them are taken, where fewer than FEWEST have one the result is NaN. Of equally
    near rows the one of the lower rate is taken, then the earlier. A neuron or row that never fires takes no part.

    How near the nearest are is not looked at: where a null's rows all fire more often than the neurons, as
    rotations of a sparse layer do, they are held against its sparsest rows.
    """
    mean, z = np.full(len(score), np.nan), np.full(len(score), np.nan)
    known = np.flatnonzero(np.isfinite(null_score) & (null_rate > 0))
    asked = np.flatnonzero(np.isfinite(score) & (rate > 0))
    if len(known) < FEWEST:
        return Matched(mean, z)
    order = known[np.argsort(null_rate[known], kind="stable")]
    at, values = np.log(null_rate[order]), null_score[order].astype(np.float64)
    width = min(NEAREST, len(order))
    own = np.log(rate[asked])
    # The nearest of sorted numbers are neighbours: the first window whose next member is no nearer than its first.
    starts = np.arange(len(order) - width + 1)
    middles = (at[starts[:-1]] + at[starts[1:] + width - 1]) / 2
    first = np.searchsorted(middles, own, side="left")
    window = values[first[:, None] + np.arange(width)]
    mean[asked] = window.mean(axis=1)
    deviation = window.std(axis=1, ddof=1)
    moves = deviation > 1e-12 * np.abs(window).max(axis=1)
    z[asked[moves]] = (score[asked[moves]] - mean[asked[moves]]) / deviation[moves]
    return Matched(mean, z)
