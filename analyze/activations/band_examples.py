"""Examples from the whole range of a neuron's activation, chosen by a hash and not by their strength.

The strongest examples are a poor guide to what a neuron does at half its strength. With p the 99.99th percentile of
the neuron's fit activations, band k of 0 to 8 is k / 10 < a / p <= (k + 1) / 10, and band 9 is a > 0.9 p. Band 1
begins at the firing threshold. Values at or below zero are in no band, and a neuron with p <= 0 has no bands. Values
are bf16, as in the sample.

Each band and half takes the N_IN_BAND documents with the smallest hash of a position in that band, each with that
position. So the choice depends neither on the order of the tokens nor on the chunks in which they arrive.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Int16

from analyze.activations.bf16_keys import few_places, from_sort_keys, key_below
from analyze.activations.settings import DEFAULT
from analyze.activations.store import HALVES
from analyze.activations.token_sample import SortedTokens

N_BANDS = 10
N_IN_BAND = 5
"""Examples of each neuron, half and band, at most one a document."""
_GROUPS = len(HALVES) * N_BANDS
"""Groups of examples of a neuron: its bands of the fit half, then those of the eval half."""
_NOTHING = np.iinfo(np.uint64).max


def lower_edges(p9999: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n bands"]:
    """The value above which each band's activations lie."""
    return p9999[:, None] * np.arange(N_BANDS) / N_BANDS


