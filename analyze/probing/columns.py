"""The neurons of a layer as columns of a design: standardised on fit tokens, some of them at a time."""

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

MOST_NEURONS = 2048
"""Of a wider layer a probe sees this many, those whose correlation with the label is largest on fit tokens."""
MOST_TOKENS = 2**18
GRAM_TOKENS = 2**16
"""Fit tokens that products of neurons are taken over."""
_PIECE = 8192


@dataclass(frozen=True)
class Columns:
    """Some neurons on some tokens, bf16 as collected, with what standardises them; fit tokens stand first."""

    neurons: Int[ndarray, "p"]
    values: Tensor
    """[p t], bfloat16."""
    mean: Float[ndarray, "p"]
    """Over the fit tokens."""
    sd: Float[ndarray, "p"]
    n_fit: int

    def standardised(self, rows: Int[ndarray, "k"], fit_tokens: Int[ndarray, "s"]) -> Float[Tensor, "k s"]:
        """(a - mean) / sd of the columns at `rows` on some fit tokens, float32."""
        mean, sd = (torch.from_numpy(one[rows]).float() for one in (self.mean, self.sd))
        index = torch.from_numpy(fit_tokens)
        out = torch.empty(len(rows), len(fit_tokens))
        for place, row in enumerate(rows.tolist()):
            out[place] = self.values[row].take(index)
        return out.sub_(mean[:, None]).div_(sd[:, None])

    @cached_property
    def gram(self) -> Float[ndarray, "p p"]:
        """Mean products of the standardised columns over (the first GRAM_TOKENS, by a hash, of) the fit tokens."""
        tokens, every = thinned(np.arange(self.n_fit), GRAM_TOKENS), np.arange(len(self.neurons))
        total = torch.zeros(len(self.neurons), len(self.neurons), dtype=torch.float64)
        for first in range(0, len(tokens), _PIECE):
            piece = self.standardised(every, tokens[first : first + _PIECE])
            total += (piece @ piece.T).double()
        return (total / max(len(tokens), 1)).numpy()

    def correlations(self, y: Bool[ndarray, "t m"]) -> Float[ndarray, "m p"]:
        """Mean product on fit tokens of each standardised column with each label, centred: correlation x its sd."""
        # Since the labels are centred, the columns need not be.
        centred = torch.from_numpy(y[: self.n_fit] - y[: self.n_fit].mean(axis=0)).float()
        total = torch.zeros(y.shape[1], len(self.neurons), dtype=torch.float64)
        for first in range(0, self.n_fit, _PIECE):
            stop = min(first + _PIECE, self.n_fit)
            total += (self.values[:, first:stop].float() @ centred[first:stop]).T.double()
        return total.numpy() / max(self.n_fit, 1) / self.sd

    def on_eval(self, w: Float[ndarray, "m k"], rows: Int[ndarray, "k"]) -> Float[ndarray, "m e"]:
        """Sums of the standardised columns at `rows`, with m rows of weights, on every eval token."""
        scaled = w / self.sd[rows]
        weights, offset = torch.from_numpy(scaled).float(), torch.from_numpy(scaled @ self.mean[rows])
        index = torch.from_numpy(rows)
        pieces = [
            weights @ self.values[:, first : first + _PIECE].index_select(0, index).float()
            for first in range(self.n_fit, self.values.shape[1], _PIECE)
        ]
        return (torch.cat(pieces, 1).double() - offset[:, None]).numpy()


def thinned(index: Int[ndarray, "t"], at_most: int) -> Int[ndarray, "s"]:
    """At most so many of some token indices, those with the least hash, in order."""
    if len(index) <= at_most:
        return index
    return np.sort(index[np.argsort(position_hash(index), kind="stable")[:at_most]])


class Layer:
    """The sampled activations of a layer as Columns: all neurons at once, or those that suit a label."""

    def __init__(self, acts: Activations) -> None:
        """Take at most MOST_TOKENS tokens of the sample, by a hash of their place in the stream."""
        position, is_fit = np.asarray(acts.tokens.stream_position), np.asarray(acts.tokens.is_fit, dtype=np.bool_)
        kept = np.sort(np.argsort(position_hash(position), kind="stable")[:MOST_TOKENS])
        self.tokens: Int[ndarray, "t"] = np.concatenate([kept[is_fit[kept]], kept[~is_fit[kept]]])
        """Which sampled tokens: those of the fit half, then those of the eval half."""
        self.n_fit = int(is_fit[kept].sum())
        self.document = np.asarray(acts.tokens.document, dtype=np.int64)[self.tokens]
        self.stream_position = position[self.tokens]
        self.n_neurons = acts.n_neurons
        self._in_stream = np.argsort(self.stream_position, kind="stable")
        self._acts = acts
        alive = np.flatnonzero(acts.moments.status != DEAD)
        self._all = self._columns(alive) if len(alive) <= MOST_NEURONS else None
        self._alive = alive if self._all is None else self._all.neurons

    @property
    def is_whole(self) -> bool:
        """Whether probes see every living neuron."""
        return self._all is not None

    def moved(self, y: Bool[ndarray, "t"], by: int) -> Bool[ndarray, "t"]:
        """A label carried `by` tokens along the corpus, round its end."""
        out = np.empty_like(y)
        out[self._in_stream] = np.roll(y[self._in_stream], by)
        return out

    def columns_for(self, y: Bool[ndarray, "t"]) -> Columns:
        """Every living neuron, or of too many the MOST_NEURONS that correlate most with the label on fit tokens."""
        if self._all is not None:
            return self._all
        found = np.zeros(len(self._alive))
        for first, stop in blocks(self.n_neurons):
            inside = np.flatnonzero((self._alive >= first) & (self._alive < stop))
            if len(inside):
                columns = self._columns(self._alive[inside])
                # Columns that do not vary on fit tokens are gone from it.
                at = np.searchsorted(self._alive, columns.neurons)
                found[at] = np.abs(columns.correlations(y[:, None])[0])
        best = np.argsort(-found, kind="stable")[:MOST_NEURONS]
        return self._columns(np.sort(self._alive[best]))

    def _columns(self, neurons: Int[ndarray, "p"]) -> Columns:
        values = torch.empty(len(neurons), len(self.tokens), dtype=torch.bfloat16)
        mean, sd = np.zeros(len(neurons)), np.zeros(len(neurons))
        tokens = torch.from_numpy(self.tokens)
        for first, stop in blocks(self.n_neurons):
            inside = np.flatnonzero((neurons >= first) & (neurons < stop))
            if not len(inside):
                continue
            held = self._acts.block(first, stop)[:, torch.from_numpy(neurons[inside] - first)]
            held = held.index_select(0, tokens).T.bfloat16()
            values[torch.from_numpy(inside)] = held
            for place, row in zip(inside.tolist(), held):
                on_fit = row[: self.n_fit].double()
                mean[place], sd[place] = float(on_fit.mean()), float(on_fit.std(correction=0))
        varies = np.flatnonzero(sd > 1e-6 * np.abs(mean))
        if len(varies) == len(neurons):
            return Columns(neurons, values, mean, sd, self.n_fit)
        return Columns(neurons[varies], values[torch.from_numpy(varies)], mean[varies], sd[varies], self.n_fit)
