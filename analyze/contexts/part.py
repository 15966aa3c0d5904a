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
"""Of a larger sample so many tokens count: 0.6 GB of vectors,"""
MOST_TEXT = 1_000_000
"""and stand in text of at most so many, since a sentence model reads what lies between them: three minutes."""
STRETCH = 1000
"""Tokens of text that are taken together where documents are too large."""


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


def part_of(acts: Activations, most: int = MOST_TOKENS, most_text: int = MOST_TEXT) -> Activations:
    """The same neurons on at most `most` of the sampled tokens, in text of at most `most_text`; on all, if no more.

    Whole documents count, by a hash; stretches of text, where documents are so few and large that whole ones would
    leave a half of the sample empty.
    """
    tokens = acts.tokens
    positions, is_fit = np.asarray(tokens.stream_position, np.int64), np.asarray(tokens.is_fit)
    rows = _chosen(np.asarray(tokens.document, np.int64), positions, most, most_text)
    if len(rows) == len(tokens):
        return acts
    for kept_acts, kept in _KEPT:
        if kept_acts() is acts:
            return kept
    if len(np.unique(is_fit[rows])) < len(np.unique(is_fit)):
        rows = _chosen(positions // STRETCH, positions, most, most_text)
    part = replace(acts, tokens=select(tokens, rows), sample=SomeTokens(acts.sample, rows))
    _KEPT.append((ref(acts), part))
    return part


def _chosen(unit: Int[ndarray, "t"], positions: Int[ndarray, "t"], most: int, most_text: int) -> Int[ndarray, "rows"]:
    """The tokens of whole units, taken by a hash until there are too many of them or too much text; ascending."""
    units, first, number, counts = np.unique(unit, return_index=True, return_inverse=True, return_counts=True)
    text = positions[first + counts - 1] - positions[first] + 1  # tokens are in the order of the text
    order = np.argsort(position_hash(units), kind="stable")
    inside = (np.cumsum(counts[order]) <= most) & (np.cumsum(text[order]) <= most_text)
    chosen = np.zeros(len(units), bool)
    chosen[order[inside]] = True
    return np.flatnonzero(chosen[number])
