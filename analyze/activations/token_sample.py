"""Which tokens count, which half their document belongs to, which the sample holds, and the orders to read them in."""

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
    """Which tokens the source reads and which the sample holds, settled before anything runs."""

    tokens: TokenSample
    share: float
    n_rows: int
    n_tokens: int
    n_documents: int
    is_fit: Bool[np.ndarray, "documents"]


@dataclass(frozen=True)
class SortedTokens:
    """Consecutive tokens of the stream, and the orders that sums per token id and choices by hash need."""

    tokens: TokenSample
    by_id: Int[np.ndarray, "t"]
    """Tokens in order of their ids; those of one id in stream order."""
    ids: Int[np.ndarray, "u"]
    """The ids that occur, ascending."""
    id_index: Int[np.ndarray, "t"]
    """Index in `ids` of each token's id."""
    document_index: Int[np.ndarray, "t"]
    """Documents, counted from the first one here."""
    document_starts: Int[np.ndarray, "documents"]
    """Index of each document's first token."""
    hashes: UInt64[np.ndarray, "t"]
    """`position_hash` of each token."""
    by_hash: Int[np.ndarray, "t"]
    hash_rank: Int[np.ndarray, "t"]
    """Index of each token in `by_hash`."""

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, tokens: TokenSample) -> "SortedTokens":
        """Sort the tokens once for all neurons; t >= 1."""
        # numpy sorts integers of 16 bits by counting them, ten times as fast.
        narrow = tokens.ids.astype(np.uint16) if tokens.ids.max() < 2**16 else tokens.ids
        by_id = np.argsort(narrow, kind="stable")
        ids, counts = np.unique(tokens.ids[by_id], return_counts=True)
        id_index = np.empty(len(tokens), dtype=np.intp)
        id_index[by_id] = np.repeat(np.arange(len(ids)), counts)
        is_first = np.diff(tokens.document, prepend=-1) != 0
        hashes = position_hash(tokens.stream_position)
        by_hash = np.argsort(hashes)  # no two positions have one hash
        hash_rank = np.empty_like(by_hash)
        hash_rank[by_hash] = np.arange(len(by_hash))
        return cls(
            tokens=tokens,
            by_id=by_id,
            ids=ids,
            id_index=id_index,
            document_index=np.cumsum(is_first) - 1,
            document_starts=np.flatnonzero(is_first),
            hashes=hashes,
            by_hash=by_hash,
            hash_rank=hash_rank,
        )


def sample_share(n_tokens: int, n_neurons: int, sample_tokens: int | None) -> float:
    """Share of the tokens that the sample holds; 1 where it holds all of them."""
    wanted = SAMPLE_BUDGET // (2 * n_neurons) if sample_tokens is None else sample_tokens
    return min(1.0, wanted / n_tokens)


def document_halves(sha256: list[str]) -> Bool[np.ndarray, "documents"]:
    """True for documents of the score-fit half; by a hash of its own, so that it does not follow the data's split."""
    digests = (hashlib.sha256(f"score-half/{digest}".encode()).digest() for digest in sha256)
    return np.array([digest[0] < 128 for digest in digests], dtype=bool)


def position_hash(stream_position: Int[np.ndarray, "t"]) -> UInt64[np.ndarray, "t"]:
    """splitmix64 of a position in the stream (Steele, Lea and Flood, 2014)."""
    z = stream_position.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def counted_tokens(
    tokens: TokenFile, first: int, rows: Int[Tensor, "rows row"], is_fit: Bool[np.ndarray, "documents"]
) -> tuple[Int[np.ndarray, "t"], TokenSample]:
    """The tokens of some rows that count, and their indices among the rows x n_ctx positions that the model reads."""
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


def counted_in_sample(
    tokens: TokenSample, first: int, stop: int, n_ctx: int
) -> tuple[Int[np.ndarray, "t"], TokenSample]:
    """As `counted_tokens` of the rows first..stop, from a sample that holds all tokens; views of it."""
    # BOS stands before every row but not in the stream: the model reads stream position i at i + 1.
    low, high = np.searchsorted(tokens.stream_position, (first * n_ctx - 1, stop * n_ctx - 1))
    counted = select(tokens, slice(low, high))
    return counted.stream_position - (first * n_ctx - 1), counted


def select(tokens: TokenSample, chosen: np.ndarray | slice) -> TokenSample:
    """The tokens at some indices, in a slice, or where a mask is true."""
    return TokenSample(*(getattr(tokens, field.name)[chosen] for field in fields(TokenSample)))


def concatenated(parts: list[TokenSample]) -> TokenSample:
    """Parts of a stream as one."""
    return TokenSample(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(TokenSample))
    )


def is_sampled(stream_position: Int[np.ndarray, "t"], share: float) -> Bool[np.ndarray, "t"]:
    """Which positions a sample of that share holds."""
    if share == 1:
        return np.ones(len(stream_position), dtype=bool)
    return position_hash(stream_position) < np.uint64(share * 2.0**64)


def make_plan(tokens: TokenFile, n_rows: int, share: float) -> Plan:
    """Read the tokens once, without the source, and settle which of them the sample holds.

    Raises:
        BadInput: nothing but separators there, or nothing sampled.
    """
    is_fit = document_halves(tokens.documents()["sha256"].to_list())
    parts, n_tokens, seen = [], 0, np.zeros(len(is_fit), dtype=bool)
    for first in range(0, n_rows, 256):
        rows = tokens.plain_rows(first, min(256, n_rows - first))
        _, counted = counted_tokens(tokens, first, rows, is_fit)
        n_tokens += len(counted)
        seen[counted.document] = True
        parts.append(select(counted, is_sampled(counted.stream_position, share)))
    sample = concatenated(parts)
    if not len(sample):
        raise BadInput(f"{tokens.directory}: no token sampled of {n_tokens}; raise sample_tokens")
    return Plan(sample, share, n_rows, n_tokens, int(seen.sum()), is_fit)
