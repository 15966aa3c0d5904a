"""The phase diagram of one feature too many: the cheapest strategy in theory, and that of a trained model.

n features share n - 1 hidden dimensions in x' = relu(W^T W x + b). All have importance 1 but the last, whose
importance is one axis of the diagram; the other is the probability p that a feature is active. Values are uniform in
[0, 1]. After Elhage et al., "Toy Models of Superposition" (2022), "Superposition as a Phase Change".
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize
from torch import Tensor

from analyze.toys.geometry import REPRESENTED, geometry
from train.toys.config import ToyConfig
from train.toys.measures import has_phase_diagram

STRATEGIES = ("ignored", "dedicated", "antipodal", "dedicated, two others antipodal")
"""What becomes of the last feature; a strategy's number is its index. The last one needs three features."""

_NODES = 24  # of Gauss-Legendre on [0, 1] an axis: the kink of the ReLU costs less than 1e-3 of the loss


@dataclass(frozen=True)
class PhaseLosses:
    """Loss of each strategy at its best: summed over features, importance x squared error; divide by n for the mean.

    Every feature but the two that share a dimension, or the one that is given up, has a dimension of its own and
    costs nothing, so that the sums depend on n only in whether there are two others to share one.
    """

    ignored: float
    dedicated: float
    antipodal: float
    others_antipodal: float
    """Infinite where there is but one other feature."""
    norms: tuple[float, float]
    """|W| of the other feature and of the last where the antipodal loss is lowest."""
    others_norms: tuple[float, float]
    """The same for two others."""

    @property
    def strategies(self) -> tuple[int, ...]:
        """The cheapest ones' indices in `STRATEGIES`: more than one where they cost the same, as they do for
        features that matter equally.

        The antipodal families hold the first two as limits, in which one of their features has the norm 0. They
        count only where both norms are above `REPRESENTED`, as a trained model's have to be.
        """
        losses = np.array([self.ignored, self.dedicated, self.antipodal, self.others_antipodal])
        losses[2:][[min(self.norms) <= REPRESENTED, min(self.others_norms) <= REPRESENTED]] = np.inf
        return tuple(int(i) for i in np.flatnonzero(losses <= losses.min() * (1 + 1e-9)))

    @property
    def strategy(self) -> int:
        """The first of `strategies`."""
        return self.strategies[0]

    @property
    def in_superposition(self) -> bool:
        """Whether two features share a dimension where it is cheapest."""
        return self.strategy >= 2


def variance(probability: float) -> float:
    """Of a feature that is uniform in [0, 1] with this probability and else 0: p/3 - p^2/4."""
    return probability / 3 - probability**2 / 4


@lru_cache(maxsize=4096)
def phase_losses(probability: float, importance: float, n: int = 2) -> PhaseLosses:
    """Loss of each strategy for the last feature.

    ignored: the others have their own dimension, the last is answered by its mean: importance x Var(x).
    dedicated: the last has a dimension to itself, and one of the others is answered by its mean: 1 x Var(x).
    antipodal: the last, x, lies opposite another, y, on one dimension: W = (a, -c), so that
        y' = relu(a^2 y - a c x + b), x' = relu(c^2 x - a c y + d),
    with the a, c, b, d that cost least. Neither integral nor optimum has a short closed form: the expectation is
    a Gauss-Legendre sum over the four cases of which feature is active, the optimum found by BFGS.
    dedicated, two others antipodal: of n >= 3 features, two of importance 1 do that, so that the last need not.
    """
    constant = variance(probability)
    antipodal, norms = _antipodal(probability, importance)
    others, others_norms = _antipodal(probability, 1.0) if n >= 3 else (np.inf, (0.0, 0.0))
    return PhaseLosses(importance * constant, constant, antipodal, others, norms, others_norms)


def _antipodal(p: float, importance: float) -> tuple[float, tuple[float, float]]:
    """Loss of two features that lie opposite each other on one dimension at the best norms and biases; the norms."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (nodes + 1) / 2, weights / 2
    zero = np.zeros(_NODES)
    y = np.concatenate([[0.0], nodes, zero, np.repeat(nodes, _NODES)])
    x = np.concatenate([[0.0], zero, nodes, np.tile(nodes, _NODES)])
    mass = np.concatenate(
        [[(1 - p) ** 2], p * (1 - p) * weights, p * (1 - p) * weights, p * p * np.outer(weights, weights).ravel()]
    )

    def loss(at: Float[ndarray, "4"]) -> tuple[float, Float[ndarray, "4"]]:
        a, c, b, d = at
        hidden = a * y - c * x
        errors_y = np.maximum(a * hidden + b, 0) - y
        errors_x = np.maximum(-c * hidden + d, 0) - x
        value = mass @ (errors_y**2 + importance * errors_x**2)
        slope_y = 2 * mass * errors_y * (a * hidden + b > 0)
        slope_x = 2 * importance * mass * errors_x * (-c * hidden + d > 0)
        by_hidden = slope_y * a - slope_x * c
        gradient = (slope_y @ hidden + by_hidden @ y, -slope_x @ hidden - by_hidden @ x, slope_y.sum(), slope_x.sum())
        return value, np.array(gradient)

    # From even sharing and from either side leading; biases start on either side of 0.
    starts = [(1, 1, -0.05, -0.05), (1, 0.7, 0.05, -0.1), (0.7, 1, -0.1, 0.05), (1, 1, -0.3, -0.3)]
    best = min((minimize(loss, start, jac=True, method="BFGS") for start in starts), key=lambda each: each.fun)
    return float(best.fun), (abs(float(best.x[0])), abs(float(best.x[1])))


def boundary(importance: float, low: float = 1e-4, high: float = 1.0, n: int = 2) -> float:
    """The probability below which superposition is cheapest: two features share a dimension, the last or not.

    By bisection to a factor of 1.001; `high` where it is cheapest up to there, `low` where it is nowhere.
    """
    if phase_losses(high, importance, n).in_superposition:
        return high
    if not phase_losses(low, importance, n).in_superposition:
        return low
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if phase_losses(middle, importance, n).in_superposition else (low, middle)
    return low


def observed_strategy(weight: Float[Tensor, "hidden feat"]) -> int | None:
    """The strategy of a trained W for its last feature, as an index into `STRATEGIES`; None for something else.

    Not represented: ignored; represented and orthogonal to all others that are: dedicated, with or without an
    antipodal pair among the others; one of an antipodal pair: antipodal. Something else is, say, one of a triangle.
    """
    structures = geometry(weight)
    structure = structures.structure_of(weight.shape[-1] - 1)
    if structure is None:
        return 0
    dedicated = 3 if structures.count("antipodal pair") else 1
    return {"dedicated": dedicated, "antipodal pair": 2}.get(structure.name)


def predicted_strategies(config: ToyConfig) -> tuple[int, ...]:
    """The cheapest strategy for an instance, or several where they cost the same, as indices into `STRATEGIES`.

    Raises:
        ValueError: the theory does not apply to it (`has_phase_diagram`).
    """
    if not has_phase_diagram(config):
        raise ValueError("a phase diagram is of n features in n - 1 dimensions that differ in the last's importance")
    features = config.features
    return phase_losses(features.probabilities()[0], features.importances()[-1], features.n).strategies
