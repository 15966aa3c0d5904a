"""Figures of how a neuron's activations are spread, which look at no text: how often, how peaked, how unlike a bell."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import ndtri

from analyze.metrics import FIRING_SHARE


def peaks(activations: Float[ndarray, "t n"]) -> Float[ndarray, " n"]:
    """The 99.99th percentile of each neuron."""
    place = max(int(np.ceil(0.9999 * len(activations) - 1e-9)), 1) - 1
    return np.array([np.partition(column, place)[place] for column in activations.T])


def firing_rate(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """How seldom a neuron fires: minus the share of tokens above a tenth of its 99.99th percentile."""
    return -(activations > FIRING_SHARE * peaks(activations)).mean(axis=0)


def kurtosis(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Fourth moment over the squared second, of the centred activations."""
    found = np.empty(activations.shape[1])
    for neuron, column in enumerate(activations.T):
        square = (column - column.mean(dtype=np.float64)) ** 2
        found[neuron] = (square * square).mean() / max(square.mean() ** 2, 1e-30)
    return found


def wasserstein(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Distance of the standardised activations from a Gaussian: mean gap between their quantiles (2509.24198)."""
    gaussian = torch.from_numpy(ndtri((np.arange(len(activations)) + 0.5) / len(activations)))
    found = np.empty(activations.shape[1])
    for neuron, column in enumerate(activations.T):
        ordered = torch.from_numpy(column.copy()).sort().values.double()
        ordered = (ordered - ordered.mean()) / ordered.std().clamp(min=1e-12)
        found[neuron] = float((ordered - gaussian).abs().mean())
    return found


def token_entropy(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Minus the entropy, in nats, of how the mass of strong firings (over a quarter of the peak) is spread over ids."""
    peak = peaks(activations)
    found = np.full(activations.shape[1], np.nan)
    for neuron, column in enumerate(activations.T):
        strong = np.flatnonzero(column > 0.25 * peak[neuron])
        if len(strong):
            mass = np.bincount(tokens[strong], weights=column[strong])
            share = mass[mass > 0] / mass.sum()
            found[neuron] = float((share * np.log(share)).sum())
    return found
