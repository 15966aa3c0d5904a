"""Which neurons of a layer are copies of one another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from torch import Tensor

from analyze.activations.store import DEAD, Activations
from analyze.activations.token_sample import position_hash

DUPLICATE = 0.95
"""Neurons are duplicates at an absolute correlation above this."""
CANDIDATE = 0.93
"""Pairs above this in the sketch are verified on every sampled token."""
SKETCH = 4096
"""Numbers that stand for a neuron in the sketch."""
TILE = 128
"""Neurons of a block whose products are computed whole where it has many pairs."""
CROWDED = 24
"""Pairs from which a block of products is cheaper than one pair after another (measured: 30 of them cost a block)."""


@dataclass(frozen=True)
class SearchSettings:
    """How much of the search is done at once; changes no result."""

    read_bytes: int = 2**27
    """Activations in memory."""
    slab: int = 512
    """Neurons that are compared with all others."""
    pairs: int = 1_000_000
    """Pairs that are verified, or merged into a forest."""


DEFAULT = SearchSettings()


def duplicate_clusters(acts: Activations, settings: SearchSettings = DEFAULT) -> Int[np.ndarray, "n"]:
    """Cluster of every neuron: neurons linked by |correlation| > 0.95 over the sampled tokens, transitively.

    All pairs on all tokens are too many (25,600 neurons on 190 k tokens: 1.2e14 operations). Candidates come from
    a count sketch: every token adds its centred activation, with a random sign, to one of 4,096 numbers
    (Charikar, Chen and Farach-Colton, 2002), so that a neuron that fires on ten tokens counts as much as a dense
    one. Correlations of sketches are off by about (1 - r^2) / sqrt(4096) = 0.0015 at r = 0.95, and pairs above 0.93
    there are verified on all tokens. What this can miss: a pair just above 0.95 whose variance sits in so few tokens
    that two of them on one number (for k tokens a chance of about k^2 / 8,192) move the sketch by 0.02. It never
    misses exact copies, nor any scale or sign of them.

    First it verifies a spanning forest of the likeliest pairs, which links most clusters with one pair a neuron.
    If any of these fails, it verifies every other pair of neurons that are still apart.

    Memory: 16 kB a neuron and two blocks of 128 MB, whatever the tokens: 420 MB for the sketch of 25,600. Time:
    n^2 x 4,096 operations a sweep (one, or two), 30 s on one core for 25,600 neurons.

    A dead neuron has no duplicates and is a cluster of its own.

    Returns:
        int32 ids, from 0 in order of each cluster's first neuron.

    Raises:
        BadInput: the sample has been deleted.
    """
    n = acts.n_neurons
    mean, norm, sketch = sketched(acts, settings)
    alive = torch.from_numpy(acts.moments.status != DEAD) & (norm > 0)

    def are_duplicates(pairs: Int[np.ndarray, "pairs 2"]) -> Bool[np.ndarray, "pairs"]:
        return np.abs(correlations(acts, pairs, mean, norm, settings)) > DUPLICATE

    forest = likely_forest(sketch, alive, settings)
    verified = are_duplicates(forest)
    linked = forest[verified]
    labels = components(n, linked)
    if not verified.all():
        tested = codes(forest, n)
        for pairs, _ in candidates(sketch, alive, settings):
            apart = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
            rest = apart[~np.isin(codes(apart, n), tested)]
            linked = np.concatenate([linked, rest[are_duplicates(rest)]])
            labels = components(n, linked)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)


def codes(pairs: Int[np.ndarray, "pairs 2"], n: int) -> Int[np.ndarray, "pairs"]:
    """One number for each pair."""
    return pairs[:, 0] * n + pairs[:, 1]


def likely_forest(
    sketch: Float[Tensor, "n sketch"], alive: Bool[Tensor, "n"], settings: SearchSettings
) -> Int[np.ndarray, "edges 2"]:
    """A spanning forest of the candidate pairs that takes the likeliest ones first."""
    n = len(sketch)
    edges, likeness = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32)
    for more, more_likeness in candidates(sketch, alive, settings):
        pairs, likeness = np.concatenate([edges, more]), np.concatenate([likeness, more_likeness])
        weights = coo_array((2.0 - np.abs(likeness.astype(np.float64)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        tree = minimum_spanning_tree(weights).tocoo()
        edges = np.stack([tree.row, tree.col], 1).astype(np.int64)
        likeness = (2.0 - tree.data).astype(np.float32)
    return edges


def distinct(clusters: Int[np.ndarray, "n"], chosen: np.ndarray) -> int:
    """How many different neurons are among `chosen` (a mask or indices); each cluster counts once."""
    return len(np.unique(clusters[chosen]))


def components(n: int, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, "n"]:
    """Labels of neurons that pairs link, transitively."""
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(links, directed=False)[1]


def sketched(
    acts: Activations, settings: SearchSettings = DEFAULT
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n sketch"]]:
    """Mean and norm of the centred activations of every neuron (fp64), and its sketch, of length 1."""
    n, t = acts.n_neurons, len(acts.tokens)
    odd = (position_hash(acts.tokens.stream_position) & np.uint64(1)).astype(np.float32)
    sign = torch.from_numpy(1 - 2 * odd)[:, None]
    mean, norm = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    sketch = torch.zeros(n, SKETCH)
    width = max(1, settings.read_bytes // (4 * t))
    for first in range(0, n, width):
        stop = min(first + width, n)
        values = acts.block(first, stop)
        parts = list(zip(values.split(SKETCH), sign.split(SKETCH)))
        for part, _ in parts:
            mean[first:stop] += part.sum(0, dtype=torch.float64) / t
        squares = torch.zeros(stop - first, dtype=torch.float64)
        columns = torch.zeros(SKETCH, stop - first)
        for part, turn in parts:
            part -= mean[first:stop].float()
            squares += (part * part).sum(0, dtype=torch.float64)
            columns[: len(part)].addcmul_(part, turn)
        norm[first:stop] = squares.sqrt()
        sketch[first:stop] = torch.nn.functional.normalize(columns, dim=0, eps=1e-30).T
    return mean, norm, sketch


def candidates(
    sketch: Float[Tensor, "n sketch"], alive: Bool[Tensor, "n"], settings: SearchSettings
) -> Iterator[tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, "pairs"]]]:
    """Pairs (i < j) of living neurons whose sketches correlate above CANDIDATE, and that correlation, in batches."""
    n, is_alive = len(sketch), alive.numpy()
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    for first in range(0, n, settings.slab):
        near = sketch[first : first + settings.slab] @ sketch[first:].T
        i, j = (near.abs() > CANDIDATE).triu_(1).nonzero(as_tuple=True)
        pairs, likeness = torch.stack([first + i, first + j], 1).numpy(), near[i, j].numpy()
        living = is_alive[pairs].all(axis=1)
        waiting.append((pairs[living], likeness[living]))
        if sum(len(pairs) for pairs, _ in waiting) >= settings.pairs or first + settings.slab >= n:
            yield np.concatenate([pairs for pairs, _ in waiting]), np.concatenate([near for _, near in waiting])
            waiting.clear()


def correlations(
    acts: Activations,
    pairs: Int[np.ndarray, "pairs 2"],
    mean: Float[Tensor, "n"],
    norm: Float[Tensor, "n"],
    settings: SearchSettings = DEFAULT,
) -> Float[np.ndarray, "pairs"]:
    """Pearson's correlation of each pair over all sampled tokens.

    Neurons are sorted by cluster, so that most pairs lie in few blocks of TILE x TILE. The products of these blocks
    are computed whole; pairs that lie alone are computed one by one.
    """
    total = torch.zeros(len(pairs), dtype=torch.float64)
    if not len(pairs):
        return total.numpy()
    used, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2)
    order = np.argsort(components(len(used), places), kind="stable")
    neurons = torch.from_numpy(used[order])
    places = np.argsort(order)[places]
    tile = places // TILE
    _, index, count = np.unique(
        tile[:, 0] * (len(used) // TILE + 1) + tile[:, 1], return_inverse=True, return_counts=True
    )
    crowded = count[index] >= CROWDED
    alone = torch.from_numpy(np.flatnonzero(~crowded))
    members = np.flatnonzero(crowded)
    members = members[np.argsort(index[members], kind="stable")]
    tiles = np.split(members, np.flatnonzero(np.diff(index[members])) + 1) if len(members) else []
    where = torch.from_numpy(places)
    centre, scale = mean[neurons].float(), norm[neurons].float()
    length = max(1, settings.read_bytes // (4 * acts.n_neurons))
    slab = max(1, settings.read_bytes // (8 * length))
    for start in range(0, len(acts.tokens), length):
        values = acts.sample.read_tokens(start, min(start + length, len(acts.tokens)))
        columns = ((values[:, neurons] - centre) / scale).T.contiguous()
        for few in alone.split(slab):
            left, right = columns[where[few, 0]], columns[where[few, 1]]
            total[few] += (left * right).sum(1, dtype=torch.float64)
        for inside in tiles:
            a, b = (TILE * int(each) for each in tile[inside[0]])
            products = columns[a : a + TILE] @ columns[b : b + TILE].T
            total[inside] += products[where[inside, 0] - a, where[inside, 1] - b].double()
    return total.numpy()
