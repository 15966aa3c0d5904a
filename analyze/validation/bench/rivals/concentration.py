"""FMS-like concentration: how much of what known concepts explain of a neuron, one concept explains.

The feature monosemanticity score (Härle et al., arXiv 2506.19382) asks of a concept how well its best latent finds it,
how much is lost without that latent, and how little more latents add. Turned around, for a neuron: how well the best
concept fits it (capacity), times the mean of what is lost without that concept (local) and of what further concepts do
not add (global). The concepts are the labels of the bank; fits are R^2 on documents that no concept was chosen on.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from numpy import ndarray

from analyze.activations.provenance import held_out
from analyze.activations.sample import blocks
from analyze.activations.store import Activations
from analyze.labels.bank import bank_on

CONCEPTS = 8
"""Concepts that are added one after another."""
LEAST = 10
"""Tokens of a concept in each half."""
SAME = 0.7
"""Concepts of this correlation are taken for one where the best is taken away."""


class _Half(NamedTuple):
    labels: sp.csr_array
    rows: ndarray
    gram: Float[ndarray, "l l"]
    mean: Float[ndarray, " l"]


def concentration(acts: Activations) -> Float[ndarray, " n"]:
    """The score of every neuron; NaN where the best concept explains nothing."""
    is_fit = acts.tokens.is_fit
    bank = bank_on(held_out(acts))
    labels = sp.csr_array(bank.matrix(acts.tokens.stream_position), dtype=np.float32)
    frequent = np.ones(len(bank), bool)
    for half in (is_fit, ~is_fit):
        frequent &= labels.T @ half.astype(np.float32) >= LEAST
    labels = sp.csr_array(labels[:, np.flatnonzero(frequent)])
    halves = [_half(labels, rows) for rows in (np.flatnonzero(is_fit), np.flatnonzero(~is_fit))]
    parts = []
    for first, stop in blocks(acts.n_neurons):
        values = acts.block(first, stop).numpy()
        products, variances = [], []
        for half in halves:
            y = values[half.rows]
            centred = y - y.mean(axis=0)
            products.append(half.labels.T @ centred / len(y))
            variances.append(centred.var(axis=0))
        parts.append([_of_neuron(halves, products, variances, neuron) for neuron in range(stop - first)])
    return np.array([value for part in parts for value in part])


def _half(labels: sp.csr_array, rows: ndarray) -> _Half:
    mine = sp.csr_array(labels[rows])
    mean = mine.T @ np.ones(len(rows)) / len(rows)
    gram = (mine.T @ mine).toarray().astype(np.float64) / len(rows) - np.outer(mean, mean)
    return _Half(mine, rows, gram, mean)


def _of_neuron(halves: list[_Half], products: list[ndarray], variances: list[ndarray], neuron: int) -> float:
    fit, judged = (product[:, neuron].astype(np.float64) for product in products)
    variance = float(variances[1][neuron])
    if variance <= 0 or float(variances[0][neuron]) <= 0:
        return float("nan")
    chosen = _forward(halves[0].gram, fit, [])
    reached = [_r2(halves, fit, judged, variance, chosen[: n + 1]) for n in range(len(chosen))]
    best = max(reached[0], 0.0)
    if best <= 1e-4:
        return float("nan")
    without = _forward(halves[0].gram, fit, _alike(halves[0].gram, chosen[0]))[:1]
    lost = 1 - max(_r2(halves, fit, judged, variance, without), 0.0) / best
    added = 1 - best / max(*reached, best)
    return best * (max(lost, 0.0) + 1 - added) / 2


def _alike(gram: Float[ndarray, "l l"], concept: int) -> list[int]:
    """The concept and those that are nearly it: the bank has some things twice."""
    spread = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    return np.flatnonzero(gram[concept] / (spread * spread[concept]) > SAME).tolist()


def _forward(gram: Float[ndarray, "l l"], product: Float[ndarray, " l"], barred: list[int]) -> list[int]:
    """Concepts by forward selection (orthogonal matching pursuit), the best first."""
    chosen: list[int] = []
    spread = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    left = product.copy()
    for _ in range(CONCEPTS):
        gain = np.where(spread > 1e-5, left / spread, 0.0)
        gain[[*chosen, *barred]] = 0
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        inner = gram[np.ix_(chosen, chosen)] + 1e-9 * np.eye(len(chosen))
        left = product - gram[:, chosen] @ np.linalg.solve(inner, product[chosen])
    return chosen


def _r2(halves: list[_Half], fit: ndarray, judged: ndarray, variance: float, chosen: list[int]) -> float:
    """R^2 on the judging half of the coefficients of the fit half."""
    if not chosen:
        return 0.0
    inner = halves[0].gram[np.ix_(chosen, chosen)] + 1e-9 * np.eye(len(chosen))
    beta = np.linalg.solve(inner, fit[chosen])
    return float((2 * beta @ judged[chosen] - beta @ halves[1].gram[np.ix_(chosen, chosen)] @ beta) / variance)
