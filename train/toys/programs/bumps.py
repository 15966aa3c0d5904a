"""Bumps on a circle (problem 4.18): a small sparse autoencoder on a population code of an angle, and its discrete twin.

A sample is a bump of activity over `neurons` cells that prefer evenly spaced angles, at an angle drawn from the whole
circle or, for the twin, from `points` evenly spaced ones. Both have the same mean and covariance as long as a bump has
no Fourier components beyond points / 2: only higher moments tell a continuum from a set.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program


class BumpsSettings(Section):
    """The code of an angle, and the autoencoder that reads it: the `active` highest latents are kept."""

    angles: Literal["circle", "points"]
    points: int = Field(default=20, ge=2, le=1000)
    """Angles of the twin."""
    neurons: int = Field(default=48, ge=3, le=1000)
    sharpness: float = Field(default=8.0, gt=0)
    """kappa of a bump exp(kappa (cos(distance) - 1))."""
    noise: float = Field(default=0.02, ge=0)
    """Standard deviation that is added to every cell, where a bump has norm 1."""
    latents: int = Field(ge=1, le=10_000)
    active: int = Field(default=1, ge=1)


def code(settings: BumpsSettings, angle: Float[Tensor, " n"]) -> Float[Tensor, "n neurons"]:
    """Bumps at these angles, of norm 1."""
    preferred = torch.arange(settings.neurons) * (2 * math.pi / settings.neurons)
    bumps = torch.exp(settings.sharpness * (torch.cos(angle[:, None] - preferred) - 1))
    return bumps / bumps.norm(dim=1, keepdim=True)


def samples(settings: BumpsSettings, n: int, generator: torch.Generator) -> Float[Tensor, "n neurons"]:
    """Noisy bumps of strength .5 to 1.5."""
    if settings.angles == "circle":
        angle = 2 * math.pi * torch.rand(n, generator=generator)
    else:
        angle = torch.randint(settings.points, (n,), generator=generator) * (2 * math.pi / settings.points)
    strength = 0.5 + torch.rand(n, 1, generator=generator)
    noise = settings.noise * torch.randn(n, settings.neurons, generator=generator)
    return strength * code(settings, angle) + noise


def latents(
    settings: BumpsSettings, parameters: Parameters, x: Float[Tensor, "n neurons"]
) -> tuple[Float[Tensor, "rep n active"], Int[Tensor, "rep n active"]]:
    """The highest latents of every sample, after a ReLU, and which they are."""
    before = x @ parameters["encoder"].mT + parameters["bias"][:, None]
    values, which = before.topk(settings.active, dim=-1)
    return values.relu(), which


def _initial(settings: BumpsSettings, generator: torch.Generator) -> Parameters:
    """Latents begin at samples of the data, a usual guard against dead ones."""
    start = samples(settings, settings.latents, generator)
    start = start / start.norm(dim=1, keepdim=True)
    return {"encoder": start, "bias": torch.zeros(settings.latents), "decoder": start.clone()}


def _losses(
    settings: BumpsSettings, parameters: Parameters, batch: int, generator: torch.Generator
) -> Float[Tensor, " rep"]:
    """Squared error of a sample, mean over samples; decoder rows count by their direction alone."""
    x = samples(settings, batch, generator)
    values, which = latents(settings, parameters, x)
    decoder = parameters["decoder"]
    decoder = decoder / decoder.norm(dim=2, keepdim=True)
    replica = torch.arange(len(decoder))[:, None, None]
    answer = (values[..., None] * decoder[replica, which]).sum(2)
    return (answer - x).square().sum(2).mean(1)


PROGRAM = Program("bumps", BumpsSettings, _initial, _losses)
