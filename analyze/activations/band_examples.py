"""Examples from the whole range of a neuron's activation, chosen by a hash and not by their strength.

The strongest examples are a poor guide to what a neuron does at half its strength. With p the 99.99th percentile of
the neuron's fit activations, band k of 0 to 8 is k / 10 < a / p <= (k + 1) / 10, and band 9 is a > 0.9 p, without an
upper end. The firing threshold is where band 1 begins; values at or below zero are in no band, and a neuron whose p
is not above zero has none. Values are of bf16, as the sample is held.

In each band and half the N_IN_BAND documents are taken whose smallest hash of a position in that band is smallest,
each with that position. So the choice depends neither on the order nor on the pieces in which tokens arrive.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Int16

from analyze.activations.bf16_keys import few_places, from_sort_keys, key_below
from analyze.activations.pieces import Piece

N_BANDS = 10
N_IN_BAND = 5
"""Examples of each neuron, half and band, one a document."""
HALVES = ("fit", "eval")
_GROUPS = len(HALVES) * N_BANDS
_STAGES = (1024, 16384)
"""Tokens, in order of their hashes, after which what is still open is looked for further on."""
_NOTHING = np.iinfo(np.uint64).max


def lower_edges(p9999: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n bands"]:
    """What each band's activations lie above."""
    return p9999[:, None] * np.arange(N_BANDS) / N_BANDS


