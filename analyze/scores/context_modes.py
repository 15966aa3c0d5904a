"""Context modes: into how many groups the contexts of a neuron's firings fall, by clustering examples."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import nan

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.activations.strong_firings import strong_firings
from analyze.activations.token_sample import position_hash
from analyze.scores.base import About, NeuronScore
from analyze.scores.blocks import scored_blocks
from analyze.text.context_vectors import Contexts, contexts_of
from analyze.text.embeddings import k_means, unit_rows

SIZES = (200, 100, 50, 30)
"""Examples a neuron: the first of these that it has; with fewer than the last it is not scored."""
MODES = (2, 3, 4, 5, 6)
"""Numbers of clusters tried."""
DRAWS = 8
"""Random sets of tokens that make up the null of each size."""
_SALT = 1 << 40

Points = Callable[[Int[ndarray, "k"]], Float[ndarray, "k d"]]


@dataclass(frozen=True)
class Clustered:
    """Examples in a number of clusters."""

    k: int
    silhouette: float
    largest: float
    """Share of the examples in the largest cluster."""


@dataclass(frozen=True)
class Modes:
    """The clustering of a neuron's examples that stands out most from its null."""

    best: Clustered
    null: float
    """Silhouette of random tokens, as many and in as many clusters."""
    n_examples: int

    @property
    def value(self) -> float:
        """(silhouette - null) x (1 - share of the largest cluster): higher = more modes."""
        return (self.best.silhouette - self.null) * (1 - self.best.largest)


NOTHING = Modes(Clustered(0, nan, nan), nan, 0)


def silhouette(similarity: Float[ndarray, "k k"], cluster: Int[ndarray, "k"]) -> float:
    """Mean over points of (b - a) / max(a, b) with distance 1 - similarity.

    a is the mean distance to the others of the same cluster, b that to the nearest other cluster; a point alone
    in its cluster counts 0 (Rousseeuw, J. Comput. Appl. Math. 20, 1987). At least two clusters.

    scikit-learn gives the same to the last bit and takes 1.6 ms where this takes 0.1 (200 points): with its k-means
    (3 to 4 times as long as `k_means`, which is spherical) the score would cost twice and a half as much.
    """
    _, cluster = np.unique(cluster, return_inverse=True)
    member = np.eye(int(cluster.max()) + 1)[cluster]
    size = member.sum(axis=0)
    own = np.arange(len(cluster)), cluster
    # A point's distance to itself is 0 whatever its vector: one without an embedding has similarity 0 with itself.
    distance = 1 - similarity
    np.fill_diagonal(distance, 0.0)
    total = distance @ member
    a = total[own] / np.maximum(size[cluster] - 1, 1)
    to_others = total / size
    to_others[own] = np.inf
    b = to_others.min(axis=1)
    widest = np.maximum(a, b)
    counted = (size[cluster] > 1) & (widest > 1e-12)
    return float(np.where(counted, (b - a) / np.where(counted, widest, 1.0), 0.0).mean())


def clusterings(points: Float[ndarray, "k d"]) -> list[Clustered]:
    """The points in each of MODES clusters by spherical k-means from a fixed seed; points all alike fall into none."""
    similarity = points @ points.T
    clustered = []
    for k in MODES:
        cluster = k_means(points, k)
        sizes = np.bincount(cluster)
        value = silhouette(similarity, cluster) if (sizes > 0).sum() > 1 else 0.0
        clustered.append(Clustered(k, value, float(sizes.max() / len(points))))
    return clustered


def examples_of(
    weights: Float[ndarray, "t"],
    patience: Float[ndarray, "t"],
    document: Int[ndarray, "t"],
    fingerprint: Int[ndarray, "t"],
) -> Int[ndarray, "k"]:
    """Up to SIZES[0] tokens drawn with chances in proportion to `weights`, without replacement.

    The tokens with the smallest patience / weight come first, at most one a document and one a fingerprint. With
    patience = -log(u), u uniform, that is weighted sampling (Efraimidis and Spirakis, 2006).
    """
    firing = np.flatnonzero(weights > 0)
    order = firing[np.argsort(patience[firing] / weights[firing], kind="stable")]
    for keys in (document, fingerprint):
        _, first = np.unique(keys[order], return_index=True)
        order = order[np.sort(first)]
    return order[: SIZES[0]]


def patience_of(stream_position: Int[ndarray, "t"], draw: int = 0) -> Float[ndarray, "t"]:
    """-log(u), u uniform on (0, 1) by a hash of the position: the same for every neuron, in any order of neurons."""
    u = (position_hash(stream_position + draw * _SALT).astype(np.float64) + 0.5) / 2.0**64
    return -np.log(u)


