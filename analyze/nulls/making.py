"""Making a null: which neurons it takes, and how values in memory become activations again."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import BFloat16, Int
from torch import Tensor

from analyze.activations.bf16_keys import sort_keys
from analyze.activations.in_memory import activations_in_memory
from analyze.activations.sample import blocks
from analyze.activations.store import DEAD, Activations

MOST = 512
"""Most neurons that a null takes: each costs 2 bytes of memory a token."""
CHUNK = 8192
"""Tokens converted to fp32 at a time."""
AT_ONCE = 32
"""Neurons that `by_neuron` copies at a time."""


def living(acts: Activations, seed: int, most: int) -> Int[np.ndarray, "n"]:
    """The neurons that are not dead, in order; of more than `most`, so many drawn by `seed`."""
    alive = np.flatnonzero(acts.moments.status != DEAD)
    if len(alive) > most:
        alive = np.sort(np.random.default_rng(seed).choice(alive, most, replace=False))
    return alive


def values_of(acts: Activations, neurons: Int[np.ndarray, "n"]) -> BFloat16[Tensor, "t n"]:
    """The activations of some neurons, in ascending order, on all sampled tokens."""
    values = torch.empty(len(acts.tokens), len(neurons), dtype=torch.bfloat16)
    for first, stop in blocks(acts.n_neurons):
        inside = np.flatnonzero((neurons >= first) & (neurons < stop))
        if len(inside):
            block = acts.block(first, stop)[:, torch.from_numpy(neurons[inside] - first)]
            values[:, inside[0] : inside[-1] + 1] = block.bfloat16()
    return values


def activations_of(
    acts: Activations,
    values: BFloat16[Tensor, "t n"],
    null: str,
    seed: int,
    neurons: Int[np.ndarray, "n"],
    **settings: Any,
) -> Activations:
    """Activations with these values: moments, status and examples are computed again on the sampled tokens.

    Args:
        acts: the activations that the null was made from, which give tokens and facts.
        neurons: the neurons of `acts` that the null was made from; column i of `values` belongs to neurons[i]
            unless the null mixes neurons.
        settings: further facts for meta.settings, beside `null`, `null_seed` and `neurons`.
    """
    n = len(neurons)
    meta = replace(
        acts.meta,
        n_neurons=n,
        n_tokens=len(acts.tokens),
        sample_hash=None,
        settings=acts.meta.settings | {"null": null, "null_seed": seed, "neurons": neurons.tolist()} | settings,
    )
    return activations_in_memory(values, acts.tokens, meta)


def by_neuron(values: BFloat16[Tensor, "t n"]) -> Iterator[tuple[int, np.ndarray]]:
    """(first neuron, sort keys [n t]) of a few neurons at a time; a change to the keys changes the values.

    Neurons are rows here, since a column of `values` lies scattered; keys have 16 bits, since numpy has no bf16.
    """
    for first in range(0, values.shape[1], AT_ONCE):
        keys = sort_keys(values[:, first : first + AT_ONCE].T.contiguous())
        yield first, keys.numpy()
        values[:, first : first + AT_ONCE] = (keys ^ ((keys >> 15) & 0x7FFF)).view(torch.bfloat16).T
