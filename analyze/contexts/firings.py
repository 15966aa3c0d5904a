"""The strong firings of single neurons: which tokens, and how much each counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations, sampled_neurons
from analyze.activations.strong_firings import strong_firings
from analyze.activations.token_sample import position_hash

MOST = 500
"""Firings of each half that count, chosen by the hash of their positions. With 1,000 one feature is told from several
by .005 of AUROC better (families and corpora left out), at twice the cost."""
FEWEST = 30
"""A neuron with fewer strong firings in either half gets no figures of its contexts."""


@dataclass(frozen=True, eq=False)
class Firings:
    """Strong firings in one half of the sample."""

    rows: Int[ndarray, "m"]
    """Indices into the sample, ascending."""
    weights: Float[ndarray, "m"]
    """float32, sum 1."""


def firings_of(acts: Activations, most: int = MOST) -> Iterator[tuple[Firings, Firings] | None]:
    """The firings of every neuron in the fit and in the eval half; None for neurons that have too few, and in a wide
    layer for those outside of the sample of neurons (`sampled_neurons`).

    What a neuron gets does not depend on its neighbours in the block.
    """
    is_fit = np.asarray(acts.tokens.is_fit, np.bool_)
    order = np.empty(len(is_fit), np.int64)
    order[np.argsort(position_hash(np.asarray(acts.tokens.stream_position)), kind="stable")] = np.arange(len(is_fit))
    scored = (acts.moments.status == SCORED) & sampled_neurons(acts)
    for first, stop in blocks(acts.n_neurons):
        weights = strong_firings(acts.block(first, stop), acts.moments.median[first:stop], acts.tokens.is_fit)
        for neuron, w in enumerate(weights.T.contiguous().numpy(), start=first):
            rows = np.flatnonzero(w)
            halves = rows[is_fit[rows]], rows[~is_fit[rows]]
            if not scored[neuron] or min(map(len, halves)) < FEWEST:
                yield None
                continue
            fit, held_out = (half if len(half) <= most else _first(half, order, most) for half in halves)
            yield _weighed(fit, w), _weighed(held_out, w)


def _weighed(rows: Int[ndarray, "m"], w: Float[ndarray, "t"]) -> Firings:
    return Firings(rows, w[rows] / np.float32(w[rows].sum(dtype=np.float64)))


def _first(rows: Int[ndarray, "m"], order: Int[ndarray, "t"], most: int) -> Int[ndarray, "k"]:
    return np.sort(rows[np.argpartition(order[rows], most)[:most]])
