"""Forward selection by orthogonalised gains, for many targets at once, from products alone.

Not scikit-learn's orthogonal matching pursuit, which takes the column that correlates most with what is left.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

LEAST_LEFT = 0.01
"""A column is no candidate where less of its own variance is left beside the columns taken before."""


@dataclass(frozen=True)
class Chosen:
    """Columns in the order taken (-1 where no more were), and what each adds to the explained sum of squares."""

    order: Int[ndarray, "n steps"]
    gains: Float[ndarray, "n steps"]


def forward_selection(
    gram: Float[ndarray, "f f"],
    products: Float[ndarray, "n f"],
    steps: int,
    *,
    ridge: float = 0.0,
    weight: Float[ndarray, "f"] | None = None,
    only_positive: bool = False,
) -> Chosen:
    """Least squares by forward selection of columns, each step taking the one with the largest gain.

    Orthogonal least squares (Chen, Billings and Luo, International Journal of Control 50, 1989): a column
    counts with what is left of it after projection on those taken, so that the gain is exactly what the sum of
    squared errors falls by. Nothing but products is read, so the cost does not depend on the number of tokens:
    O(n f steps^2).

    Args:
        gram: products of the centred columns with each other.
        products: of the centred targets with the centred columns.
        steps: at most so many columns a target.
        ridge: added to the square of each column, in the units of `gram`.
        weight: factor on the gain of each column when they are compared; 0 bars a column.
        only_positive: take only columns that a target, beside those it has, rises with.

    Raises:
        ValueError: shapes that do not fit.
    """
    n, f = products.shape
    if gram.shape != (f, f):
        raise ValueError(f"gram is {gram.shape} where products have {f} columns")
    squares = np.diag(gram).astype(np.float64)
    left = np.tile(squares + ridge, (n, 1))
    floor = np.where(squares > 0, LEAST_LEFT * squares + ridge, np.inf)
    if weight is not None:
        floor = np.where(weight > 0, floor, np.inf)
    to_go = products.astype(np.float64)
    steps = min(steps, f)
    order, gains = np.full((n, steps), -1, np.int64), np.zeros((n, steps))
    taken = np.zeros((n, steps, f))
    every = np.arange(n)
    for step in range(steps):
        allowed = left > floor
        if only_positive:
            allowed &= to_go > 0
        gain = np.where(allowed, to_go**2 / np.maximum(left, 1e-300), 0.0)
        best = np.argmax(gain if weight is None else gain * weight, axis=1)
        gains_more = gain[every, best] > 0
        if not gains_more.any():
            break
        root = np.sqrt(np.where(gains_more, left[every, best], 1.0))
        row = gram[best].astype(np.float64)
        row[every, best] += ridge
        row -= np.einsum("nk,nkf->nf", taken[every, :step, best], taken[:, :step])
        row = np.where(gains_more[:, None], row / root[:, None], 0.0)
        # What is taken has nothing left, whatever rounding says: it is no candidate again.
        left = left - row**2
        left[every[gains_more], best[gains_more]] = 0.0
        to_go = to_go - row * (to_go[every, best] / root)[:, None]
        taken[:, step] = row
        order[:, step] = np.where(gains_more, best, -1)
        gains[:, step] = np.where(gains_more, gain[every, best], 0.0)
    return Chosen(order, gains)
