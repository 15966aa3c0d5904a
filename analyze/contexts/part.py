"""Part of a large sample of tokens: contexts take vectors of every token, which would not fit into memory."""

from collections import deque
from dataclasses import dataclass, replace
from weakref import ref

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import Sample
from analyze.activations.store import Activations
from analyze.activations.token_sample import position_hash, select

MOST_TOKENS = 250_000
"""Of a larger sample, whole documents of so many tokens count: 0.6 GB of vectors, a minute of a sentence model."""


@dataclass(frozen=True)
class SomeTokens:
    """Some tokens of a sample, as a sample."""

    whole: Sample
    rows: Int[ndarray, "t"]

    def read(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Neurons first..stop on these tokens, float32."""
        return self.whole.read(first, stop)[self.rows]

    def read_tokens(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """All neurons on tokens first..stop of these, float32."""
        low, high = self.rows[first], self.rows[stop - 1] + 1
        return self.whole.read_tokens(int(low), int(high))[self.rows[first:stop] - low]


_KEPT: deque[tuple[ref[Activations], Activations]] = deque(maxlen=1)


def part_of(acts: Activations, most: int = MOST_TOKENS) -> Activations:
    """The same neurons on about `most` of the sampled tokens: whole documents, by a hash; all if no more.

    Single tokens, by the hash of their positions, where documents are so few and large that whole ones would leave a
    half of the sample empty.
    """
    if len(acts.tokens) <= most:
        return acts
    for kept_acts, kept in _KEPT:
        if kept_acts() is acts:
            return kept
    documents, number, counts = np.unique(acts.tokens.document, return_inverse=True, return_counts=True)
    order = np.argsort(position_hash(documents), kind="stable")
    chosen = np.zeros(len(documents), bool)
    chosen[order[np.cumsum(counts[order]) <= most]] = True
    rows, is_fit = np.flatnonzero(chosen[number]), np.asarray(acts.tokens.is_fit)
    if len(np.unique(is_fit[rows])) < len(np.unique(is_fit)):
        order = np.argsort(position_hash(np.asarray(acts.tokens.stream_position)), kind="stable")
        rows = np.sort(order[:most])
    part = replace(acts, tokens=select(acts.tokens, rows), sample=SomeTokens(acts.sample, rows))
    _KEPT.append((ref(acts), part))
    return part
