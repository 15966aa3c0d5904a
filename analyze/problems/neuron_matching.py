"""Correlations of every neuron of one model with every neuron of another, and who is whose partner: a leaf of problems.

Tokens stream by: what is held are products of neurons, 164 MB for 6,400 against 6,400.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from analyze.nulls.rotation import haar
from train.model import Transformer

BATCH = 4
"""Rows at a time."""


@dataclass(frozen=True)
class Products:
    """Covariances of two layers' neurons over tokens."""

    cross: Float[Tensor, "a b"]
    variance: Float[Tensor, " a"]
    own: Float[Tensor, "b b"]
    """Of the second layer, which a rotation needs."""

    def correlations(self) -> Float[ndarray, "a b"]:
        """Pearson's r of every pair; 0 where a neuron does not vary."""
        return _correlations(self.cross, self.variance, self.own.diagonal())

    def rotated(self, seed: int) -> Float[ndarray, "a b"]:
        """As `correlations`, with the second layer's directions of a Haar rotation instead of its neurons."""
        turn = haar(len(self.own), seed).to(self.own.dtype)
        variance = torch.einsum("ij,ij->j", turn, self.own @ turn)
        return _correlations(self.cross @ turn, self.variance, variance)


def _correlations(cross: Tensor, first: Tensor, second: Tensor) -> Float[ndarray, "a b"]:
    sizes = torch.outer(first.clamp(min=0).sqrt(), second.clamp(min=0).sqrt())
    return torch.where(sizes > 0, cross / sizes, 0.0).clamp(-1, 1).numpy()


@torch.no_grad()
def products(first: Transformer, second: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: int) -> Products:
    """Covariances of two models' neurons of a layer, before a mid LayerNorm, over every token that the rows predict."""
    n, shift = 0, None
    sums = [torch.zeros(0)] * 2
    squares, cross, own = torch.zeros(0), torch.zeros(0), torch.zeros(0)
    for chunk in rows[:, :-1].split(BATCH):
        a, b = (model.mlp_activations(chunk, layer, "mid").flatten(0, 1) for model in (first, second))
        if shift is None:  # near the mean, so that sums of squares keep their digits in fp32
            shift = (a.mean(0), b.mean(0))
            sums = [torch.zeros(each.shape[1], dtype=torch.float64) for each in (a, b)]
            squares = torch.zeros(a.shape[1], dtype=torch.float64)
            cross, own = torch.zeros(a.shape[1], b.shape[1]), torch.zeros(b.shape[1], b.shape[1])
        a, b = a - shift[0], b - shift[1]
        n += len(a)
        sums[0] += a.double().sum(0)
        sums[1] += b.double().sum(0)
        squares += a.double().square().sum(0)
        cross.addmm_(a.T, b)
        own.addmm_(b.T, b)
    means = [each / n for each in sums]
    cross, own = cross.div_(n), own.div_(n)
    cross.sub_(torch.outer(means[0], means[1]).float())
    own.sub_(torch.outer(means[1], means[1]).float())
    variance = (squares / n - means[0].square()).float()
    # What rounding leaves of a neuron that is always 0 is no variance.
    return Products(cross, torch.where(variance > 1e-12, variance, 0.0), own)


def one_to_one(correlations: Float[ndarray, "a b"]) -> Float[ndarray, " pair"]:
    """r of partners where each neuron has one at most and their sum is largest (Hungarian method)."""
    return correlations[linear_sum_assignment(correlations, maximize=True)]


def best_match(correlations: Float[ndarray, "a b"]) -> Float[ndarray, " a"]:
    """The largest r of each neuron of the first layer, whoever else has the same partner."""
    return correlations.max(axis=1)
