"""Figures of how a neuron's activations are spread, which look at no text: how often, how peaked, how unlike a bell."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import ndtri

from analyze.metrics import FIRING_SHARE


def firing_rate(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """How seldom a neuron fires: minus the share of tokens above a tenth of its 99.99th percentile."""
    peak = np.quantile(activations, 0.9999, axis=0, method="inverted_cdf")
    return -(activations > FIRING_SHARE * peak).mean(axis=0)


def kurtosis(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Fourth moment over the squared second, of the centred activations."""
    centred = activations - activations.mean(axis=0)
    square = centred * centred
    variance = square.mean(axis=0, dtype=np.float64)
    return (square * square).mean(axis=0, dtype=np.float64) / np.maximum(variance**2, 1e-30)


def wasserstein(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Distance of the standardised activations from a Gaussian: mean gap between their quantiles (2509.24198)."""
    ordered = torch.from_numpy(activations.T.copy()).sort(dim=1).values.double()
    ordered = (ordered - ordered.mean(1, keepdim=True)) / ordered.std(1, keepdim=True).clamp(min=1e-12)
    gaussian = torch.from_numpy(ndtri((np.arange(len(activations)) + 0.5) / len(activations)))
    return (ordered - gaussian).abs().mean(1).numpy()


def token_entropy(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Minus the entropy, in nats, of how the mass of strong firings (over a quarter of the peak) is spread over ids."""
    peak = np.quantile(activations, 0.9999, axis=0, method="inverted_cdf")
    found = np.full(activations.shape[1], np.nan)
    for neuron, column in enumerate(activations.T):
        strong = np.flatnonzero(column > 0.25 * peak[neuron])
        if len(strong):
            mass = np.bincount(tokens[strong], weights=column[strong])
            share = mass[mass > 0] / mass.sum()
            found[neuron] = float((share * np.log(share)).sum())
    return found
