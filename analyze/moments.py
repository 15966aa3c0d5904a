"""Per-neuron figures: sums streamed over all tokens, quantiles and firing read from the sampled ones."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
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
SAMPLED_BYTES = 2**26
"""Size of the piece of the sample that one thread holds while it sorts."""


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


def rank_of(quantile: float, count: int) -> int:
    """Index among `count` sorted values of the first with at least a share `quantile` at or below it."""
    return max(int(np.ceil(quantile * count - 1e-9)) - 1, 0)


def document_starts(document: Int[np.ndarray, "t"]) -> list[int]:
    """Where each run of one document begins, and t behind them."""
    changes = np.flatnonzero(document[1:] != document[:-1]) + 1
    return [0, *changes.tolist(), len(document)]


def sampled_statistics(sample: Sample, tokens: TokenSample, n_neurons: int) -> SampledStatistics:
    """Quantiles (the inverse empirical distribution: always a value that occurred), firing, documents.

    `p9999` and `fit_range` are of the fit tokens, or of all where no document fell into the fit half. The
    sample is read in pieces of 64 MB, one a thread.
    """
    n_tokens = len(tokens)
    fit = torch.from_numpy(np.flatnonzero(tokens.is_fit) if tokens.is_fit.any() else np.arange(n_tokens))
    starts = document_starts(tokens.document)
    width = max(1, min(BLOCK, SAMPLED_BYTES // (4 * n_tokens)))
    figures = {name: np.zeros(n_neurons) for name in SampledStatistics.__annotations__}

    def measure(first: int) -> None:
        stop = min(first + width, n_neurons)
        values = sample.read(first, stop)
        in_fit = values.index_select(0, fit).T.contiguous().numpy()
        in_all = values.T.clone(memory_format=torch.contiguous_format).numpy()
        # One cut at a time: numpy's vectorised selection takes a single rank.
        half = rank_of(0.5, n_tokens)
        in_all.partition(half, axis=1)
        median = in_all[:, half].copy()
        lower = in_all[:, : half + 1]
        low = rank_of(0.01, n_tokens)
        lower.partition(low, axis=1)
        in_fit.partition(rank_of(0.9999, len(fit)), axis=1)
        p9999 = in_fit[:, rank_of(0.9999, len(fit))]
        threshold = torch.from_numpy(FIRING_SHARE * p9999.astype(np.float64)).float()
        peaks = torch.stack([values[a:b].amax(0) for a, b in pairwise(starts)])
        found = {
            "median": median,
            "p01": lower[:, low],
            "p9999": p9999,
            "fit_range": in_fit.max(axis=1).astype(np.float64) - in_fit.min(axis=1),
            "firing_rate": np.count_nonzero((values > threshold).numpy(), axis=0) / n_tokens,
            "n_documents_fired": (peaks > threshold).sum(0).numpy(),
        }
        for name, figure in found.items():
            figures[name][first:stop] = figure

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(measure, range(0, n_neurons, width)))
    documents = figures.pop("n_documents_fired").astype(np.int64)
    return SampledStatistics(**figures, n_documents_fired=documents)


def combine(
    stream: StreamMoments, sampled: SampledStatistics, parent: Int[np.ndarray, "n"] | None = None
) -> Moments:
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
