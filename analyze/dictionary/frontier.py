"""Dictionaries of one layer from dense to sparse, so that layers, sizes and kinds compare at equal reconstruction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from analyze.dictionary.autoencoder import Dictionary, Settings, Values, fit
from analyze.dictionary.effective import Count, psi_of

L1S = (0.005, 0.02, 0.06, 0.15, 0.35)
"""Penalties from weak to strong: some 1 to 40 % of the variance stays unexplained."""


@dataclass(frozen=True)
class Point:
    """A dictionary's sparsity and what it costs and says."""

    strength: float
    """k, or the L1 penalty."""
    unexplained: float
    active: float
    features: float
    neurons: int


def frontier(
    values: Values, settings: Settings, strengths: Sequence[float] | Sequence[int] = L1S, count: Count = "entropy"
) -> list[Point]:
    """One dictionary a strength, of the kind and size of `settings`, each going on from the one before.

    Args:
        strengths: L1 penalties, or numbers of latents a token where `settings.k` is given; those between use half as
            many steps, since they start near their end.

    Raises:
        BadInput: values that do not vary.
    """
    points: list[Point] = []
    dictionary: Dictionary | None = None
    for strength in strengths:
        own = replace(settings, k=int(strength)) if settings.k is not None else replace(settings, l1=strength)
        if dictionary is not None:
            own = replace(own, steps=max(1, own.steps // 2))
        dictionary = fit(values, own, dictionary)
        found = psi_of(dictionary, values, count)
        points.append(Point(float(strength), found.unexplained, found.active, found.features, found.neurons))
    return points


def psi_at(points: Sequence[Point], unexplained: float) -> float:
    """psi where so much of the variance stays unexplained, between two dictionaries in proportion; NaN beyond them.

    Interpolated in log F over log unexplained.
    """
    ordered = sorted(points, key=lambda point: point.unexplained)
    levels = np.log([max(point.unexplained, 1e-9) for point in ordered])
    if not levels[0] <= np.log(unexplained) <= levels[-1]:
        return nan
    log_features = np.log([point.features for point in ordered])
    return float(np.exp(np.interp(np.log(unexplained), levels, log_features))) / ordered[0].neurons
