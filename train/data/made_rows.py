"""Training rows that are made up: a segment that repeats, or sentences with names. They teach what text teaches late.

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

LEAST_SEGMENT = 4
"""Tokens of the shortest segment that repeats."""

_STREAM = 0x5EED
"""Keeps these draws apart from others of the same seed."""


@dataclass(frozen=True)
class MadeRows:
    """How many of the training rows are made up, and of which kind."""

    repeated: float
    """Share of rows in which a random segment repeats to the end."""
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


def repeated_row(
    row: Int[Tensor, " pos_and_one"], rng: np.random.Generator, length: int | None = None
) -> Int[Tensor, " pos_and_one"]:
    """BOS, then a segment again and again: distinct tokens of the row in random order.

    Frequencies are those of text but for repetitions, and no token stands twice in a segment, so that what followed a
    token before says what follows it now. A model can gain without that: the next token is one that has not been there
    for long.

    Args:
        length: of the segment; default: anything from 4 to half of the row (less where the row has fewer tokens).
    """
    n_ctx = len(row) - 1
    segment = random_segment(row, rng)
    if length is None:
        length = int(rng.integers(LEAST_SEGMENT, max(LEAST_SEGMENT, n_ctx // 2) + 1))
    segment = segment[: max(1, min(length, len(segment)))]
    made = row.clone()
    made[1:] = torch.from_numpy(np.resize(segment, n_ctx))
    return made


def random_segment(row: Int[Tensor, " pos_and_one"], rng: np.random.Generator) -> Int[ndarray, " token"]:
    """The distinct tokens of a row but for BOS, in random order."""
    return rng.permutation(np.setdiff1d(row[1:].numpy(), row[:1].numpy()))
