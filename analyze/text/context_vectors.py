"""The contexts of tokens as vectors, read from text alone: five views of every token.

| view | two tokens are alike where |
|---|---|
| current | the tokens are used alike: embeddings of training tokens (`analyze.text.embeddings`) |
| previous | the tokens before them are |
| window | the WINDOW tokens before them are, on average |
| document | their documents are about the same: means of embeddings weighed by rarity |
| form | they are spelled and written alike: character n-grams of the folded token, and its shape |

Every vector is centred (less the mean over all held-out tokens) and then has unit length, so that two tokens picked
at random have a cosine near 0 and the same token twice has 1. A token without an embedding (never seen in
training) is the zero vector, like nothing else. No vector comes from the model under study.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.text.embeddings import document_vectors, token_embeddings, unit_rows
from analyze.text.spelling import forms
from analyze.text.stream import BOS, Stream, once_for_data, sampled_text, stream_of
from train.data.tokens import TokenFile

WINDOW = 8
"""Tokens before the current one that the window view averages; fewer at the start of a document or row."""
_CHUNK = 16_384


@dataclass(frozen=True)
class ContextView:
    """One view: the vector of stream position p is `rows[p] @ table`, of length 1 or zero (separators)."""

    name: str
    rows: sp.csr_array
    """[s keys]"""
    table: Float[ndarray, "keys d"]

    def vectors(self, positions: Int[ndarray, "k"]) -> Float[ndarray, "k d"]:
        """The vectors of some stream positions, fp64."""
        return self.rows[positions] @ self.table


@dataclass(frozen=True, eq=False)
class Contexts:
    """The views of every position of a held-out stream."""

    views: tuple[ContextView, ...]
    fingerprint: Int[ndarray, "s"]
    """Equal where the current token and the WINDOW tokens before it are the same."""

    @property
    def names(self) -> tuple[str, ...]:
        """The views' names, in order."""
        return tuple(view.name for view in self.views)


def by_key(name: str, keys: Int[ndarray, "s"], table: Float[ndarray, "keys d"]) -> ContextView:
    """A view in which each position has one key (below 0: none) and each key a vector, centred over positions."""
    inside = np.flatnonzero(keys >= 0)
    counts = np.bincount(keys[inside], minlength=len(table)) * table.any(axis=1)
    mean = counts @ table / max(counts.sum(), 1)
    centred = np.where(table.any(axis=1, keepdims=True), table - mean, 0.0)
    rows = sp.csr_array((np.ones(len(inside)), (inside, keys[inside])), (len(keys), len(table)))
    return ContextView(name, rows, unit_rows(centred))


def by_mean(name: str, rows: sp.csr_array, table: Float[ndarray, "keys d"]) -> ContextView:
    """A view in which a position's vector is a sum of several keys' (`rows` its weights), centred over positions."""
    total, seen = np.zeros(table.shape[1]), 0
    chunks = [slice(first, first + _CHUNK) for first in range(0, len(rows.indptr) - 1, _CHUNK)]
    for chunk in chunks:
        vectors = rows[chunk] @ table
        total, seen = total + vectors.sum(axis=0), seen + int(vectors.any(axis=1).sum())
    mean = total / max(seen, 1)
    inverse = []
    for chunk in chunks:
        vectors = rows[chunk] @ table
        length = np.linalg.norm(vectors - mean, axis=1)
        known = vectors.any(axis=1) & (length > 1e-9)
        inverse.append(np.where(known, 1 / np.where(known, length, 1.0), 0.0))
    scale = np.concatenate(inverse)
    # The mean as one more key, so that the rows stay sparse.
    wide = sp.csr_array(sp.hstack([sp.diags_array(scale) @ rows, sp.csr_array(-scale[:, None])]))
    return ContextView(name, wide, np.vstack([table, mean]))


def build_contexts(stream: Stream, vectors: Float[ndarray, "v d"]) -> Contexts:
    """The five views of a stream.

    "Nothing before" (the start of a document or row) counts as a token of its own, unlike all others, with one
    dimension to itself.

    Args:
        vectors: embeddings of the tokens.
    """
    ids, document, n, d_vocab = stream.ids, stream.document, len(stream), len(vectors)
    inside, index = document >= 0, np.arange(len(stream))
    first = np.where(inside, np.maximum(index - stream.row_position + 1, stream.starts[np.maximum(document, 0)]), n)
    table = np.hstack([vectors, np.zeros((d_vocab, 1))])
    table[BOS] = 0.0
    table[BOS, -1] = 1.0
    embedded = np.asarray(table.any(axis=1))
    fingerprint = np.where(inside, ids, -1)
    at, keys = [], []
    for back in range(1, WINDOW + 1):
        reached = np.flatnonzero(index - back >= first)
        earlier = np.full(n, BOS)
        earlier[reached] = ids[reached - back]
        fingerprint = fingerprint * np.int64(1_000_003) + earlier
        reached = reached[embedded[earlier[reached]]]
        at.append(reached)
        keys.append(earlier[reached])
    alone = np.flatnonzero(index == first)
    at, keys = np.concatenate([*at, alone]), np.concatenate([*keys, np.full(len(alone), BOS)])
    share = 1.0 / np.maximum(np.bincount(at, minlength=n), 1)
    previous = np.where(index > first, np.concatenate([[BOS], ids[:-1]]), BOS)
    of_documents = document_vectors(ids[inside], document[inside], vectors, len(stream.starts))
    return Contexts(
        (
            by_key("current", np.where(inside, ids, -1), table),
            by_key("previous", np.where(inside, previous, -1), table),
            by_mean("window", sp.csr_array((share[at], (at, keys)), (n, d_vocab)), table),
            by_key("document", document, of_documents),
            by_key("form", np.where(inside, ids, -1), forms(stream.vocabulary)),
        ),
        fingerprint,
    )


@once_for_data
def contexts_on(data: TokenFile) -> Contexts:
    """The views of a data directory's held-out stream."""
    # Embeddings without their last dimension, the least: with the one of "nothing before" all tables are as wide.
    return build_contexts(stream_of(data), unit_rows(token_embeddings(data)[:, :-1]))


def contexts_of(acts: Activations) -> Contexts:
    """The views of the held-out stream that `acts` was collected on.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    return contexts_on(sampled_text(acts))
