"""Incidental polysemanticity (Lecomte et al. 2023, 2312.03096): more neurons than features, and features share some.

relu(W W^T x) learns the n standard basis vectors with L1 on W; there is room for every feature to have a neuron, but
two that begin closest to the same one may both end there.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class CollisionsSettings(Section):
    """W is [features neurons], drawn with standard deviation 1 / sqrt(neurons)."""

    features: int = Field(ge=1, le=4096)
    neurons: int = Field(ge=1, le=65536)
    l1: float = Field(default=1e-3, ge=0)


def _initial(settings: CollisionsSettings, generator: torch.Generator) -> Parameters:
    return {"W": torch.randn(settings.features, settings.neurons, generator=generator) / math.sqrt(settings.neurons)}


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    """Squared error, summed over the n inputs and outputs, and L1 of W: the published loss."""
    W = parameters["W"]
    answers = torch.relu(W @ W.mT)
    error = (answers - torch.eye(settings.features)).square().sum((1, 2))
    return error + settings.l1 * W.abs().sum((1, 2))


PROGRAM = Program("collisions", CollisionsSettings, _initial, _losses)
