"""Compressed computation (Bhagat et al. 2026, 2606.14673): more ReLUs to compute than neurons, with and without mixing.

The right answer is relu(x) + M x with a fixed symmetric M, active features are uniform in [-1, 1]. Where a sample has
one active feature, the network W2 relu(W1 x) is positively homogeneous, so that its mean error over values follows
from its answers to +1 and -1: training sees every sample that there is. Where features are active by chance, several
at once, samples are drawn.

One active feature at a time leaves the squared error of the best network undecided: every 50-dimensional projection
that W2 relu(W1 x) can be has the naive loss, whether it gives 50 features a neuron each or all of them a tenth of an
answer. Only features that meet tell these apart.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class CompressedSettings(Section):
    """W1 [neurons features] and W2 [features neurons] begin at normal values of standard deviation `init`."""

    features: int = Field(default=100, ge=2, le=4096)
    neurons: int = Field(default=50, ge=1, le=4096)
    mixing: float = Field(default=0.0, ge=0)
    """Standard deviation of M's entries off the diagonal."""
    power: float = Field(default=2.0, ge=1)
    """Exponent of the error."""
    probability: float | None = Field(default=None, gt=0, le=1)
    """That a feature is active; left out: exactly one is, and every sample is seen."""
    init: float = Field(default=0.01, gt=0)


def mixing_matrix(settings: CompressedSettings, generator: torch.Generator) -> Float[Tensor, "feat feat"]:
    """M: symmetric, normal."""
    drawn = torch.randn(settings.features, settings.features, generator=generator)
    return settings.mixing * (drawn + drawn.mT) / math.sqrt(2)


def errors(settings: CompressedSettings, parameters: Parameters) -> Float[Tensor, "rep sign feat out"]:
    """Answers less right answers, where one feature is +1 and where it is -1."""
    n = settings.features
    W1, W2 = parameters["W1"], parameters["W2"]
    both = []
    for sign in (1.0, -1.0):
        right = sign * parameters["M"] + (torch.eye(n) if sign > 0 else 0.0)
        answer = torch.relu(sign * W1).mT @ W2.mT  # [rep feat out]
        both.append(answer - right)
    return torch.stack(both, 1)


def loss_of(settings: CompressedSettings, off: Float[Tensor, "*lead sign feat out"]) -> Float[Tensor, "*lead"]:
    """E |error|^power for one active feature, summed over outputs, mean over features and values.

    |x|^power has the mean 1 / (power + 1) over [-1, 1]. For power 2 the loss over p that the paper plots is this one (a
    feature is active with probability p, the mean runs over as many outputs as there are features).
    """
    return off.abs().pow(settings.power).sum(-1).mean((-1, -2)) / (settings.power + 1)


def naive_loss(settings: CompressedSettings) -> float:
    """A neuron for each of as many features as there are, 0 for the rest, without mixing."""
    left = max(0, settings.features - settings.neurons) / settings.features
    return 0.5 * left / (settings.power + 1)


def _initial(settings: CompressedSettings, generator: torch.Generator) -> Parameters:
    n, m = settings.features, settings.neurons
    return {
        "W1": settings.init * torch.randn(m, n, generator=generator),
        "W2": settings.init * torch.randn(n, m, generator=generator),
        "M": mixing_matrix(settings, generator),
    }


def drawn(n: int, features: int, probability: float, generator: torch.Generator) -> Float[Tensor, "n feat"]:
    """Samples whose features are active by chance, each by itself."""
    active = torch.rand(n, features, generator=generator) < probability
    return active * (2 * torch.rand(n, features, generator=generator) - 1)


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    if settings.probability is None:
        return loss_of(settings, errors(settings, parameters))
    x = drawn(batch, settings.features, settings.probability, generator)
    off = torch.relu(x @ parameters["W1"].mT) @ parameters["W2"].mT - torch.relu(x) - x @ parameters["M"]
    return off.abs().pow(settings.power).sum(2).mean(1)


PROGRAM = Program("compressed", CompressedSettings, _initial, _losses, fixed=frozenset({"M"}))
