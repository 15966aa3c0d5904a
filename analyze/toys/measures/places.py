"""Measures of where features lie in the hidden space."""

from collections.abc import Callable
from math import nan

import numpy as np
from numpy import ndarray

from analyze.toys import geometry
from analyze.toys.geometry import PLATEAUS, cosines, dimensionality, interference, plateau_of, represented
from analyze.toys.measures.base import PerReplica, add, mean_where, register
from analyze.toys.reading import Reading


def _marked(of: Reading) -> ndarray:
    return represented(of.weight).numpy()


@register
def features_represented(of: Reading) -> PerReplica:
    """Features with |W_i| > 0.5; a count."""
    return _marked(of).sum(-1)


@register
def features_represented_first_class(of: Reading) -> PerReplica:
    """Features of the first class with |W_i| > 0.5; a count."""
    return _marked(of)[..., of.classes[0]].sum(-1)


@register
def features_represented_last_class(of: Reading) -> PerReplica:
    """Features of the last class with |W_i| > 0.5; a count."""
    return _marked(of)[..., of.classes[-1]].sum(-1)


@register
def sum_of_dimensionality(of: Reading) -> PerReplica:
    """Sum of D_i = |W_i|^2 / sum_j (W_i^ . W_j)^2 over features, in dimensions: at most the hidden size."""
    return dimensionality(of.weight).sum(-1).numpy()


@register
def largest_dimensionality(of: Reading) -> PerReplica:
    """The largest D_i, in dimensions, 0 to 1."""
    return dimensionality(of.weight).amax(-1).numpy()


@register
def mean_dimensionality(of: Reading) -> PerReplica:
    """Mean D_i of the features with |W_i| > 0.5, in dimensions; NaN where there are none."""
    return mean_where(dimensionality(of.weight).numpy(), _marked(of))


@register
def dimensionality_star(of: Reading) -> PerReplica:
    """D* = m / |W|_F^2: hidden dimensions per feature represented."""
    return geometry.dimensionality_star(of.weight).numpy()


@register
def mean_interference(of: Reading) -> PerReplica:
    """Mean over features with |W_i| > 0.5 of sum over j != i of (W_i^ . W_j)^2; 1 for an antipodal pair of norm 1."""
    return mean_where(interference(of.weight).numpy(), _marked(of))


def _share_on(plateau: str) -> Callable[[Reading], PerReplica]:
    index = list(PLATEAUS).index(plateau)
    return lambda of: mean_where(plateau_of(dimensionality(of.weight).numpy()) == index, _marked(of))


for _name, _plateau, _value in (
    ("one", "dedicated", "1"),
    ("three_quarters", "tetrahedron", "3/4"),
    ("two_thirds", "triangle", "2/3"),
    ("half", "antipodal", "1/2"),
    ("two_fifths", "pentagon", "2/5"),
    ("three_eighths", "square_antiprism", "3/8"),
):
    _says = f"""Share of the features with |W_i| > 0.5 whose D_i lies within 0.03 of {_value}, nearer than to another
    plateau ({_plateau.replace("_", " ")})."""
    add(f"share_on_{_name}", _says, _share_on(_plateau))


def _count(structure: str) -> Callable[[Reading], PerReplica]:
    return lambda of: np.array([[groups.count(structure) for groups in replicas] for replicas in of.geometries])


for _name, _structure in (
    ("dedicated", "dedicated"),
    ("antipodal_pairs", "antipodal pair"),
    ("triangles", "triangle"),
    ("tetrahedra", "tetrahedron"),
    ("pentagons", "pentagon"),
    ("square_antiprisms", "square antiprism"),
    ("nameless", "none"),
):
    _says = f"""Groups of features named {_structure!r} by analyze.toys.geometry.geometry; a count of groups."""
    add(f"count_{_name}", _says, _count(_structure))


def _over_structures(of: Reading, take: Callable[[list[float]], float], name: str | None = None) -> PerReplica:
    """What `take` makes of the errors of each network's structures, or of those of one name."""

    def errors(network: geometry.Geometry) -> list[float]:
        return [each.error for each in network.structures if name in (None, each.name)]

    return np.array([[take(errors(network)) for network in replicas] for replicas in of.geometries])


@register
def largest_geometry_error(of: Reading) -> PerReplica:
    """Largest error of a group's geometry: relative distance of its Gram matrix from the ideal, 0 to 1."""
    return _over_structures(of, lambda errors: max(errors, default=nan))


@register
def pentagon_error(of: Reading) -> PerReplica:
    """Error of the most regular pentagon, 0 to 1 (relative distance of Gram matrices); 1 where there is none."""
    return _over_structures(of, lambda errors: min(errors, default=1.0), "pentagon")


@register
def pair_cosine_within(of: Reading) -> PerReplica:
    """Mean cosine between W_2i and W_2i+1 over the pairs of which both have a norm above 0.5; NaN without such."""
    marked = _marked(of)
    within = cosines(of.weight).numpy()[..., ::2, 1::2].diagonal(axis1=-2, axis2=-1)
    return mean_where(within, marked[..., ::2] & marked[..., 1::2])


@register
def pair_cosine_between(of: Reading) -> PerReplica:
    """Mean |cosine| between features with |W_i| > 0.5 that are of different pairs; NaN without such."""
    marked, pair = _marked(of), np.arange(of.run.config.features.n) // 2
    both = marked[..., :, None] & marked[..., None, :] & (pair[:, None] != pair)
    cosine = cosines(of.weight).abs().numpy()
    return mean_where(cosine.reshape(*cosine.shape[:2], -1), both.reshape(*both.shape[:2], -1))
