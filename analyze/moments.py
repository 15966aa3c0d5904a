"""Per-neuron figures: sums streamed over all tokens, quantiles and firing read from the sampled ones."""

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Float, Int, Int16
from torch import Tensor

from analyze.sample import BLOCK, Sample
from analyze.store import DEAD, RARE, SCORED, Moments, TokenSample

FIRING_SHARE = 0.1
"""A neuron fires above this share of the 99.99th percentile of its fit activations."""
MIN_DOCUMENTS = 30
"""A neuron that fires in fewer documents is rare: no score."""
DEAD_SHARE = 1e-6
"""A neuron is dead where its range is at most this share of the layer's median range."""
COLUMNS = 2048
"""Neurons whose fp64 copies are held at a time."""
PIECE_BYTES = 2**26
"""Size in fp32 of the piece of the sample that is held while its quantiles are found."""


class StreamMoments:
    """Count, mean, variance, minimum and maximum of every neuron, one micro-batch after another.

    Sums are fp64 and of differences to the first micro-batch's mean, so that the variance of a neuron with a
    large offset does not cancel.
    """

    def __init__(self, n_neurons: int) -> None:
        self.count = 0
        self.shift = torch.zeros(n_neurons, dtype=torch.float64)
        self.sums = torch.zeros(n_neurons, dtype=torch.float64)
        self.squares = torch.zeros(n_neurons, dtype=torch.float64)
        self.minimum = torch.full((n_neurons,), torch.inf)
        self.maximum = torch.full((n_neurons,), -torch.inf)

    def update(self, values: Float[Tensor, "t n"]) -> None:
        """Add a micro-batch, t >= 1. Values that are not finite leave sums that are not finite."""
        for first in range(0, values.shape[1], COLUMNS):
            part = slice(first, first + COLUMNS)
            wide = values[:, part].double()
            if self.count == 0:
                self.shift[part] = wide.mean(0)
            wide -= self.shift[part]
            self.sums[part] += wide.sum(0)
            wide *= wide
            self.squares[part] += wide.sum(0)
        torch.minimum(self.minimum, values.amin(0), out=self.minimum)
        torch.maximum(self.maximum, values.amax(0), out=self.maximum)
        self.count += len(values)

    def not_finite(self) -> list[int]:
        """Neurons that have given a value that is not finite."""
        return (~torch.isfinite(self.squares)).nonzero().flatten().tolist()

    def mean_and_sd(self) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Mean and standard deviation (of the tokens, not an estimate of a population's)."""
        offset = self.sums / self.count
        variance = (self.squares / self.count - offset**2).clamp(min=0)
        return (self.shift + offset).numpy(), variance.sqrt().numpy()


@dataclass(frozen=True)
class SampledStatistics:
    """What needs every sampled token of a neuron at once."""

    median: Float[np.ndarray, "n"]
    p01: Float[np.ndarray, "n"]
    p9999: Float[np.ndarray, "n"]
    fit_range: Float[np.ndarray, "n"]
    firing_rate: Float[np.ndarray, "n"]
    n_documents_fired: Int[np.ndarray, "n"]


def document_starts(document: Int[np.ndarray, "t"]) -> list[int]:
    """Where each run of one document begins, and t behind them."""
    changes = np.flatnonzero(document[1:] != document[:-1]) + 1
    return [0, *changes.tolist(), len(document)]


def sort_keys(values: BFloat16[Tensor, "..."]) -> Int16[Tensor, "..."]:
    """Integers in the order of their bf16 values: numpy selects among 16-bit integers 5 times as fast."""
    bits = values.view(torch.int16)
    turned = (bits >> 15).bitwise_and_(0x7FFF)  # the negative ones lie in descending order of their bits
    return turned.bitwise_xor_(bits)


def from_sort_keys(keys: Int16[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The values (float64) that `sort_keys` gave these integers; 0 where it was -0."""
    bits = torch.from_numpy(keys ^ ((keys >> 15) & 0x7FFF))
    return bits.view(torch.bfloat16).double().numpy() + 0.0


def key_below(values: Float[np.ndarray, "n"]) -> Int16[np.ndarray, "n"]:
    """Key of the largest bf16 number that is not above each value."""
    exact = torch.from_numpy(values)
    near = exact.bfloat16() + 0.0
    return (sort_keys(near) - (near.double() > exact).to(torch.int16)).numpy()


def counts(mask: Bool[np.ndarray, "n t"]) -> Int[np.ndarray, "n"]:
    """How many are true in each row. One row at a time is 10 times as fast as numpy's count along an axis."""
    return np.array([np.count_nonzero(row) for row in mask])


def quantile(keys: Int16[np.ndarray, "n t"], share: float) -> Float[np.ndarray, "n"]:
    """The first value of each row with at least a share `share` of its values at or below it."""
    rank = max(int(np.ceil(share * keys.shape[1] - 1e-9)) - 1, 0)
    below, zeros = counts(keys < 0), counts(keys == 0)
    found = np.zeros(len(keys), dtype=np.int16)
    rest = (rank < below) | (rank >= below + zeros)
    # relu leaves rows of mostly zeros: numpy's selection is 20 times slower among ties, its sort is not.
    tied = zeros > 0.05 * keys.shape[1]
    for rows, order in ((rest & tied, np.sort), (rest & ~tied, partial(np.partition, kth=rank))):
        if rows.any():
            found[rows] = order(keys[rows], axis=1)[:, rank]
    return from_sort_keys(found)


def sampled_statistics(sample: Sample, tokens: TokenSample, n_neurons: int) -> SampledStatistics:
    """Quantiles (the inverse empirical distribution: always a value that occurred), firing, documents.

    All of the activations in bf16, as the sample is on disk. `p9999` and `fit_range` are of the fit tokens,
    or of all where no document fell into the fit half. The sample is read in pieces of 64 MB.
    """
    n_tokens = len(tokens)
    fit = np.flatnonzero(tokens.is_fit) if tokens.is_fit.any() else np.arange(n_tokens)
    starts = document_starts(tokens.document)[:-1]
    width = max(1, min(BLOCK, PIECE_BYTES // (4 * n_tokens)))
    found: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(SampledStatistics)}
    for first in range(0, n_neurons, width):
        values = sample.read(first, min(first + width, n_neurons)).bfloat16()
        keys = sort_keys(values.T.contiguous()).numpy()
        in_fit = keys.take(fit, axis=1)
        p9999 = quantile(in_fit, 0.9999)
        threshold = key_below(FIRING_SHARE * p9999)[:, None]
        peaks = np.maximum.reduceat(keys, starts, axis=1)
        figures = {
            "p9999": p9999,
            "fit_range": from_sort_keys(in_fit.max(axis=1)) - from_sort_keys(in_fit.min(axis=1)),
            "firing_rate": counts(keys > threshold) / n_tokens,
            "n_documents_fired": counts(peaks > threshold),
            "median": quantile(keys, 0.5),
            "p01": quantile(keys, 0.01),
        }
        for name, figure in figures.items():
            found[name].append(figure)
    return SampledStatistics(**{name: np.concatenate(parts) for name, parts in found.items()})


def combine(stream: StreamMoments, sampled: SampledStatistics, parent: Int[np.ndarray, "n"] | None = None) -> Moments:
    """The Moments of a layer, with each neuron's status and flags.

    Dead: the range of fit activations is at most 1e-6 x the median range of the layer's neurons that have one
    (absolute bounds fail: SoLU's largest activations are .001 untrained). Rare: fires in fewer than 30
    documents. Flags dense and always_on are of neurons that are not dead.
    """
    mean, sd = stream.mean_and_sd()
    ranges = sampled.fit_range
    moving = ranges[ranges > 0]
    dead = ranges <= (DEAD_SHARE * np.median(moving) if len(moving) else 0.0)
    rare = ~dead & (sampled.n_documents_fired < MIN_DOCUMENTS)
    return Moments(
        n_tokens=np.full(len(mean), stream.count, dtype=np.int64),
        mean=mean,
        sd=sd,
        minimum=stream.minimum.double().numpy(),
        maximum=stream.maximum.double().numpy(),
        median=sampled.median,
        p01=sampled.p01,
        p9999=sampled.p9999,
        threshold=FIRING_SHARE * sampled.p9999,
        firing_rate=sampled.firing_rate,
        n_documents_fired=sampled.n_documents_fired,
        status=np.where(dead, DEAD, np.where(rare, RARE, SCORED)).astype(np.int8),
        dense=~dead & (sampled.firing_rate > 0.5),
        always_on=~dead & (sampled.p01 > 0),
        parent=parent,
    )
