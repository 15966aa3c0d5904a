"""Statistics of each neuron: sums over all tokens as they stream by, quantiles and firing from the sample."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor

from analyze.activations.bf16_keys import few_places, from_sort_keys
from analyze.activations.store import DEAD, RARE, SCORED, Moments
from analyze.metrics import FIRING_SHARE

MIN_DOCUMENTS = 30
"""A neuron that fires in fewer documents is rare and gets no score."""
DEAD_SHARE = 1e-6
"""A neuron is dead where its range is at most this share of the layer's median range."""
COLUMNS = 64
"""Neurons copied to fp64 at a time: their part of a micro-batch stays in the cache."""


class StreamMoments:
    """Count, mean, variance, minimum and maximum of every neuron, one micro-batch after another.

    It adds differences to the first micro-batch's mean in fp64, so that the variance of a neuron with a large offset
    does not cancel.
    """

    def __init__(self, n_neurons: int) -> None:
        self.count = 0
        self.shift, self.sums, self.squares = np.zeros((3, n_neurons))
        self.minimum = np.full(n_neurons, np.inf, dtype=np.float32)
        self.maximum = np.full(n_neurons, -np.inf, dtype=np.float32)

    def update(self, values: Float[Tensor, "t n"]) -> None:
        """Add a micro-batch, t >= 1. Values that are not finite leave sums that are not finite."""
        self.update_sums(values)
        self.update_range(values)

    def update_sums(self, values: Float[Tensor, "t n"]) -> None:
        """All of `update` but the range; another thread may do that meanwhile."""
        buffer = torch.empty(len(values) * min(COLUMNS, values.shape[1]), dtype=torch.float64)
        for first in range(0, values.shape[1], COLUMNS):
            part = slice(first, first + COLUMNS)
            narrow = values[:, part]
            wide = buffer[: narrow.numel()].view(narrow.shape).copy_(narrow)
            if self.count == 0:
                self.shift[part] = wide.mean(0).numpy()
            wide -= torch.from_numpy(self.shift[part])
            self.sums[part] += wide.sum(0).numpy()
            wide *= wide
            self.squares[part] += wide.sum(0).numpy()
        self.count += len(values)

    def update_range(self, values: Float[Tensor, "t n"]) -> None:
        """Minimum and maximum, in numpy."""
        np.minimum(self.minimum, values.numpy().min(axis=0), out=self.minimum)
        np.maximum(self.maximum, values.numpy().max(axis=0), out=self.maximum)

    def not_finite(self) -> list[int]:
        """Neurons that gave a value that is not finite."""
        return np.flatnonzero(~np.isfinite(self.squares)).tolist()

    def mean_and_sd(self) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Mean and standard deviation (of the tokens, not an estimate of a population's)."""
        offset = self.sums / self.count
        variance = np.maximum(self.squares / self.count - offset**2, 0)
        return self.shift + offset, np.sqrt(variance)


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of each neuron's bf16 values on the sampled tokens: always a value that occurred."""

    median: Float[np.ndarray, "n"]
    p01: Float[np.ndarray, "n"]
    p9999: Float[np.ndarray, "n"]
    """Of the fit tokens, like `fit_range`; of all where no document fell into the fit half."""
    fit_range: Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Rates:
    """How often each neuron fires, and what lies below zero; of bf16 values."""

    firing_rate: Float[np.ndarray, "n"]
    n_documents_fired: Int[np.ndarray, "n"]
    negative_share: Float[np.ndarray, "n"]
    negative_mass: Float[np.ndarray, "n"]


class QuantileRows:
    """Quantiles of neurons, one neuron at a time and in any order."""

    def __init__(self, n_neurons: int, is_fit: Bool[np.ndarray, "t"]) -> None:
        self.is_fit = is_fit if is_fit.any() else np.ones_like(is_fit)
        self.n_fit = int(np.count_nonzero(self.is_fit))
        # The maximum of a token's key and this one: its own key for a fit token, else the largest key of all.
        self._raised = np.where(self.is_fit, -0x8000, 0x7FFF).astype(np.int16)
        self.values = Quantiles(*(np.zeros(n_neurons) for _ in fields(Quantiles)))

    def add(self, neuron: int, keys: Int16[np.ndarray, "t"], ordered: Int16[np.ndarray, "t"]) -> None:
        """Read them off a neuron's sort keys, given in stream order and in ascending order."""
        lowest = np.maximum(keys, self._raised).min()
        p9999, highest = self._strongest(keys, ordered)
        ends = ordered[[quantile_index(0.5, len(ordered)), quantile_index(0.01, len(ordered))]]
        row = from_sort_keys(np.array([*ends, p9999, highest, lowest], dtype=np.int16))
        self.values.median[neuron], self.values.p01[neuron], self.values.p9999[neuron] = row[:3]
        self.values.fit_range[neuron] = row[3] - row[4]

    def _strongest(self, keys: Int16[np.ndarray, "t"], ordered: Int16[np.ndarray, "t"]) -> tuple[np.int16, np.int16]:
        """The 99.99th percentile and the maximum of the fit tokens."""
        wanted = self.n_fit - quantile_index(0.9999, self.n_fit)
        reach = 4 * wanted + 16  # about half of the strongest tokens are fit tokens
        while True:
            among = few_places(keys >= ordered[max(len(ordered) - reach, 0)])
            strongest = np.sort(keys[among[self.is_fit[among]]])
            if len(strongest) >= wanted:
                return strongest[-wanted], strongest[-1]
            reach *= 8


def quantile_index(share: float, count: int) -> int:
    """Index, in ascending order, of the first value with at least `share` of all at or below it."""
    return max(int(np.ceil(share * count - 1e-9)) - 1, 0)


def combine(
    stream: StreamMoments, quantiles: Quantiles, rates: Rates, parent: Int[np.ndarray, "n"] | None = None
) -> Moments:
    """The Moments of a layer, with each neuron's status and flags.

    Dead: the range of its fit activations is at most 1e-6 x the median of all ranges above 0. (Absolute bounds fail:
    the largest activations of an untrained SoLU layer are .001.) Rare: it fires in fewer than 30 documents. Dead
    neurons are neither dense nor always_on.
    """
    mean, sd = stream.mean_and_sd()
    ranges = quantiles.fit_range
    moving = ranges[ranges > 0]
    dead = ranges <= (DEAD_SHARE * np.median(moving) if len(moving) else 0.0)
    rare = ~dead & (rates.n_documents_fired < MIN_DOCUMENTS)
    return Moments(
        n_tokens=np.full(len(mean), stream.count, dtype=np.int64),
        mean=mean,
        sd=sd,
        minimum=stream.minimum.astype(np.float64),
        maximum=stream.maximum.astype(np.float64),
        median=quantiles.median,
        p01=quantiles.p01,
        p9999=quantiles.p9999,
        threshold=FIRING_SHARE * quantiles.p9999,
        firing_rate=rates.firing_rate,
        n_documents_fired=rates.n_documents_fired,
        status=np.where(dead, DEAD, np.where(rare, RARE, SCORED)).astype(np.int8),
        dense=~dead & (rates.firing_rate > 0.5),
        always_on=~dead & (quantiles.p01 > 0),
        negative_share=rates.negative_share,
        negative_mass=rates.negative_mass,
        parent=parent,
    )