class ModeFinder:
    """Finds the modes of neurons over one sample of tokens."""

    def __init__(
        self,
        points: Points,
        stream_position: Int[ndarray, "t"],
        document: Int[ndarray, "t"],
        fingerprint: Int[ndarray, "t"],
    ) -> None:
        self._points, self._position = points, stream_position
        self._document, self._fingerprint = document, fingerprint
        self._patience = patience_of(stream_position)
        self.null = lru_cache(maxsize=None)(self._null)

    def _null(self, size: int) -> tuple[float, ...]:
        """Mean silhouette of `size` random tokens, one a document, for each of MODES; 0 where there are too few."""
        silhouettes = []
        for draw in range(1, DRAWS + 1):
            patience = patience_of(self._position, draw)
            chosen = examples_of(np.ones(len(patience)), patience, self._document, self._fingerprint)[:size]
            silhouettes.append([clustered.silhouette for clustered in clusterings(self._points(chosen))])
        return tuple(np.mean(silhouettes, axis=0).tolist())

    def find(self, weights: Float[ndarray, "t"]) -> Modes:
        """The modes of one neuron, from its weight on every token; NOTHING where it has too few examples."""
        chosen = examples_of(weights.astype(np.float64), self._patience, self._document, self._fingerprint)
        size = next((size for size in SIZES if size <= len(chosen)), None)
        if size is None:
            return NOTHING
        clustered, nulls = clusterings(self._points(chosen[:size])), self.null(size)
        best = int(np.argmax([each.silhouette - null for each, null in zip(clustered, nulls)]))
        return Modes(clustered[best], nulls[best], size)


def finder_of(contexts: Contexts, acts: Activations) -> ModeFinder:
    """Of all sampled tokens; two contexts' similarity is the mean of their cosines in the five views."""
    positions = np.asarray(acts.tokens.stream_position).astype(np.int64)

    def points(chosen: Int[ndarray, "k"]) -> Float[ndarray, "k d"]:
        return unit_rows(np.hstack([view.vectors(positions[chosen]) for view in contexts.views]))

    return ModeFinder(points, positions, np.asarray(acts.tokens.document), contexts.fingerprint[positions])


def find_all(acts: Activations) -> list[Modes]:
    """The modes of every neuron of a layer; NOTHING for those that are dead or rare."""
    finder = finder_of(contexts_of(acts), acts)
    modes = [NOTHING] * acts.n_neurons
    for neurons, activations in scored_blocks(acts):
        weights = strong_firings(activations, acts.moments.median[neurons], acts.tokens.is_fit)
        for column, neuron in enumerate(neurons.tolist()):
            modes[neuron] = finder.find(weights[:, column].numpy())
    return modes


class ContextModes(NeuronScore):
    """Minus how plainly a neuron's contexts fall into groups of like size.

    200 strong firings (w = a [a > 0.25 max a], a = max(activation - median, 0)) drawn in proportion to w, at most one a
    document and none of whose last nine tokens are another's; k-means on their contexts (analyze.text.context_vectors,
    five views side by side) for k = 2 to 6; the k whose silhouette is furthest above that of random tokens. The score
    is -(silhouette - null) x (1 - share of the largest cluster): 0 for one cloud like random text, negative where the
    examples fall into groups of like size.

    Optional, because it is slow and the weakest (docs/scores.md). Known failures: the other views drown a feature that
    only one shows; two features that are alike are one group, and one broad feature ("capitalised words") is several; a
    neuron of one token scores by how its text clusters.

    Cost: 6 s per 256 neurons, whatever the number of tokens up to 190 k, one thread of an Intel Xeon with AVX-512.
    """

    name = "context_modes"
    title = "context modes"
    number = 4
    rank = "context_modes"
    about = About(
        definition="how far examples fall into clusters of like size beyond random tokens (silhouette), negated",
        cost="6",
        null="silhouette of random tokens, subtracted",
        fails="a feature that one view shows is drowned by the others; one broad feature is several clusters",
    )
    needs = ("sample", "text")
    optional = True

    def table(self, acts: Activations) -> pl.DataFrame:
        """context_modes, the number of modes, their silhouette, its null, the largest one's share, the examples."""
        modes = find_all(acts)
        return pl.DataFrame(
            {
                "context_modes": pl.Series([-each.value for each in modes], dtype=pl.Float64),
                "context_modes_k": pl.Series([each.best.k or None for each in modes], dtype=pl.Int32),
                "context_modes_silhouette": pl.Series([each.best.silhouette for each in modes], dtype=pl.Float64),
                "context_modes_null": pl.Series([each.null for each in modes], dtype=pl.Float64),
                "context_modes_largest": pl.Series([each.best.largest for each in modes], dtype=pl.Float64),
                "context_modes_examples": pl.Series([each.n_examples for each in modes], dtype=pl.Int32),
            }
        )

    def toy(self, y: Float[ndarray, "t n"], features: Bool[ndarray, "t f"]) -> Float[ndarray, " n"]:
        """The score of a toy's neurons: a sample is a document, its active features its only context."""
        active = features.astype(np.float64)
        vectors = unit_rows(active - active.mean(axis=0))
        sample = np.arange(len(y))
        finder = ModeFinder(vectors.__getitem__, sample, sample, sample)
        weights = strong_firings(torch.from_numpy(y.astype(np.float32)), np.median(y, axis=0), sample % 2 == 0)
        return np.array([-finder.find(column).value for column in weights.T.numpy()])


SCORE = ContextModes()
