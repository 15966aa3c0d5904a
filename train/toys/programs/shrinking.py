"""Dropout and the number of features (Bereska et al. 2025, 2512.13568): does dropout lower the effective features?

relu(W2 d(relu(W1 x)) + b), where d drops each hidden neuron with probability `dropout` in training; features fall off
in importance as 0.9^i.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class ShrinkingSettings(Section):
    """Features are active with probability `probability`, with values uniform in [0, 1]."""

    features: int = Field(default=40, ge=1, le=4096)
    neurons: int = Field(default=20, ge=1, le=4096)
    probability: float = Field(default=0.05, gt=0, le=1)
    decay: float = Field(default=0.9, gt=0, le=1)
    dropout: float = Field(ge=0, lt=1)


def importances(settings: ShrinkingSettings) -> Float[Tensor, " feat"]:
    """decay^i."""
    return settings.decay ** torch.arange(settings.features)


def hidden(parameters: Parameters, x: Float[Tensor, "n feat"]) -> Float[Tensor, "rep n neuron"]:
    """Activations of the hidden neurons without dropout."""
    return torch.relu(x @ parameters["W1"].mT)


def _initial(settings: ShrinkingSettings, generator: torch.Generator) -> Parameters:
    n, m = settings.features, settings.neurons
    scale = math.sqrt(2 / (n + m))
    return {
        "W1": scale * torch.randn(m, n, generator=generator),
        "W2": scale * torch.randn(n, m, generator=generator),
        "b": torch.zeros(n),
    }


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    active = torch.rand(batch, settings.features, generator=generator) < settings.probability
    x = active * torch.rand(batch, settings.features, generator=generator)
    kept = torch.rand(batch, settings.neurons, generator=generator) >= settings.dropout
    neurons = hidden(parameters, x) * (kept / (1 - settings.dropout))
    answer = torch.relu(neurons @ parameters["W2"].mT + parameters["b"][:, None])
    return ((answer - x).square() * importances(settings)).mean((1, 2))


PROGRAM = Program("shrinking", ShrinkingSettings, _initial, _losses)
