"""Directions of labelled features in the residual stream, and how often features stand together: a leaf of problems."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from analyze.interventions import Site, read_site
from analyze.problems.subject import Subject
from train.model import Transformer

LEAST_TOKENS = 200
"""Of a label, or its direction is that of a few words."""
MOST_SHARE = 0.3
"""Of all tokens: what is nearly everywhere is no sparse feature."""
MOST_LABELS = 80
MOST_OVERLAP = 0.5
"""Jaccard index from which two labels are the same feature said twice."""


@dataclass(frozen=True)
class Features:
    """Labels that are far enough apart to be features of their own."""

    names: tuple[str, ...]
    where: Bool[Tensor, "feature token"]


def features_of(subject: Subject) -> Features:
    """Labels with enough tokens, none nearly equal to one that was taken before, most frequent first."""
    flat = {name: where.flatten() for name, where in subject.labels.items()}
    n_tokens = len(next(iter(flat.values()))) if flat else 0
    sizes = {name: int(where.sum()) for name, where in flat.items()}
    names = [name for name in flat if LEAST_TOKENS <= sizes[name] <= MOST_SHARE * n_tokens]
    chosen: list[str] = []
    for name in sorted(names, key=lambda each: -sizes[each]):
        if len(chosen) == MOST_LABELS:
            break
        overlaps = [_jaccard(flat[name], flat[other]) for other in chosen]
        if not overlaps or max(overlaps) < MOST_OVERLAP:
            chosen.append(name)
    where = torch.stack([flat[name] for name in chosen]) if chosen else torch.zeros((0, n_tokens), dtype=torch.bool)
    return Features(tuple(chosen), where)


def _jaccard(a: Bool[Tensor, " token"], b: Bool[Tensor, " token"]) -> float:
    return float((a & b).sum() / (a | b).sum())


@torch.no_grad()
def activations_at(
    model: Transformer, rows: torch.Tensor, layer: int, site: Site, batch: int = 16
) -> Float[Tensor, "token width"]:
    """What stands at a site at every position that the model reads, in the order of `Subject.labels`, flattened."""
    chunks = rows[:, :-1].split(batch)
    return torch.cat([read_site(model, chunk, layer, site).flatten(0, 1) for chunk in chunks])


def together(features: Features) -> Float[ndarray, "feature feature"]:
    """Pointwise mutual information of every two features: log p(a, b) / (p(a) p(b)), with half a token added."""
    where = features.where.double()
    n = where.shape[1]
    joint = (where @ where.T + 0.5) / n
    p = where.mean(1)
    return torch.log(joint / torch.outer(p, p)).numpy()


def directions(values: Float[Tensor, "token width"], features: Features) -> Float[Tensor, "feature width"]:
    """What each feature adds where it stands, the others held equal: least squares of the values on all features.

    Means of a feature's tokens would hold whatever stands with it too, and make features that stand together alike.
    """
    marks = features.where.double().T
    marks, centred = marks - marks.mean(0), values.double() - values.double().mean(0)
    # A thousandth of a token's variance: labels that are nearly the sum of others get no huge weights.
    gram = marks.T @ marks + 1e-3 * len(marks) * torch.eye(marks.shape[1], dtype=torch.float64) * marks.var(0).mean()
    return torch.linalg.solve(gram, marks.T @ centred)


def cosines_of(vectors: Float[Tensor, "feature width"]) -> Float[ndarray, "feature feature"]:
    """Cosine of every two directions; NaN on the diagonal."""
    unit = torch.nn.functional.normalize(vectors, dim=1)
    cosines = (unit @ unit.T).numpy()
    np.fill_diagonal(cosines, np.nan)
    return cosines
