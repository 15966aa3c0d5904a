"""Ridge-regularised logistic regression with weights, by preconditioned L-BFGS."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

MOST_STEPS = 200
TOLERANCE = 1e-4
"""Of the largest entry of the gradient in preconditioned coordinates, where the loss is a mean."""
LEAST_FALL = 1e-7
"""Share of the loss that a step must still bring."""


@dataclass(frozen=True)
class Logistic:
    """log-odds = x @ w + b."""

    w: Float[ndarray, "k"]
    b: float


def half_balanced(y: Bool[ndarray, "t"], counts: Float[ndarray, "t"]) -> tuple[Float[ndarray, "t"], float]:
    """Weights that sum to 1, by which the classes count as the square roots of their sizes; what they are worth.

    Half-way between equal classes and classes as they come. Equal classes are fitted to the bulk of the negatives
    and lose precision at the top (AUPRC of 32 neurons .59 where this has .66 and no balance .72, for "in a year");
    classes as they come forget a rare label's positives (.16, .26 and, with as much ridge, .09, for 92 tokens).

    Worth: 4 n_1 n_0 / (n_1 + n_0), the size of the sample with as many of either class whose difference of means
    is known as well.

    Args:
        counts: how many tokens each token stands for.
    """
    n_1, n_0 = float(counts[y].sum()), float(counts[~y].sum())
    weights = np.where(y, n_1**-0.5, n_0**-0.5) * counts
    return weights / weights.sum(), 4 * n_1 * n_0 / (n_1 + n_0)


def fit_logistic(
    x: Float[Tensor, "k t"],
    y: Bool[ndarray, "t"],
    weights: Float[ndarray, "t"],
    ridge: float,
    gram: Float[ndarray, "k k"],
    start: Logistic | None = None,
) -> Logistic:
    """Minimise sum_t weights_t log(1 + exp(-s_t (x_t @ w + b))) + ridge / 2 |w|^2, s = 1 where y, else -1.

    L-BFGS (Liu and Nocedal, Mathematical Programming 45, 1989) in coordinates in which gram / 4 + ridge, near the
    bound of the Hessian where weights sum to 1 (Böhning, Annals of the Institute of Statistical Mathematics 44, 1992),
    is the identity: correlated columns then cost no further steps. Products with x in its own precision, sums in fp64.

    Args:
        x: one row a column of the design, each about centred and of unit variance.
        gram: mean products of the rows of x, over whatever tokens; it only steers the search.
        start: where to begin; nothing where it is None.
    """
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import minimize

    k = len(x)
    lower = cholesky(gram / 4 + (ridge + 1e-6) * np.eye(k), lower=True)
    sign = torch.from_numpy(np.where(y, 1.0, -1.0)).to(x.dtype)
    weight = torch.from_numpy(weights)
    pulled = -sign * weight.to(x.dtype)

    def objective(at: ndarray) -> tuple[float, ndarray]:
        w = solve_triangular(lower, at[:k], lower=True, trans=1)
        margin = sign * (torch.from_numpy(w).to(x.dtype) @ x + at[k])
        loss = float(weight @ torch.nn.functional.softplus(-margin).double()) + ridge / 2 * float(w @ w)
        pull = pulled * torch.sigmoid(-margin)
        by_w = (x @ pull).double().numpy() + ridge * w
        return loss, np.append(solve_triangular(lower, by_w, lower=True), float(pull.double().sum()))

    at = np.zeros(k + 1)
    if start is not None:
        at[:k], at[k] = lower.T @ start.w, start.b
    options = {"maxiter": MOST_STEPS, "gtol": TOLERANCE, "ftol": LEAST_FALL}
    found = minimize(objective, at, jac=True, method="L-BFGS-B", options=options).x
    return Logistic(solve_triangular(lower, found[:k], lower=True, trans=1), float(found[k]))
