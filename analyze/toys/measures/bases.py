"""Measures of what a hidden space prefers: its own axes, features of one class, opposites."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.toys.geometry import cosines, represented
from analyze.toys.measures.base import PerReplica, mean_where, register
from analyze.toys.reading import Reading

OPPOSITE = -0.9
"""Cosine below which two features count as opposite."""


@register
def basis_alignment(of: Reading) -> PerReplica:
    """Mean over features with |W_i| > 0.5 of max_j W_ji^2 / |W_i|^2: 1 where each lies on an axis of the hidden space,
    1 / hidden where it spreads evenly over all axes; NaN without such features."""
    squares = of.weight.square()
    largest = squares.amax(-2) / squares.sum(-2).clamp_min(torch.finfo(squares.dtype).tiny)
    return mean_where(largest.numpy(), represented(of.weight).numpy())


@register
def interference_within_last_class(of: Reading) -> PerReplica:
    """Of the interference that features of the last class get, sum over j != i of (W_i . W_j)^2, the share that comes
    from features of the last class, 0 to 1; NaN where there is none."""
    gram = (of.weight.mT @ of.weight).square()
    gram.diagonal(dim1=-2, dim2=-1).zero_()
    last = torch.from_numpy(of.classes[-1])
    received = gram[..., last, :]
    within, total = received[..., last].sum((-2, -1)), received.sum((-2, -1))
    return torch.where(total > 0, within / total, torch.nan).numpy()


@register
def share_antipodal(of: Reading) -> PerReplica:
    """Share of the features, by columns of W or W1, that another feature is opposite to (cosine below -0.9), 0 to 1."""
    return (cosines(of.weight).amin(-1) < OPPOSITE).double().mean(-1).numpy()


@register
def cosine_spread(of: Reading) -> PerReplica:
    """Standard deviation of the cosines between every two features, by columns of W or W1: 0 for a simplex."""
    return off_diagonal(cosines(of.weight)).std(-1, correction=0).numpy()


def off_diagonal(square: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack m"]:
    """The entries above the diagonal, in a row."""
    n = square.shape[-1]
    above = np.triu_indices(n, 1)
    return square[..., above[0], above[1]]
