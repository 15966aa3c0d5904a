"""Compares a score with its null: the mean of null rows that fire about as often, and the distance in deviations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

NEAREST = 64
"""Most null rows that a neuron is compared with."""
SHARE = 4
"""Where there are few null rows, a neuron is compared with the nearest of them, one in so many."""
FEWEST = 20
"""Fewest null rows that a neuron is compared with; with fewer scored null rows there is no z."""


@dataclass(frozen=True)
class Matched:
    """A mean and a z of each neuron; NaN where it has no score or too few null rows have one."""

    mean: Float[ndarray, " n"]
    """Mean score of its matched null rows."""
    z: Float[ndarray, " n"]
    """(score - mean) / sd, with the matched rows' sd (over n - 1). NaN where they are all equal."""


def match(
    score: Float[ndarray, " n"],
    rate: Float[ndarray, " n"],
    null_score: Float[ndarray, " m"],
    null_rate: Float[ndarray, " m"],
) -> Matched:
    """Compare each neuron's score with those of the null rows nearest to it in log firing rate.

    Many scores rise or fall with the firing rate, in a null as in a network. A neuron is compared with the NEAREST of
    the null rows that have a score, or with one in SHARE of them if that is fewer, but with at least FEWEST; if there
    are fewer, the result is NaN. Of two equally near rows the one with the lower rate counts. A neuron or row that
    never fires takes no part. For a neuron drawn from the null itself z has mean 0 and a deviation of 1.02 (64 rows)
    to 1.08 (20).

    The nearest rows may still be far away. Rotations of a layer fire more often than its neurons: in trained models of
    256 neurons the rates of matched rows were off by a factor of 2.5 (gelu_new) to 7 (solu_ln, after its LayerNorm)
    in the median, and by 1.2 to 1.3 for the nulls that keep each neuron's rate. Where the factor is large, z is taken
    against the rotation's sparsest rows and says less than z against `w_in_rotated`.
    """
    mean, z = np.full(len(score), np.nan), np.full(len(score), np.nan)
    known = np.flatnonzero(np.isfinite(null_score) & (null_rate > 0))
    asked = np.flatnonzero(np.isfinite(score) & (rate > 0))
    if len(known) < FEWEST:
        return Matched(mean, z)
    order = known[np.argsort(null_rate[known], kind="stable")]
    at, values = np.log(null_rate[order]), null_score[order].astype(np.float64)
    width = max(FEWEST, min(NEAREST, len(order) // SHARE))
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
