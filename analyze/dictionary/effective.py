"""Effective features of a layer and psi = F / N, with what has no features of its own to compare with.

After Bereska et al. 2025, "Superposition as Lossy Compression" (arXiv 2512.13568): a latent's share p is its part of
all latents' activation over tokens, F = exp(-sum p log p), and psi = F over the number of neurons N. psi above 1: more
features than neurons, that is, superposition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.dictionary.autoencoder import Dictionary, Settings, Values, fit
from analyze.metrics import effective_number

Count = Literal["entropy", "participation"]
"""How shares become a number: exp of their entropy, or 1 over the sum of their squares (ruled by the largest)."""


@dataclass(frozen=True)
class Psi:
    """Effective features over neurons, and how well the dictionary behind it rebuilds the layer."""

    features: float
    """F."""
    neurons: int
    """N."""
    unexplained: float
    """Share of the variance that the dictionary does not rebuild."""
    active: float
    """Latents that fire at a token, on average."""

    @property
    def psi(self) -> float:
        """F / N."""
        return self.features / self.neurons


def effective_features(latents: Float[Tensor, "token latent"], count: Count = "entropy") -> float:
    """F of latents on tokens; NaN where none fires."""
    return _number(latents.abs().double().sum(0), count)


def _number(totals: Tensor, count: Count) -> float:
    if count == "entropy":
        return effective_number(totals.numpy())
    shares = totals / totals.sum()
    return float(1 / shares.square().sum())


def psi(values: Values, settings: Settings, count: Count = "entropy") -> Psi:
    """psi of a layer's values by a dictionary that is fitted for it.

    Raises:
        BadInput: values that do not vary.
    """
    return psi_of(fit(values, settings), values, count)


@torch.no_grad()
def psi_of(dictionary: Dictionary, values: Values, count: Count = "entropy", batch: int = 8192) -> Psi:
    """psi by a dictionary that is there."""
    totals, fires = torch.zeros(dictionary.settings.latents, dtype=torch.float64), 0
    for part in values.split(batch):
        z = dictionary.latents(part)
        totals += z.double().sum(0)
        fires += int((z > 0).sum())
    return Psi(_number(totals, count), values.shape[1], dictionary.unexplained(values), fires / len(values))


def gaussian_like(values: Values, seed: int = 0) -> Values:
    """A null without sparse features: Gaussian noise with the mean and the covariance of the values."""
    mean = values.double().mean(0)
    covariance = torch.cov((values.double() - mean).T).reshape(values.shape[1], values.shape[1])
    sizes, axes = torch.linalg.eigh(covariance)
    draw = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(values.shape)))
    return ((draw * sizes.clamp(min=0).sqrt()) @ axes.T + mean).float()


def shuffled(values: Values, seed: int = 0) -> Values:
    """A null without shared features: each neuron keeps its values, at tokens of its own order."""
    rng = np.random.default_rng(seed)
    return torch.stack([column[torch.from_numpy(rng.permutation(len(column)))] for column in values.T], dim=1)


NULLS: dict[str, Callable[[Values, int], Values]] = {"gaussian": gaussian_like, "shuffled": shuffled}