class BandExamples:
    """The examples of every neuron, half and band, while pieces stream by."""

    def __init__(self, n_neurons: int) -> None:
        shape = (n_neurons * _GROUPS, N_IN_BAND)
        self.edges = np.full((n_neurons, N_BANDS), 0x7FFF, dtype=np.int16)
        """Sort keys that each band's lie above."""
        self.hashes = np.full(shape, _NOTHING, dtype=np.uint64)
        self.documents = np.full(shape, -1, dtype=np.int32)
        self.stream_positions = np.zeros(shape, dtype=np.int64)
        self.positions = np.zeros(shape, dtype=np.int32)
        self.keys = np.zeros(shape, dtype=np.int16)

    def know(self, first: int, p9999: Float[np.ndarray, "n"]) -> None:
        """Set the bands of the neurons from `first` on, before any piece of them is added."""
        edges = lower_edges(np.where(p9999 > 0, p9999, 0.0))
        self.edges[first : first + len(p9999)] = np.where(p9999[:, None] > 0, key_below(edges), 0x7FFF)

    def add(self, first: int, keys: Int16[np.ndarray, "n t"], piece: Piece) -> None:
        """Add a piece's activations of a block of neurons from `first` on."""
        begin = 0
        for stop in (*_STAGES, len(piece)):
            if begin >= min(stop, len(piece)):
                continue
            self._look(first, keys, piece, begin, min(stop, len(piece)))
            begin = stop

    def _look(self, first: int, keys: Int16[np.ndarray, "n t"], piece: Piece, begin: int, stop: int) -> None:
        """Look through the tokens from rank `begin` to `stop` in order of hashes, for what they can still change."""
        n = len(keys)
        groups = slice(first * _GROUPS, (first + n) * _GROUPS)
        # Nothing from here on can enter a group whose last place has a smaller hash than these tokens have.
        smallest = piece.hashes[piece.by_hash[begin]]
        is_open = (self.hashes[groups, -1] > smallest).reshape(n, len(HALVES), N_BANDS)
        lowest = is_open.any(axis=1).argmax(axis=1)
        if not is_open.any():
            return
        # What was looked through before can do no harm.
        columns = None if stop - begin > len(piece) // 2 else piece.by_hash[begin:stop]
        above = self.edges[first + np.arange(n), lowest]
        rows = np.flatnonzero(is_open.any(axis=(1, 2)))
        tokens = [tokens_above(keys[row], above[row], columns) for row in rows]
        row, token = np.repeat(rows, [len(found) for found in tokens]), np.concatenate(tokens)
        key = keys[row, token]
        band = np.full(len(row), -1)
        for edge in self.edges[first : first + n].T:
            band += key > edge[row]
        half = np.where(piece.tokens.is_fit[token], 0, 1)
        group = (row * len(HALVES) + half) * N_BANDS + band
        enters = piece.hashes[token] < self.hashes[groups][group, -1]
        if enters.any():
            self._admit(groups, *smallest_hashes(group[enters], token[enters], piece), keys, piece)

    def _admit(
        self,
        groups: slice,
        group: Int[np.ndarray, "c"],
        token: Int[np.ndarray, "c"],
        keys: Int16[np.ndarray, "n t"],
        piece: Piece,
    ) -> None:
        """Merge candidates, counted from the first of `groups` and in their order, with what the groups hold."""
        touched = group[is_first((group,))]
        place, rank = np.nonzero(self.hashes[groups][touched] < _NOTHING)
        held = (touched[place], rank)
        there = piece.tokens
        both = [
            np.concatenate((old[groups][held], new))
            for old, new in (
                (self.hashes, piece.hashes[token]),
                (self.documents, there.document[token]),
                (self.stream_positions, there.stream_position[token]),
                (self.positions, there.position[token]),
                (self.keys, keys[group // _GROUPS, token]),
            )
        ]
        group = np.concatenate((touched[place], group))
        order = np.lexsort((both[0], both[1], group))
        order = order[is_first((group[order], both[1][order]))]
        order = order[np.lexsort((both[0][order], group[order]))]
        rank = place_in_run(group[order])
        order, rank = order[rank < N_IN_BAND], rank[rank < N_IN_BAND]
        for store, new in zip(self._stores(), both):
            store[groups][group[order], rank] = new[order]

    def _stores(self) -> tuple[np.ndarray, ...]:
        return self.hashes, self.documents, self.stream_positions, self.positions, self.keys

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, to be changed in place on going on."""
        names = ("hashes", "documents", "stream_positions", "positions", "keys")
        return dict(zip(names, self._stores())) | {"edges": self.edges}

    def table(self) -> pl.DataFrame:
        """One row an example: neuron, half, band, rank (by hash), document, stream_position, position, activation."""
        group, rank = np.nonzero(self.hashes < _NOTHING)
        there = (group, rank)
        neuron, half, band = group // _GROUPS, group // N_BANDS % len(HALVES), group % N_BANDS
        return pl.DataFrame(
            {
                "neuron": neuron.astype(np.int32),
                "half": pl.Series(np.array(HALVES)[half], dtype=pl.String),
                "band": band.astype(np.int8),
                "rank": rank.astype(np.int8),
                "document": self.documents[there],
                "stream_position": self.stream_positions[there],
                "position": self.positions[there],
                "activation": from_sort_keys(self.keys[there]).astype(np.float32),
            }
        )


def tokens_above(
    keys: Int16[np.ndarray, "t"], key: np.int16, columns: Int[np.ndarray, "c"] | None
) -> Int[np.ndarray, "d"]:
    """Which tokens, of some or of all, have a neuron's keys above one."""
    if columns is None:
        return few_places(keys > key)
    return columns[few_places(keys.take(columns) > key)]


def smallest_hashes(
    group: Int[np.ndarray, "c"], token: Int[np.ndarray, "c"], piece: Piece
) -> tuple[Int[np.ndarray, "d"], Int[np.ndarray, "d"]]:
    """Of a piece's candidates those of the N_IN_BAND smallest hashes of each group, one a document."""
    bits, document_bits = len(piece).bit_length(), len(piece.document_starts).bit_length()
    packed = (group << document_bits | piece.document_run[token]) << bits | piece.hash_rank[token]
    packed.sort()
    packed = packed[is_first((packed >> bits,))]
    ranked = packed >> (bits + document_bits) << bits | packed & ((1 << bits) - 1)
    ranked.sort()
    ranked = ranked[place_in_run(ranked >> bits) < N_IN_BAND]
    return ranked >> bits, piece.by_hash[ranked & ((1 << bits) - 1)]


def is_first(columns: tuple[Int[np.ndarray, "c"], ...]) -> Bool[np.ndarray, "c"]:
    """Which rows differ from the one before them."""
    first = np.ones(len(columns[0]), dtype=bool)
    first[1:] = np.any([one[1:] != one[:-1] for one in columns], axis=0)
    return first


def place_in_run(values: Int[np.ndarray, "c"]) -> Int[np.ndarray, "c"]:
    """How many of the same value stand right before each one."""
    starts = np.flatnonzero(is_first((values,)))
    return np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
