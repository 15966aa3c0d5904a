"""Which neurons of a layer are copies of one another."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from torch import Tensor

from analyze.positions import position_hash
from analyze.store import DEAD, Activations

DUPLICATE = 0.95
"""Neurons are duplicates at an absolute correlation above this."""
CANDIDATE = 0.9
"""Pairs above this on the sketch are verified on every sampled token."""
SKETCH = 8192
"""Numbers that stand for a neuron in the sketch."""
PIECE_BYTES = 2**27
"""Activations that are held at a time."""
SLAB = 512


def duplicate_clusters(acts: Activations) -> Int[np.ndarray, "n"]:
    """Cluster of every neuron: neurons joined by |correlation| > 0.95 over the sampled tokens, transitively.

    All pairs on all tokens are too many (12,800 neurons on 1 M tokens: 3e14 operations). Candidates come from
    a count sketch: every token adds its centred activation, with a random sign, to one of 8,192 numbers
    (Charikar, Chen and Farach-Colton, 2002), so that a neuron that fires on ten tokens is seen as well as a
    dense one. Correlations of sketches are off by about (1 - r^2) / sqrt(8192) < 0.003, and pairs above 0.9
    there are verified on all tokens. What this can miss: a pair just above 0.95 whose variance sits in so few
    tokens that two of them on one number (for k tokens a chance of about k^2 / 16,384) move the sketch by
    0.05; exact copies, and any scale or sign of them, are never missed.

    Dead neurons are no one's duplicates: each is a cluster of its own.

    Returns:
        int32 ids, from 0 in order of each cluster's first neuron.

    Raises:
        BadInput: the sample has been deleted.
    """
    n = acts.n_neurons
    mean, norm, sketch = sketched(acts)
    alive = torch.from_numpy(acts.moments.status != DEAD) & (norm > 0)
    pairs, likeness = candidates(sketch, alive)
    # A spanning forest of the likeliest pairs usually joins everything in one pass; a second takes the rest.
    weights = coo_array((2.0 - np.abs(likeness), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    forest = minimum_spanning_tree(weights).tocoo()
    tree = np.stack([forest.row, forest.col], 1).astype(np.int64)
    joined = tree[np.abs(correlations(acts, tree, mean, norm)) > DUPLICATE]
    labels = components(n, joined)
    tested = set(map(tuple, tree.tolist()))
    apart = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    rest = np.array([pair for pair in pairs[apart].tolist() if tuple(pair) not in tested], dtype=np.int64)
    if len(rest):
        more = rest[np.abs(correlations(acts, rest, mean, norm)) > DUPLICATE]
        labels = components(n, np.concatenate([joined, more]))
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)


def distinct(clusters: Int[np.ndarray, "n"], chosen: np.ndarray) -> int:
    """How many different neurons are among `chosen` (a mask or indices), counting each cluster once."""
    return len(np.unique(clusters[chosen]))


def components(n: int, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, "n"]:
    """Labels of neurons joined by pairs, transitively."""
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(links, directed=False)[1]


def sketched(acts: Activations) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n sketch"]]:
    """Mean and norm of the centred activations of every neuron (fp64), and its sketch, of length 1."""
    n, t = acts.n_neurons, len(acts.tokens)
    odd = (position_hash(acts.tokens.stream_position) & np.uint64(1)).astype(np.float32)
    sign = torch.from_numpy(1 - 2 * odd)[:, None]
    mean, norm = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    sketch = torch.zeros(n, SKETCH)
    width = max(1, PIECE_BYTES // (4 * t))
    for first in range(0, n, width):
        stop = min(first + width, n)
        values = acts.block(first, stop)
        parts = list(zip(values.split(SKETCH), sign.split(SKETCH)))
        for part, _ in parts:
            mean[first:stop] += part.sum(0, dtype=torch.float64) / t
        squares = torch.zeros(stop - first, dtype=torch.float64)
        piece = torch.zeros(SKETCH, stop - first)
        for part, turn in parts:
            part -= mean[first:stop].float()
            squares += (part * part).sum(0, dtype=torch.float64)
            piece[: len(part)].addcmul_(part, turn)
        norm[first:stop] = squares.sqrt()
        sketch[first:stop] = torch.nn.functional.normalize(piece, dim=0, eps=1e-30).T
    return mean, norm, sketch


def candidates(
    sketch: Float[Tensor, "n sketch"], alive: Bool[Tensor, "n"]
) -> tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, "pairs"]]:
    """Pairs (i < j) of living neurons whose sketches correlate above CANDIDATE, and that correlation."""
    neurons = alive.nonzero().flatten()
    rows = sketch[neurons]
    found, likeness = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for first in range(0, len(rows), SLAB):
        near = rows[first : first + SLAB] @ rows[first:].T
        i, j = (near.abs() > CANDIDATE).triu(1).nonzero(as_tuple=True)
        found.append(torch.stack([neurons[first + i], neurons[first + j]], 1).numpy())
        likeness.append(near[i, j].numpy())
    return np.concatenate(found), np.concatenate(likeness)


def correlations(
    acts: Activations,
    pairs: Int[np.ndarray, "pairs 2"],
    mean: Float[Tensor, "n"],
    norm: Float[Tensor, "n"],
) -> Float[np.ndarray, "pairs"]:
    """Pearson's correlation of each pair over all sampled tokens."""
    used, places = np.unique(pairs, return_inverse=True)
    neurons, places = torch.from_numpy(used), torch.from_numpy(places.reshape(-1, 2))
    centre, scale = mean[neurons].float(), norm[neurons].float()
    total = torch.zeros(len(pairs), dtype=torch.float64)
    length = max(1, PIECE_BYTES // (4 * acts.n_neurons))
    slab = max(1, PIECE_BYTES // (8 * length))
    for start in range(0, len(acts.tokens) if len(pairs) else 0, length):
        values = acts.sample.read_tokens(start, min(start + length, len(acts.tokens)))
        columns = ((values[:, neurons] - centre) / scale).T.contiguous()
        for first in range(0, len(pairs), slab):
            left, right = columns[places[first : first + slab, 0]], columns[places[first : first + slab, 1]]
            total[first : first + slab] += (left * right).sum(1, dtype=torch.float64)
    return total.numpy()
