"""Neuron embeddings, clustered: how many kinds of examples excite a neuron (Foote, arXiv 2411.08166).

The paper multiplies what enters the layer at a token with the neuron's input weights, element by element, and clusters
the examples that excite the neuron most by the cosine of these vectors, agglomeratively. Planted neurons need not have
weights, and a score of the benchmark sees activations and text alone, so here a token's vector is that of its context
(PPMI-SVD vectors of the token and of the three before it, side by side) and the weights are those by which it predicts
the activation best, linearly.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.text.embeddings import ppmi_svd

EXAMPLES = 100
"""Examples of each neuron, one a document where there are so many."""
D_TOKEN = 32
BACK = 4
CUT = 0.7
"""Clusters are merged up to this mean cosine distance."""
RIDGE = 1e-2


def neuron_embeddings(
    activations: Float[ndarray, "t n"], tokens: Int[ndarray, "t"], documents: Int[ndarray, "t"]
) -> Float[ndarray, " n"]:
    """Minus the effective number (exp of the entropy of sizes) of clusters of a neuron's strongest examples."""
    from scipy.cluster.hierarchy import fcluster, linkage

    x = _contexts(tokens.astype(np.int64).tobytes(), documents.astype(np.int64).tobytes())
    gram = (x.T @ x).astype(np.float64) / len(x)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    centred = activations - activations.mean(axis=0)
    weights = np.linalg.solve(gram, (x.T @ centred).astype(np.float64) / len(x))
    found = np.full(activations.shape[1], np.nan)
    for neuron, column in enumerate(activations.T):
        examples = _strongest(column, documents)
        if len(examples) < 10:
            continue
        vectors = x[examples] * weights[:, neuron]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        clusters = fcluster(linkage(vectors, "average", metric="cosine"), CUT, criterion="distance")
        share = np.bincount(clusters)[1:] / len(clusters)
        found[neuron] = -float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
    return found


def _strongest(column: Float[ndarray, "t"], documents: Int[ndarray, "t"]) -> Int[ndarray, "e"]:
    top = np.argpartition(-column, min(20 * EXAMPLES, len(column) - 1))[: 20 * EXAMPLES]
    top = top[np.lexsort((top, -column[top]))]
    top = top[column[top] > 0]
    _, first = np.unique(documents[top], return_index=True)
    return top[np.sort(first)][:EXAMPLES]


@lru_cache(maxsize=1)
def _contexts(tokens: bytes, documents: bytes) -> Float[ndarray, "t d"]:
    """Centred vectors of the token and of the three before it in its document, fitted on these tokens themselves."""
    ids, document = np.frombuffer(tokens, np.int64), np.frombuffer(documents, np.int64)
    n_ids = int(ids.max()) + 2
    ends = np.flatnonzero(np.diff(document)) + 1
    table = ppmi_svd(np.insert(ids + 1, ends, 0), n_ids, separator=0, d_embed=D_TOKEN)
    parts = []
    for back in range(BACK):
        at = np.maximum(np.arange(len(ids)) - back, 0)
        same = document[at] == document
        parts.append(np.where(same[:, None], table[ids[at] + 1], 0.0).astype(np.float32))
    x = np.hstack(parts)
    return x - x.mean(axis=0)
