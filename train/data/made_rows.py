"""Training rows that are made up: segments that repeat, or sentences with names. They teach what text teaches late.

Which rows they are and what stands in them follows from the seed and the row's number alone, as with all rows. Only
training mixes them in; held-out text stays as it is.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from train.data.name_sentences import NameSentences

LEAST_SEGMENT, MOST_SEGMENT = 3, 8
"""Tokens of a segment that repeats."""
LEAST_SEGMENTS, MOST_SEGMENTS = 2, 6
"""Segments of a row."""

_STREAM = 0x5EED
"""Keeps these draws apart from others of the same seed."""


@dataclass(frozen=True)
class MadeRows:
    """How many of the training rows are made up, and of which kind."""

    repeated: float
    """Share of rows in which random segments repeat."""
    names: float
    """Share of rows of sentences in which two are named and one of them gives the other something."""
    sentences: NameSentences | None = None
    """What those rows are made of; needed where `names` is above 0."""

    def put_into(self, rows: Int[Tensor, "row pos_and_one"], seed: int, first: int) -> Int[Tensor, "row pos_and_one"]:
        """Some of the rows replaced.

        Args:
            rows: of the text, each BOS and n_ctx tokens.
            seed: of the run.
            first: the number of the first row, counted over the whole of training.
        """
        rows = rows.clone()
        for index in range(len(rows)):
            rng = np.random.default_rng([_STREAM, seed, first + index])
            draw = rng.random()
            if draw < self.repeated:
                rows[index] = repeated_row(rows[index], rng)
            elif draw < self.repeated + self.names:
                assert self.sentences is not None
                rows[index, 1:] = torch.from_numpy(self.sentences.fill(rows.shape[1] - 1, rng))
        return rows


def repeated_row(row: Int[Tensor, " pos_and_one"], rng: np.random.Generator) -> Int[Tensor, " pos_and_one"]:
    """BOS, then a few short segments of the row's tokens, one after another in random order, again and again.

    A token stands in one segment alone, so that what followed it before says what follows it now, but for the last
    tokens of segments. Their order is random, so that nothing else says it: of one segment that repeats, models learn
    that the next token is one that has not been there for long.
    """
    n_ctx, pool = len(row) - 1, random_segment(row, rng)
    lengths = rng.integers(LEAST_SEGMENT, MOST_SEGMENT + 1, int(rng.integers(LEAST_SEGMENTS, MOST_SEGMENTS + 1)))
    segments = [each for each in np.split(pool, np.cumsum(lengths))[:-1] if len(each)] or [pool]
    parts: list[Int[ndarray, " token"]] = []
    while sum(map(len, parts)) < n_ctx:
        parts.append(segments[int(rng.integers(len(segments)))])
    made = row.clone()
    made[1:] = torch.from_numpy(np.concatenate(parts)[:n_ctx])
    return made


def random_segment(row: Int[Tensor, " pos_and_one"], rng: np.random.Generator) -> Int[ndarray, " token"]:
    """The distinct tokens of a row but for BOS, in random order."""
    return rng.permutation(np.setdiff1d(row[1:].numpy(), row[:1].numpy()))
