"""Overlaps of features in strong superposition (Liu, Liu and Gore 2025, 2505.10465): how do they fall with dimension?

relu(W^T W x + b) with far more features than dimensions. Strong superposition means that all features are held: norms
are pulled towards 1 (there by a weight decay of changed sign, here by a term of the loss).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class OverlapSettings(Section):
    """Features are active with probability `probability`, with values uniform in [0, 2]."""

    features: int = Field(default=2048, ge=2, le=65536)
    dimensions: int = Field(ge=1, le=4096)
    probability: float = Field(default=0.002, gt=0, le=1)
    pull: float = Field(default=0.01, ge=0)
    """Weight of the mean squared distance of norms from 1, beside the squared error summed over outputs."""


def values(settings: OverlapSettings, n: int, generator: torch.Generator) -> Float[Tensor, "n feat"]:
    """Samples."""
    active = torch.rand(n, settings.features, generator=generator) < settings.probability
    return active * 2 * torch.rand(n, settings.features, generator=generator)


def _initial(settings: OverlapSettings, generator: torch.Generator) -> Parameters:
    shape = (settings.features, settings.dimensions)
    return {
        "W": torch.randn(shape, generator=generator) / math.sqrt(settings.dimensions),
        "b": torch.zeros(settings.features),
    }


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    W = parameters["W"]
    x = values(settings, batch, generator)
    answer = torch.relu((x @ W) @ W.mT + parameters["b"][:, None])
    error = (answer - x).square().sum(2).mean(1)
    return error + settings.pull * (W.norm(dim=2) - 1).square().mean(1)


PROGRAM = Program("overlap", OverlapSettings, _initial, _losses)
