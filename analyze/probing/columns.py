"""The neurons of a layer as standardised columns of a design matrix."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import blocks
from analyze.activations.store import DEAD, Activations
from analyze.activations.token_sample import position_hash


@dataclass(frozen=True)
class Limits:
    """How much of a layer probes see."""

    neurons: int = 2048
    """Of a wider layer a probe sees this many, those with the largest correlation with the label on fit tokens."""
    tokens: int = 2**18
    gram_tokens: int = 2**16
    """Fit tokens over which products of neurons are averaged."""
    tokens_at_once: int = 8192
    """Tokens whose activations are in float32 at a time."""


LIMITS = Limits()


@dataclass(frozen=True)
class Columns:
    """Some neurons on some tokens, in bf16 as collected, with their means and deviations. Fit tokens come first."""

    neurons: Int[ndarray, "p"]
    values: Tensor
    """[p t], bfloat16."""
    mean: Float[ndarray, "p"]
    """Over the fit tokens."""
    sd: Float[ndarray, "p"]
    n_fit: int
    limits: Limits

    def standardised(self, rows: Int[ndarray, "k"], fit_tokens: Int[ndarray, "s"]) -> Float[Tensor, "k s"]:
        """(a - mean) / sd of the columns at `rows` on some fit tokens, float32."""
        mean, sd = (torch.from_numpy(values[rows]).float() for values in (self.mean, self.sd))
        index = torch.from_numpy(fit_tokens)
        out = torch.empty(len(rows), len(fit_tokens))
        for place, row in enumerate(rows.tolist()):
            out[place] = self.values[row].take(index)
        return out.sub_(mean[:, None]).div_(sd[:, None])

    @cached_property
    def gram(self) -> Float[ndarray, "p p"]:
        """Mean products of the standardised columns over fit tokens, `gram_tokens` of them at most (by a hash)."""
        tokens, every = thinned(np.arange(self.n_fit), self.limits.gram_tokens), np.arange(len(self.neurons))
        total = torch.zeros(len(self.neurons), len(self.neurons), dtype=torch.float64)
        at_once = self.limits.tokens_at_once
        for first in range(0, len(tokens), at_once):
            piece = self.standardised(every, tokens[first : first + at_once])
            total += (piece @ piece.T).double()
        return (total / max(len(tokens), 1)).numpy()

    def correlations(self, y: Bool[ndarray, "t m"]) -> Float[ndarray, "m p"]:
        """Mean product of standardised columns and centred labels on fit tokens: correlation x the label's sd."""
        # Since the labels are centred, the columns need not be.
        centred = torch.from_numpy(y[: self.n_fit] - y[: self.n_fit].mean(axis=0)).float()
        total = torch.zeros(y.shape[1], len(self.neurons), dtype=torch.float64)
        for first in range(0, self.n_fit, self.limits.tokens_at_once):
            stop = min(first + self.limits.tokens_at_once, self.n_fit)
            total += (self.values[:, first:stop].float() @ centred[first:stop]).T.double()
        return total.numpy() / max(self.n_fit, 1) / self.sd

    def on_eval(self, w: Float[ndarray, "m k"], rows: Int[ndarray, "k"]) -> Float[ndarray, "m e"]:
        """Weighted sums of the standardised columns at `rows` on every eval token, for m rows of weights."""
        scaled = w / self.sd[rows]
        weights, offset = torch.from_numpy(scaled).float(), torch.from_numpy(scaled @ self.mean[rows])
        index, at_once = torch.from_numpy(rows), self.limits.tokens_at_once
        pieces = [
            weights @ self.values[:, first : first + at_once].index_select(0, index).float()
            for first in range(self.n_fit, self.values.shape[1], at_once)
        ]
        return (torch.cat(pieces, 1).double() - offset[:, None]).numpy()


