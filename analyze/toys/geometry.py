"""Where features lie: dimensionality, capacity, interference, and the geometry of a weight matrix by name.

Everything reads W [hidden feat], whose column i is the direction of feature i. Dimensionality, interference and
D* are from Elhage et al., "Toy Models of Superposition" (2022), "The Geometry of Superposition"; capacity from
Scherlis et al., "Polysemanticity and Capacity in Neural Networks" (2022), section 2.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import pi

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

REPRESENTED = 0.5
"""Norm above which a feature counts as represented: a trained bottleneck leaves it near 0 or takes it to near 1."""
ORTHOGONAL = 0.2
"""|cosine| up to which two features count as orthogonal: below the least that a tetrahedron (1/3) or a pentagon
(0.31) has, above what chance leaves between unrelated features of a trained model."""
LARGEST_ERROR = 0.2
"""Error up to which a cluster of features bears a geometry's name; a cube is 0.43 from a square antiprism."""
PLATEAU_WIDTH = 0.03
"""Largest distance between a feature's dimensionality and the plateau that it is counted with."""

PLATEAUS: dict[str, float] = {
    "ignored": 0.0,
    "square_antiprism": 3 / 8,
    "pentagon": 2 / 5,
    "antipodal": 1 / 2,
    "triangle": 2 / 3,
    "tetrahedron": 3 / 4,
    "dedicated": 1.0,
}
"""Dimensionality of a feature in each regular geometry: the space's dimension over the number of features in it."""


