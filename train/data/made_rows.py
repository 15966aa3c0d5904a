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

from train.config import TrainConfig
from train.data.name_sentences import NameSentences
from train.data.tokens import TokenFile
from train.errors import BadInput

LEAST_SEGMENT = 4
"""Tokens of the shortest segment that repeats, where it is of the row's own tokens."""
SHORT_SEGMENTS = (2, 24)
"""Tokens of the shortest and longest segment of an alphabet. A segment of 2 is learned by looking one token back, which
is the first half of an induction head."""
OF_ALPHABET = 0.4
"""Of the rows of short segments so many are of the alphabet, which is learned soon, the others of the row's own tokens:
what is learned then holds for all."""
COUNTED_TOKENS = 2**20
"""Of the beginning of the text: what stands there most often is the alphabet."""

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
    alphabet: Int[ndarray, " token"] | None = None
    """Repeated rows are short segments, two in five of these tokens; None: longer ones, all of the row's own."""

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
                row = rows[index]
                rows[index] = (
                    repeated_row(row, rng) if self.alphabet is None else short_repeated_row(row, self.alphabet, rng)
                )
            elif draw < self.repeated + self.names:
                assert self.sentences is not None
                rows[index, 1:] = torch.from_numpy(self.sentences.fill(rows.shape[1] - 1, rng))
        return rows


def made_rows(train: TrainConfig, fit: TokenFile) -> MadeRows | None:
    """What stands in for some of the training rows; None where text alone is read.

    Raises:
        BadInput: a vocabulary that has too few of the names, or a text of fewer different tokens than asked for.
    """
    if not train.repeated_rows and not train.name_rows:
        return None
    sentences = NameSentences.of_data(fit.directory) if train.name_rows else None
    alphabet = frequent_tokens(fit, train.repeated_alphabet) if train.repeated_alphabet else None
    return MadeRows(train.repeated_rows, train.name_rows, sentences, alphabet)


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


def short_repeated_row(
    row: Int[Tensor, " pos_and_one"], alphabet: Int[ndarray, " token"], rng: np.random.Generator
) -> Int[Tensor, " pos_and_one"]:
    """BOS, then a short segment again and again: distinct tokens of an alphabet, or of the row.

    Lengths are from 2 to 24 (half a row, where that is less), each octave as often as another: no distance serves all.
    """
    least, most = SHORT_SEGMENTS
    most = max(least, min(most, (len(row) - 1) // 2))
    length = int(np.exp(rng.uniform(np.log(least), np.log(most + 1))))
    if rng.random() >= OF_ALPHABET:
        return repeated_row(row, rng, length)
    made = row.clone()
    made[1:] = torch.from_numpy(np.resize(rng.permutation(alphabet)[:length], len(row) - 1))
    return made


def frequent_tokens(fit: TokenFile, n: int) -> Int[ndarray, " n"]:
    """The n most frequent tokens of the beginning of the text but for BOS, the most frequent first.

    Raises:
        BadInput: more than the text has.
    """
    rows = fit.plain_rows(0, min(fit.n_rows, max(1, COUNTED_TOKENS // fit.n_ctx)))
    counts = np.bincount(rows[:, 1:].flatten().numpy(), minlength=fit.d_vocab)
    counts[int(rows[0, 0])] = 0
    there = int((counts > 0).sum())
    if there < n:
        raise BadInput(
            f"train.repeated_alphabet: {n} tokens where {fit.directory} has {there:,} different ones in its first "
            f"{rows.numel():,}; give a smaller alphabet"
        )
    return np.argsort(-counts, kind="stable")[:n]


def random_segment(row: Int[Tensor, " pos_and_one"], rng: np.random.Generator) -> Int[ndarray, " token"]:
    """The distinct tokens of a row but for BOS, in random order."""
    return rng.permutation(np.setdiff1d(row[1:].numpy(), row[:1].numpy()))
