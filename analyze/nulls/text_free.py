"""Nulls that keep each neuron's own values and take away what they have to do with the text."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.moments import key_below, sort_keys
from analyze.activations.store import Activations
from analyze.activations.token_sample import position_hash
from analyze.nulls.held import activations_of, living, values_of

LEAST_SHIFT = 1000
"""Sampled tokens that a shift moves a neuron by at least, either way round: longer than most documents."""
AT_ONCE = 32
"""Neurons whose values are copied at a time."""


def shifted(acts: Activations, seed: int = 0) -> Activations | None:
    """Each living neuron's activations moved along the sampled tokens, round the end, by an offset of its own.

    A neuron keeps its values (to the bit) and what follows what among them: its bursts, its autocorrelation but
    for one seam. It loses their tie to the text. The offset is a hash of (seed, neuron), between LEAST_SHIFT and
    t - LEAST_SHIFT of the t sampled tokens, so it does not depend on which others are taken; duplicates get offsets
    of their own and are duplicates no more. Values cross documents and halves: the threshold (of the fit half's
    values) and so the firing rate can differ a little from the neuron's own.

    None where nothing is alive or the sample is no longer than twice LEAST_SHIFT.
    """
    alive, n_tokens = living(acts, seed), len(acts.tokens)
    room = n_tokens - 2 * LEAST_SHIFT
    if not len(alive) or room < 1:
        return None
    offsets = shifts(alive, seed, n_tokens)
    values = values_of(acts, alive)
    for first, rows in by_neuron(values):
        for row, offset in zip(rows, offsets[first:].tolist()):
            row[:] = np.roll(row, offset)
    return activations_of(acts, values, "shifted", seed, alive, shifts=offsets.tolist())


def shifts(neurons: Int[ndarray, " n"], seed: int, n_tokens: int) -> Int[ndarray, " n"]:
    """How far `shifted` moves each neuron."""
    room = np.uint64(n_tokens - 2 * LEAST_SHIFT + 1)
    mixed = position_hash(np.array([seed], dtype=np.int64)) ^ neurons.astype(np.uint64)
    return (position_hash(mixed.view(np.int64)) % room).astype(np.int64) + LEAST_SHIFT


def random_sets(acts: Activations, seed: int = 0) -> Activations | None:
    """Each living neuron firing on a random set of token ids instead, on as many tokens as before.

    The ids are drawn evenly from those that occur in the sample (not by frequency), and taken whole; one that
    occurs more often than what is left to cover is passed over, and where no id fits the rest, some occurrences
    of one are taken. The neuron's firing values are shuffled over those tokens and its other values over the
    others, so that its distribution stays to the bit. What is left is density and dependence on the token
    alone: a set of words with nothing in common, and noise in how strongly they are answered. Since few ids make
    up most of a text, one frequent id often holds most of a row's set, and such a row does answer to one thing.

    None where nothing is alive.
    """
    alive = living(acts, seed)
    if not len(alive):
        return None
    values = values_of(acts, alive)
    ids, at = np.unique(acts.tokens.ids, return_inverse=True)
    counts = np.bincount(at, minlength=len(ids))
    for first, rows in by_neuron(values):
        for row, neuron in zip(rows, alive[first:].tolist()):
            rng, own = np.random.default_rng([seed, neuron]), row.copy()
            fires = own > key_below(acts.moments.threshold[[neuron]])
            covered = random_cover(at, counts, int(fires.sum()), rng)
            row[covered], row[~covered] = rng.permutation(own[fires]), rng.permutation(own[~fires])
    return activations_of(acts, values, "random_sets", seed, alive)


def by_neuron(values: BFloat16[Tensor, "t n"]) -> Iterator[tuple[int, ndarray]]:
    """(first neuron, sort keys [n t]) of a few neurons at a time; what is done to the keys is done to the values.

    As rows, since a column of values lies scattered; as 16-bit keys, since numpy has no bf16.
    """
    for first in range(0, values.shape[1], AT_ONCE):
        keys = sort_keys(values[:, first : first + AT_ONCE].T.contiguous())
        yield first, keys.numpy()
        values[:, first : first + AT_ONCE] = (keys ^ ((keys >> 15) & 0x7FFF)).view(torch.bfloat16).T


def random_cover(
    at: Int[ndarray, " t"], counts: Int[ndarray, " v"], size: int, rng: np.random.Generator
) -> Bool[ndarray, " t"]:
    """Exactly `size` tokens: all those of random ids, as far as whole ids fit.

    Args:
        at: which id each token is, as an index into `counts`.
        counts: tokens of each id.
    """
    order, left = rng.permutation(len(counts)), size
    taken = np.zeros(len(counts), dtype=bool)
    for one in order.tolist():
        if counts[one] <= left:
            taken[one], left = True, left - int(counts[one])
        if not left:
            break
    covered = taken[at]
    if left:
        part = order[~taken[order]][0]
        covered[rng.choice(np.flatnonzero(at == part), left, replace=False)] = True
    return covered