def norms(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack feat"]:
    """|W_i| of every feature."""
    return weight.norm(dim=-2)


def represented(weight: Float[Tensor, "*stack hidden feat"]) -> Bool[Tensor, "*stack feat"]:
    """Whether |W_i| > `REPRESENTED`."""
    return norms(weight) > REPRESENTED


def cosines(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack feat feat"]:
    """Cosine between every two features' directions; 0 for a feature whose column is all 0."""
    units = torch.nn.functional.normalize(weight, dim=-2, eps=1e-12)
    return units.mT @ units


def interference(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack feat"]:
    """sum over j != i of (W_i^ . W_j)^2, with W_i^ the unit vector: the part of the others in feature i's direction."""
    units = torch.nn.functional.normalize(weight, dim=-2, eps=1e-12)
    overlaps = (units.mT @ weight).square()
    return overlaps.sum(-1) - overlaps.diagonal(dim1=-2, dim2=-1)


def dimensionality(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack feat"]:
    """D_i = |W_i|^2 / sum over j of (W_i^ . W_j)^2: the share of a dimension that feature i has, 0 to 1.

    0 for a column that is all 0. The sum over features is at most the hidden size.
    """
    squares = norms(weight).square()
    return squares / (squares + interference(weight)).clamp_min(torch.finfo(weight.dtype).tiny)


def capacity(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack feat"]:
    """C_i = (W_i . W_i)^2 / sum over j of (W_i . W_j)^2 (Scherlis et al., equation 2).

    Dividing both by |W_i|^2 gives D_i: for every W the capacity of a feature is its dimensionality.
    """
    gram = (weight.mT @ weight).square()
    return gram.diagonal(dim1=-2, dim2=-1) / gram.sum(-1).clamp_min(torch.finfo(weight.dtype).tiny)


def dimensionality_star(weight: Float[Tensor, "*stack hidden feat"]) -> Float[Tensor, "*stack"]:
    """D* = m / |W|_F^2: hidden dimensions per feature represented (|W_i| near 0 or 1); infinite for W = 0."""
    return weight.shape[-2] / weight.square().sum((-2, -1))


def plateau_of(dimensionalities: Float[ndarray, "*stack"]) -> ndarray:
    """Index into `PLATEAUS` of the nearest plateau, or -1 where none lies within `PLATEAU_WIDTH`."""
    distance = np.abs(dimensionalities[..., None] - np.array(list(PLATEAUS.values())))
    nearest = distance.argmin(-1)
    return np.where(distance.min(-1) <= PLATEAU_WIDTH, nearest, -1)


@dataclass(frozen=True)
class Structure:
    """A group of features that lie in one geometry."""

    name: str
    """"dedicated", "antipodal pair", "triangle", "pentagon", "tetrahedron", "square antiprism" or "none"."""
    features: tuple[int, ...]
    error: float
    """0 (exactly regular) to 1; see `geometry`."""


@dataclass(frozen=True)
class Geometry:
    """All features of one weight matrix: the represented ones, in structures, and the others."""

    structures: tuple[Structure, ...]
    ignored: tuple[int, ...]

    def count(self, name: str) -> int:
        """How many structures bear a name."""
        return self.multiplicities()[name]

    def multiplicities(self) -> Counter[str]:
        """How many structures bear each name."""
        return Counter(each.name for each in self.structures)

    def structure_of(self, feature: int) -> Structure | None:
        """The one that a feature is part of, or None where it is not represented."""
        return next((each for each in self.structures if feature in each.features), None)


def geometry(weight: Float[Tensor, "hidden feat"]) -> Geometry:
    """Names the geometry of every group of represented features that are not orthogonal to each other.

    Groups are the connected components of the graph in which two represented features are joined where their
    |cosine| exceeds `ORTHOGONAL`. A group bears a geometry's name where its error is at most `LARGEST_ERROR`,
    else "none", with the error of the geometry that is nearest among those of its size (1 where there is none).

    The error compares Gram matrices, so that rotation does not matter, under the scale and the order of features
    that fit best: min over s, P of |G - s P G* P^T|_F / |G|_F = sqrt(1 - cos^2 between G and P G* P^T).
    Norms count as well as angles. For a feature on its own it is sqrt(1 - D_i), taken among represented features.
    """
    kept = represented(weight).nonzero()[:, 0]
    ignored = (~represented(weight)).nonzero()[:, 0]
    chosen = weight[:, kept].double()
    joined = (cosines(chosen).abs() > ORTHOGONAL).numpy()
    gram = (chosen.mT @ chosen).numpy()
    alone = dimensionality(chosen).numpy()
    n_groups, group_of = connected_components(joined, directed=False) if kept.numel() else (0, np.empty(0, int))
    structures = []
    for group in range(n_groups):
        members = np.flatnonzero(group_of == group)
        name, error = "dedicated", float(np.sqrt(max(0.0, 1 - alone[members[0]])))
        if len(members) > 1:
            name, error = _nearest(gram[np.ix_(members, members)])
        structures.append(Structure(name, tuple(kept[members].tolist()), error))
    return Geometry(tuple(structures), tuple(ignored.tolist()))


def _nearest(gram: Float[ndarray, "n n"]) -> tuple[str, float]:
    """Name and error of the regular geometry that is nearest to a Gram matrix; see `geometry`."""
    best_name, best_error = "none", 1.0
    for name, ideals in _ideal_grams(len(gram)):
        products = np.einsum("pij,ij->p", ideals, gram).max()
        cosine = products / (np.linalg.norm(gram) * np.linalg.norm(ideals[0]))
        error = float(np.sqrt(max(0.0, 1 - cosine**2)))
        if error < best_error:
            best_name, best_error = name if error <= LARGEST_ERROR else "none", error
    return best_name, best_error


def regular(name: str) -> list[Float[ndarray, "feat dim"]]:
    """Unit vectors of a regular geometry; two forms of the square antiprism: of equal edges (D = 0.366) and tight
    (sum of outer products a multiple of 1, D = 3/8), between which trained models lie.

    Raises:
        KeyError: no such geometry.
    """
    polygons = {"antipodal pair": 2, "triangle": 3, "pentagon": 5}
    if name in polygons:
        angles = 2 * pi * np.arange(polygons[name]) / polygons[name]
        return [np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    if name == "tetrahedron":
        return [np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)]
    if name == "square antiprism":
        # Squares of radius sqrt(1/2) stand 2^(-1/4) apart where all edges are 1.
        equal_edges = 2**-0.5 / 4 / (2**-0.5 / 4 + 1 / 2)
        return [_antiprism(height_squared) for height_squared in (equal_edges, 1 / 3)]
    raise KeyError(name)


def _antiprism(height_squared: float) -> Float[ndarray, "feat dim"]:
    """Eight unit vectors at two heights, +-sqrt(height_squared), four a square, one square turned by 45 degrees."""
    angles = pi / 4 * np.arange(8)
    heights = np.sqrt(height_squared) * (-1.0) ** np.arange(8)
    radius = np.sqrt(1 - height_squared)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), heights], axis=1)


@cache
def _ideal_grams(n: int) -> list[tuple[str, Float[ndarray, "perm feat feat"]]]:
    """Of every geometry of n features: its Gram matrices in every order of the features that makes a difference."""
    sizes = {2: ("antipodal pair",), 3: ("triangle",), 4: ("tetrahedron",), 5: ("pentagon",), 8: ("square antiprism",)}
    grams = []
    for name in sizes.get(n, ()):
        for vectors in regular(name):
            gram = np.round(vectors @ vectors.T, 12)
            orders = np.array(list(permutations(range(n))))
            grams.append((name, np.unique(gram[orders[:, :, None], orders[:, None, :]], axis=0)))
    return grams
