"""Sparse and dense linear probes of labels on a layer's neurons, by least squares: a leaf of problems.

Least squares on a label is Fisher's linear discriminant: the weights of both classes do not matter to its direction.
`polysem probe` fits logistic regressions instead, on what was collected; these take seconds for a whole layer.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.metrics import average_precision
from analyze.problems.feature_directions import Features
from analyze.problems.subject import Subject
from analyze.scores.forward_selection import forward_selection
from train.model import Transformer

KS = (1, 2, 4, 8, 16, 32, 64, 128)
ENOUGH = 0.9
"""Share of the dense probe's average precision, above the base rate, that a sparse one must reach."""
RIDGE = 1e-3
SINGLES = 16
MOST_ROWS = 256
MOST_NEURONS = 2048
"""Of a wider layer those that vary most."""


@dataclass(frozen=True)
class Curve:
    """Average precision of one label's probes, on rows that did not fit them."""

    base: float
    """Of a probe that knows nothing: the label's share of tokens."""
    sparse: tuple[float, ...]
    """One a number of neurons in KS, as many as there are neurons."""
    best_neuron: float
    dense: float
    neurons: tuple[int, ...]
    """Of the largest sparse probe, in the order in which they were chosen."""

    @property
    def needed(self) -> int | None:
        """Neurons of the smallest probe with 90 % of what the dense one has above the base rate; None where none."""
        wanted = self.base + ENOUGH * (self.dense - self.base)
        return next((k for k, value in zip(KS, self.sparse) if value >= wanted), None)


def spread(subject: Subject) -> Int[Tensor, " row"]:
    """Numbers of the rows that probes read, spread evenly."""
    assert subject.rows is not None
    return torch.arange(len(subject.rows))[:: max(1, len(subject.rows) // MOST_ROWS)][:MOST_ROWS]


@torch.no_grad()
def neurons_at(model: Transformer, rows: Int[Tensor, "row pos_and_one"]) -> Float[Tensor, "token neuron"]:
    """The last layer's neurons at every token that the rows predict, before a mid LayerNorm."""
    layer = model.config.n_layers - 1
    return torch.cat([model.mlp_activations(c, layer, "mid").flatten(0, 1) for c in rows[:, :-1].split(16)])


class Probes:
    """Probes of labels on columns (neurons, rotated directions, latents), fitted on half of the tokens."""

    def __init__(
        self, values: Float[Tensor, "token column"], where: Bool[Tensor, "label token"], is_fit: Bool[Tensor, " token"]
    ) -> None:
        self.columns = torch.arange(values.shape[1])
        if values.shape[1] > MOST_NEURONS:
            self.columns = values.var(0).topk(MOST_NEURONS).indices.sort().values
            values = values[:, self.columns]
        mean, sd = values[is_fit].mean(0), values[is_fit].std(0)
        self._values = torch.where(sd > 1e-6, (values - mean) / sd.clamp(min=1e-6), 0.0)
        self._where, self._is_fit = where, is_fit
        self._marks = where[:, ~is_fit].numpy()
        fit = self._values[is_fit]
        marks = where[:, is_fit].float()
        self._gram = (fit.T @ fit / len(fit)).double().numpy()
        self._products = ((marks - marks.mean(1, keepdim=True)) @ fit / len(fit)).double().numpy()

    @cached_property
    def _eval(self) -> Float[Tensor, "token column"]:
        return self._values[~self._is_fit]

    def judged(self, weights: Float[ndarray, "label column"]) -> list[float]:
        """Average precision of weighted sums of the columns, a row of weights a label, on rows that fitted nothing."""
        scores = (self._eval @ torch.from_numpy(weights).float().T).numpy()
        return [average_precision(scores[:, i], self._marks[i]) for i in range(len(weights))]

    def dense(self) -> list[float]:
        """Of probes on all columns."""
        ridged = self._gram + RIDGE * np.eye(len(self._gram))
        return self.judged(np.linalg.solve(ridged, self._products.T).T)

    def best_column(self) -> list[float]:
        """Of the best column of each label, chosen among those that correlate most, on the fit half."""
        fit, marks = self._values[self._is_fit].numpy(), self._where[:, self._is_fit].numpy()
        weights = np.zeros_like(self._products)
        for label, products in enumerate(self._products):
            candidates = np.argsort(-np.abs(products), kind="stable")[:SINGLES]
            signs = np.where(products[candidates] < 0, -1.0, 1.0)
            found = [average_precision(s * fit[:, c], marks[label]) for s, c in zip(signs, candidates.tolist())]
            best = int(np.argmax(found))
            weights[label, candidates[best]] = signs[best]
        return self.judged(weights)

    def sparse(self) -> tuple[list[tuple[float, ...]], Int[ndarray, "label k"]]:
        """Average precision of each label's probes of 1, 2, 4, ... columns, and the columns in the order chosen."""
        ks = [k for k in KS if k <= self._products.shape[1]]
        order = forward_selection(self._gram, self._products, ks[-1], ridge=RIDGE).order
        by_k = []
        for k in ks:
            weights = np.zeros_like(self._products)
            for label, chosen in enumerate(order[:, :k]):
                chosen = chosen[chosen >= 0]
                gram = self._gram[np.ix_(chosen, chosen)] + RIDGE * np.eye(len(chosen))
                weights[label, chosen] = np.linalg.solve(gram, self._products[label, chosen])
            by_k.append(self.judged(weights))
        return list(zip(*by_k)), order

    def curves(self) -> list[Curve]:
        """Every label's probes."""
        sparse, order = self.sparse()
        rows = zip(self._marks.mean(1).tolist(), sparse, self.best_column(), self.dense(), order)
        return [
            Curve(base, values, best, dense, tuple(self.columns[chosen[chosen >= 0]].tolist()))
            for base, values, best, dense, chosen in rows
        ]


def shifted_ceiling(
    values: Float[Tensor, "token column"],
    where: Bool[Tensor, "label token"],
    is_fit: Bool[Tensor, " token"],
    shifts: int = 3,
) -> list[float]:
    """The largest average precision that dense probes reach for labels moved along the text: what chance makes."""
    rng = np.random.default_rng(0)
    n = where.shape[1]
    found = [
        Probes(values, where.roll(int(rng.integers(n // 20, n - n // 20)), dims=1), is_fit).dense()
        for _ in range(shifts)
    ]
    return np.max(found, axis=0).tolist()


def probed_labels(features: Features, row_numbers: Int[Tensor, " row"], n_rows: int, most: int) -> Features:
    """Some labels spread over all, on some rows."""
    chosen = np.linspace(0, len(features.names) - 1, min(most, len(features.names))).round().astype(int)
    marks = features.where.view(len(features.names), n_rows, -1)[torch.from_numpy(chosen)][:, row_numbers].flatten(1)
    return Features(tuple(features.names[i] for i in chosen), marks)
