"""One xor by a few neurons (problem 4.20): a task that has two sufficient sets of features, and many starts.

Of two bits that are +1 or -1, x1 xor x2 is |x1 - x2| / 2 and also 1 - |x1 + x2| / 2: two neurons that read the
difference solve it, and so do two that read the sum; neither set needs the other.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class BasesSettings(Section):
    """One hidden layer of ReLUs between two bits and their xor."""

    width: int = Field(default=3, ge=2, le=64)
    init_scale: float = Field(default=1.0, gt=0)


def inputs() -> Float[Tensor, "4 2"]:
    """All four inputs."""
    return torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def answers() -> Float[Tensor, " 4"]:
    """1 where the bits differ."""
    return torch.tensor([0.0, 1.0, 1.0, 0.0])


def hidden(parameters: Parameters) -> Float[Tensor, "rep 4 width"]:
    """Activations of the hidden neurons on all four inputs."""
    return torch.relu(inputs() @ parameters["W1"].mT + parameters["b1"][:, None])


def outputs(parameters: Parameters, neurons: Float[Tensor, "rep 4 width"]) -> Float[Tensor, "rep 4"]:
    """Answers from the hidden neurons."""
    return (neurons * parameters["W2"][:, None]).sum(-1) + parameters["b2"][:, None]


def _initial(settings: BasesSettings, generator: torch.Generator) -> Parameters:
    scale = settings.init_scale
    return {
        "W1": scale * torch.randn(settings.width, 2, generator=generator),
        "b1": torch.zeros(settings.width),
        "W2": scale * torch.randn(settings.width, generator=generator) * math.sqrt(2 / settings.width),
        "b2": torch.zeros(()),
    }


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    """Squared error, mean over the four inputs."""
    return (outputs(parameters, hidden(parameters)) - answers()).square().mean(1)


PROGRAM = Program("bases", BasesSettings, _initial, _losses)
