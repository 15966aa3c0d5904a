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


def scored_blocks(acts: Activations) -> Iterator[tuple[Int[ndarray, "k"], Float[Tensor, "t k"]]]:
    """The neurons that are neither dead nor rare, and a copy of their activations on all sampled tokens."""
    for first, stop in blocks(acts.n_neurons):
        scored = np.flatnonzero(acts.moments.status[first:stop] == SCORED)
        if len(scored):
            block = acts.block(first, stop)
            yield first + scored, block if len(scored) == stop - first else block[:, torch.from_numpy(scored)]


def joined(parts: Sequence[T]) -> T:
    """Results of several blocks as one: a dataclass of arrays, neurons along the first axis of each."""
    names = vars(parts[0])
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