def thinned(index: Int[ndarray, "t"], at_most: int) -> Int[ndarray, "s"]:
    """At most `at_most` of some token indices, in order: those with the smallest hash."""
    if len(index) <= at_most:
        return index
    return np.sort(index[np.argsort(position_hash(index), kind="stable")[:at_most]])


class Layer:
    """The sampled activations of a layer as Columns: of all living neurons, or of those that suit a label."""

    def __init__(self, acts: Activations, limits: Limits = LIMITS) -> None:
        """Take at most `limits.tokens` tokens of the sample, by a hash of their place in the stream."""
        position, is_fit = np.asarray(acts.tokens.stream_position), np.asarray(acts.tokens.is_fit, dtype=np.bool_)
        kept = np.sort(np.argsort(position_hash(position), kind="stable")[: limits.tokens])
        self.tokens: Int[ndarray, "t"] = np.concatenate([kept[is_fit[kept]], kept[~is_fit[kept]]])
        """Indices into the sample: tokens of the fit half, then those of the eval half."""
        self.n_fit = int(is_fit[kept].sum())
        self.document = np.asarray(acts.tokens.document, dtype=np.int64)[self.tokens]
        self.stream_position = position[self.tokens]
        self.n_neurons = acts.n_neurons
        self._in_stream = np.argsort(self.stream_position, kind="stable")
        self._acts, self.limits = acts, limits
        alive = np.flatnonzero(acts.moments.status != DEAD)
        self._all = self._columns(alive) if len(alive) <= limits.neurons else None
        self._alive = alive if self._all is None else self._all.neurons

    @property
    def is_whole(self) -> bool:
        """Whether probes see every living neuron."""
        return self._all is not None

    def moved(self, y: Bool[ndarray, "t"], by: int) -> Bool[ndarray, "t"]:
        """A label moved `by` tokens along the corpus; what leaves its end comes in at its beginning."""
        out = np.empty_like(y)
        out[self._in_stream] = np.roll(y[self._in_stream], by)
        return out

    def columns_for(self, y: Bool[ndarray, "t"]) -> Columns:
        """Every living neuron, or the `limits.neurons` that correlate most with the label on fit tokens."""
        if self._all is not None:
            return self._all
        correlation = np.zeros(len(self._alive))
        for first, stop in blocks(self.n_neurons):
            inside = np.flatnonzero((self._alive >= first) & (self._alive < stop))
            if len(inside):
                columns = self._columns(self._alive[inside])
                # `columns` lacks neurons that do not vary on fit tokens.
                at = np.searchsorted(self._alive, columns.neurons)
                correlation[at] = np.abs(columns.correlations(y[:, None])[0])
        best = np.argsort(-correlation, kind="stable")[: self.limits.neurons]
        return self._columns(np.sort(self._alive[best]))

    def _columns(self, neurons: Int[ndarray, "p"]) -> Columns:
        values = torch.empty(len(neurons), len(self.tokens), dtype=torch.bfloat16)
        mean, sd = np.zeros(len(neurons)), np.zeros(len(neurons))
        tokens = torch.from_numpy(self.tokens)
        for first, stop in blocks(self.n_neurons):
            inside = np.flatnonzero((neurons >= first) & (neurons < stop))
            if not len(inside):
                continue
            block = self._acts.block(first, stop)[:, torch.from_numpy(neurons[inside] - first)]
            block = block.index_select(0, tokens).T.bfloat16()
            values[torch.from_numpy(inside)] = block
            for place, row in zip(inside.tolist(), block):
                on_fit = row[: self.n_fit].double()
                mean[place], sd[place] = float(on_fit.mean()), float(on_fit.std(correction=0))
        varies = np.flatnonzero(sd > 1e-6 * np.abs(mean))
        if len(varies) < len(neurons):
            neurons, values, mean, sd = neurons[varies], values[torch.from_numpy(varies)], mean[varies], sd[varies]
        return Columns(neurons, values, mean, sd, self.n_fit, self.limits)
