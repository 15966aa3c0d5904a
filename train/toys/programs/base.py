"""What a toy program is: settings, initial weights of one replica, and the loss of every replica at once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from train.section import Section

Parameters = dict[str, Tensor]
"""By name, [rep ...]: replicas never interact, so that the gradient of the sum of their losses is each one's own."""


@dataclass(frozen=True)
class Program:
    """A network and its task, as a file of this folder defines them."""

    name: str
    settings: type[Section]
    """The keys of `[settings]` and of each variant."""
    initial: Callable[[Any, torch.Generator], Parameters]
    """(settings, generator) -> the initial parameters of one replica, without a replica axis."""
    losses: Callable[[Any, Parameters, int, torch.Generator], Float[Tensor, " rep"]]
    """(settings, parameters, batch, generator) -> the loss of every replica, on samples that all of them share. Tasks
    whose inputs can be listed take all of them, whatever `batch` says."""
    fixed: frozenset[str] = frozenset()
    """Parameters that are drawn with the others and not trained, such as a replica's own task."""


def generator(seed: int, *words: object) -> torch.Generator:
    """A generator of its own for every purpose, the same on every machine."""
    text = " ".join(map(str, (seed, *words)))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
    return torch.Generator().manual_seed(number)


def initial(program: Program, settings: Any, seed: int, replicas: int) -> Parameters:
    """Initial parameters of all replicas; replica r's come from (seed, r) alone, whatever the samples' seed."""
    each = [program.initial(settings, generator(seed, "initial", replica)) for replica in range(replicas)]
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}