class BandExamples:
    """The examples of every neuron, half and band, over chunks of the stream.

    Args:
        stages: tokens of a chunk, in order of their hashes, after which the search looks only at groups that can
            still change. It changes no result.
    """

    def __init__(self, n_neurons: int, stages: tuple[int, ...] = DEFAULT.band_stages) -> None:
        shape = (n_neurons * _GROUPS, N_IN_BAND)
        self._stages = stages
        self.edges = np.full((n_neurons, N_BANDS), 0x7FFF, dtype=np.int16)
        """Sort keys above which each band lies."""
        self.hashes = np.full(shape, _NOTHING, dtype=np.uint64)
        self.documents = np.full(shape, -1, dtype=np.int32)
        self.stream_positions = np.zeros(shape, dtype=np.int64)
        self.positions = np.zeros(shape, dtype=np.int32)
        self.keys = np.zeros(shape, dtype=np.int16)

    def set_edges(self, first: int, p9999: Float[np.ndarray, "n"]) -> None:
        """Set the bands of the neurons from `first` on, before any chunk of them is added."""
        edges = lower_edges(np.where(p9999 > 0, p9999, 0.0))
        self.edges[first : first + len(p9999)] = np.where(p9999[:, None] > 0, key_below(edges), 0x7FFF)

    def add(self, first: int, keys: Int16[np.ndarray, "n t"], chunk: SortedTokens) -> None:
        """Add a chunk's activations of a block of neurons from `first` on."""
        begin = 0
        for stop in (*(stage for stage in self._stages if stage < len(chunk)), len(chunk)):
            self._search(first, keys, chunk, begin, stop)
            begin = stop

    def _search(self, first: int, keys: Int16[np.ndarray, "n t"], chunk: SortedTokens, begin: int, stop: int) -> None:
        """Search the tokens from hash rank `begin` to `stop` for examples that can enter a group."""
        n = len(keys)
        groups = slice(first * _GROUPS, (first + n) * _GROUPS)
        # From here on nothing can enter a group whose last hash is smaller than those of these tokens.
        smallest = chunk.hashes[chunk.by_hash[begin]]
        is_open = (self.hashes[groups, -1] > smallest).reshape(n, len(HALVES), N_BANDS)
        lowest = is_open.any(axis=1).argmax(axis=1)
        if not is_open.any():
            return
        # Tokens that an earlier stage searched change nothing here.
        columns = None if stop - begin > len(chunk) // 2 else chunk.by_hash[begin:stop]
        above = self.edges[first + np.arange(n), lowest]
        rows = np.flatnonzero(is_open.any(axis=(1, 2)))
        tokens = [tokens_above(keys[row], above[row], columns) for row in rows]
        row, token = np.repeat(rows, [len(each) for each in tokens]), np.concatenate(tokens)
        key = keys[row, token]
        band = np.full(len(row), -1)
        for edge in self.edges[first : first + n].T:
            band += key > edge[row]
        half = np.where(chunk.tokens.is_fit[token], 0, 1)
        group = (row * len(HALVES) + half) * N_BANDS + band
        enters = chunk.hashes[token] < self.hashes[groups][group, -1]
        if enters.any():
            self._admit(groups, *smallest_hashes(group[enters], token[enters], chunk), keys, chunk)

    def _admit(
        self,
        groups: slice,
        group: Int[np.ndarray, "c"],
        token: Int[np.ndarray, "c"],
        keys: Int16[np.ndarray, "n t"],
        chunk: SortedTokens,
    ) -> None:
        """Merge candidates with the examples of their groups; `group` ascends and counts from the first of `groups`."""
        stores = (self.hashes, self.documents, self.stream_positions, self.positions, self.keys)
        touched = group[is_first((group,))]
        place, rank = np.nonzero(self.hashes[groups][touched] < _NOTHING)
        present, tokens = (touched[place], rank), chunk.tokens
        candidates = (
            chunk.hashes[token],
            tokens.document[token],
            tokens.stream_position[token],
            tokens.position[token],
            keys[group // _GROUPS, token],
        )
        both = [np.concatenate((store[groups][present], new)) for store, new in zip(stores, candidates)]
        group = np.concatenate((touched[place], group))
        order = np.lexsort((both[0], both[1], group))
        order = order[is_first((group[order], both[1][order]))]
        order = order[np.lexsort((both[0][order], group[order]))]
        rank = index_in_run(group[order])
        order, rank = order[rank < N_IN_BAND], rank[rank < N_IN_BAND]
        for store, values in zip(stores, both):
            store[groups][group[order], rank] = values[order]

    def table(self) -> pl.DataFrame:
        """A row an example: neuron, half, band, rank (by hash), document, stream_position, position, activation."""
        group, rank = np.nonzero(self.hashes < _NOTHING)
        present = (group, rank)
        neuron, half, band = group // _GROUPS, group // N_BANDS % len(HALVES), group % N_BANDS
        return pl.DataFrame(
            {
                "neuron": neuron.astype(np.int32),
                "half": pl.Series(np.array(HALVES)[half], dtype=pl.String),
                "band": band.astype(np.int8),
                "rank": rank.astype(np.int8),
                "document": self.documents[present],
                "stream_position": self.stream_positions[present],
                "position": self.positions[present],
                "activation": from_sort_keys(self.keys[present]).astype(np.float32),
            }
        )


def tokens_above(
    keys: Int16[np.ndarray, "t"], key: np.int16, columns: Int[np.ndarray, "c"] | None
) -> Int[np.ndarray, "d"]:
    """The tokens, of `columns` or of all, on which a neuron's key is above `key`."""
    if columns is None:
        return few_places(keys > key)
    return columns[few_places(keys.take(columns) > key)]


def smallest_hashes(
    group: Int[np.ndarray, "c"], token: Int[np.ndarray, "c"], chunk: SortedTokens
) -> tuple[Int[np.ndarray, "d"], Int[np.ndarray, "d"]]:
    """Of a chunk's candidates those with the N_IN_BAND smallest hashes of each group, at most one a document."""
    bits, document_bits = len(chunk).bit_length(), len(chunk.document_starts).bit_length()
    packed = (group << document_bits | chunk.document_index[token]) << bits | chunk.hash_rank[token]
    packed.sort()
    packed = packed[is_first((packed >> bits,))]
    ranked = packed >> (bits + document_bits) << bits | packed & ((1 << bits) - 1)
    ranked.sort()
    ranked = ranked[index_in_run(ranked >> bits) < N_IN_BAND]
    return ranked >> bits, chunk.by_hash[ranked & ((1 << bits) - 1)]


def is_first(columns: tuple[Int[np.ndarray, "c"], ...]) -> Bool[np.ndarray, "c"]:
    """Which rows differ from the row before."""
    first = np.ones(len(columns[0]), dtype=bool)
    first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return first


def index_in_run(values: Int[np.ndarray, "c"]) -> Int[np.ndarray, "c"]:
    """Index of each value in its run of equal values."""
    starts = np.flatnonzero(is_first((values,)))
    return np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
