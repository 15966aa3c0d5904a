"""A run of tokens in the orders that one pass over their activations needs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

from analyze.activations.store import TokenSample
from analyze.activations.token_sample import position_hash

PIECE_BYTES = 2**26
"""Size in bf16 of the activations that one worker turns at a time."""
WIDEST = 256
"""Neurons that are turned at a time, at most."""


@dataclass(frozen=True)
class Piece:
    """Tokens in stream order, and the orders that sums per token id and choices by hash need."""

    tokens: TokenSample
    by_id: Int[np.ndarray, "t"]
    """Tokens in order of their ids, those of one id in stream order."""
    ids: Int[np.ndarray, "u"]
    """The ids that occur, ascending."""
    place: Int[np.ndarray, "t"]
    """Where each token's id stands in `ids`."""
    id_starts: Int[np.ndarray, "v"]
    """Where each id's tokens begin in `by_id`, and t behind them."""
    document_run: Int[np.ndarray, "t"]
    """Their documents, counted from the piece's first."""
    document_starts: Int[np.ndarray, "documents"]
    """Where each of them begins."""
    hashes: UInt64[np.ndarray, "t"]
    """Of their stream positions."""
    by_hash: Int[np.ndarray, "t"]
    hash_rank: Int[np.ndarray, "t"]
    """Each token's place in `by_hash`."""

    def __len__(self) -> int:
        return len(self.tokens)


def piece_of(tokens: TokenSample) -> Piece:
    """Sort the tokens once for all neurons; t >= 1."""
    # numpy sorts integers of 16 bits by counting them, ten times as fast.
    narrow = tokens.ids.astype(np.uint16) if tokens.ids.max() < 2**16 else tokens.ids
    by_id = np.argsort(narrow, kind="stable")
    ids, first = np.unique(tokens.ids[by_id], return_index=True)
    place = np.empty(len(tokens), dtype=np.intp)
    place[by_id] = np.repeat(np.arange(len(ids)), np.diff(first, append=len(tokens)))
    changes = np.flatnonzero(tokens.document[1:] != tokens.document[:-1]) + 1
    document_starts = np.concatenate(([0], changes))
    runs = np.repeat(np.arange(len(document_starts)), np.diff(document_starts, append=len(tokens)))
    hashes = position_hash(tokens.stream_position)
    by_hash = np.argsort(hashes)  # no two positions have one hash
    hash_rank = np.empty_like(by_hash)
    hash_rank[by_hash] = np.arange(len(by_hash))
    return Piece(
        tokens=tokens,
        by_id=by_id,
        ids=ids,
        place=place,
        id_starts=np.append(first, len(tokens)),
        document_run=runs,
        document_starts=document_starts,
        hashes=hashes,
        by_hash=by_hash,
        hash_rank=hash_rank,
    )


def width_for(n_tokens: int) -> int:
    """Neurons to turn at a time: a power of 2, at most 256, within PIECE_BYTES where one neuron fits."""
    fits = max(1, PIECE_BYTES // (2 * n_tokens))
    return min(WIDEST, 1 << (fits.bit_length() - 1))
