"""Shifted activations: each neuron keeps its values in their order and loses their tie to the text."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.activations.token_sample import position_hash
from analyze.nulls.base import Null, NullStyle
from analyze.nulls.making import MOST, activations_of, by_neuron, living, values_of

LEAST_SHIFT = 1000
"""Least shift in sampled tokens, either way round: longer than most documents."""


def shifted(acts: Activations, seed: int = 0, most: int = MOST) -> Activations | None:
    """Each living neuron's activations moved along the sampled tokens, round the end, by an offset of its own.

    A neuron keeps its values (to the bit) and their order, so its bursts and, but for one seam, its autocorrelation. It
    loses their tie to the text. The offset is a hash of (seed, neuron), between LEAST_SHIFT and t - LEAST_SHIFT of the
    t sampled tokens, so it does not depend on which other neurons take part; duplicates get different offsets and are
    no longer duplicates. Values move to other documents and halves, so that the threshold (taken from the fit half) and
    with it the firing rate can differ a little from the neuron's own.

    None where nothing is alive or the sample is no longer than twice LEAST_SHIFT.
    """
    alive, n_tokens = living(acts, seed, most), len(acts.tokens)
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


NULL = Null(
    name="shifted",
    title="shifted",
    phrase="the same neurons shifted along the text",
    meaning="the trained neurons' activations moved along the text",
    style=NullStyle("#8C6BB1", (0, (1, 2.5)), "v", "inverted triangle"),
    order=3,
    shown=False,
    make=shifted,
    needs=f"a neuron that is not dead, and a sample of more than {2 * LEAST_SHIFT:,} tokens",
)
