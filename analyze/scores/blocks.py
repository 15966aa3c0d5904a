"""Layers a block of neurons at a time: the neurons that can be scored, and results of blocks put together."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations

T = TypeVar("T")
_TILE = 512
"""Tokens of a tile: 512 KB of a whole block."""


def scored_blocks(acts: Activations) -> Iterator[tuple[Int[ndarray, "k"], Float[Tensor, "t k"]]]:
    """The neurons that are neither dead nor rare, and a copy of their activations on all sampled tokens."""
    for first, stop in blocks(acts.n_neurons):
        scored = np.flatnonzero(acts.moments.status[first:stop] == SCORED)
        if len(scored):
            block = acts.block(first, stop)
            yield first + scored, block if len(scored) == stop - first else columns_of(block, scored)


def columns_of(block: Float[Tensor, "t n"], columns: Int[ndarray, "k"]) -> Float[Tensor, "t k"]:
    """Some neurons of a block, copied by tiles of tokens that fit in the cache: half the time of an index."""
    values, chosen = block.numpy(), np.empty((len(block), len(columns)), np.float32)
    for first in range(0, len(values), _TILE):
        chosen[first : first + _TILE] = values[first : first + _TILE].take(columns, axis=1)
    return torch.from_numpy(chosen)


def joined(parts: Sequence[T]) -> T:
    """Results of several blocks as one: a dataclass of arrays, neurons along the first axis of each."""
    names = vars(parts[0])
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
