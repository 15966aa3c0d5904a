"""Which tokens count, which half their document belongs to, and which are held whole."""

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int, UInt64
from torch import Tensor

from analyze.activations.store import TokenSample
from train.data.tokens import TokenFile
from train.errors import BadInput

SAMPLE_BUDGET = 4_000_000_000
"""Bytes on disk up to which the sample holds all tokens, unless `sample_tokens` says otherwise."""


@dataclass(frozen=True)
class Plan:
    """Which tokens are passed and which are held, settled before anything runs."""

    tokens: TokenSample
    share: float
    n_rows: int
    n_tokens: int
    n_documents: int
    is_fit: Bool[np.ndarray, "documents"]


def sample_share(n_tokens: int, n_neurons: int, sample_tokens: int | None) -> float:
    """Share of tokens to hold whole; 1 where all of them are."""
    wanted = SAMPLE_BUDGET // (2 * n_neurons) if sample_tokens is None else sample_tokens
    return min(1.0, wanted / n_tokens)


def document_halves(sha256: list[str]) -> Bool[np.ndarray, "documents"]:
    """True for the score-fit half. A hash of its own, so that the halves do not follow the data's split."""
    digests = (hashlib.sha256(f"score-half/{one}".encode()).digest() for one in sha256)
    return np.array([digest[0] < 128 for digest in digests], dtype=bool)


def position_hash(stream_position: Int[np.ndarray, "t"]) -> UInt64[np.ndarray, "t"]:
    """splitmix64 of a position in the stream (Steele, Lea and Flood, 2014)."""
    z = stream_position.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def kept_tokens(
    tokens: TokenFile, first: int, rows: Int[Tensor, "rows row"], is_fit: Bool[np.ndarray, "documents"]
) -> tuple[Int[np.ndarray, "t"], TokenSample]:
    """The tokens of some rows that count, and where they stand among rows x n_ctx model positions."""
    n_ctx = tokens.n_ctx
    document = tokens.document_of_rows(first, len(rows))[:, :n_ctx].reshape(-1)
    flat = np.flatnonzero(document >= 0)
    ids = rows[:, :n_ctx].reshape(-1).numpy()
    document = document[flat]
    return flat, TokenSample(
        ids=ids[flat].astype(np.int32),
        previous=ids[flat - 1].astype(np.int32),
        document=document.astype(np.int32),
        position=(flat % n_ctx).astype(np.int32),
        stream_position=(first * n_ctx + flat - 1).astype(np.int64),
        is_fit=is_fit[document],
    )


def kept_again(tokens: TokenSample, first: int, stop: int, n_ctx: int) -> tuple[Int[np.ndarray, "t"], TokenSample]:
    """What `kept_tokens` gives of the rows first..stop, out of a sample that holds all tokens; views of it."""
    # BOS stands before every row but not in the stream: position i of the stream is read at i + 1 of the rows.
    low, high = np.searchsorted(tokens.stream_position, (first * n_ctx - 1, stop * n_ctx - 1))
    kept = TokenSample(*(getattr(tokens, field.name)[low:high] for field in fields(TokenSample)))
    return kept.stream_position - (first * n_ctx - 1), kept


def select(tokens: TokenSample, chosen: np.ndarray) -> TokenSample:
    """The tokens at some indices, or where a mask is true."""
    return TokenSample(*(getattr(tokens, field.name)[chosen] for field in fields(TokenSample)))


def joined(pieces: list[TokenSample]) -> TokenSample:
    """Pieces of a stream as one."""
    return TokenSample(
        *(np.concatenate([getattr(piece, field.name) for piece in pieces]) for field in fields(TokenSample))
    )


def is_sampled(stream_position: Int[np.ndarray, "t"], share: float) -> Bool[np.ndarray, "t"]:
    """Which positions are held whole at a share."""
    if share == 1:
        return np.ones(len(stream_position), dtype=bool)
    return position_hash(stream_position) < np.uint64(share * 2.0**64)


def make_plan(tokens: TokenFile, n_rows: int, share: float) -> Plan:
    """Read the tokens once, without the source, and settle which are held.

    Raises:
        BadInput: nothing but separators there, or nothing sampled.
    """
    is_fit = document_halves(tokens.documents()["sha256"].to_list())
    pieces, n_tokens, seen = [], 0, np.zeros(len(is_fit), dtype=bool)
    for first in range(0, n_rows, 256):
        rows = tokens.plain_rows(first, min(256, n_rows - first))
        _, kept = kept_tokens(tokens, first, rows, is_fit)
        n_tokens += len(kept)
        seen[kept.document] = True
        pieces.append(select(kept, is_sampled(kept.stream_position, share)))
    sample = joined(pieces)
    if not len(sample):
        raise BadInput(f"{tokens.directory}: no token sampled of {n_tokens}; raise sample_tokens")
    return Plan(sample, share, n_rows, n_tokens, int(seen.sum()), is_fit)
