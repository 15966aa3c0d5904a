"""What needs the firing thresholds first: rates, documents, sums per token id, bands; over all tokens, by pieces."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int16

from analyze.activations.band_examples import BandExamples
from analyze.activations.bf16_keys import from_sort_keys, key_below
from analyze.activations.moments import FIRING_SHARE
from analyze.activations.pieces import Piece, width_for
from analyze.activations.token_sums import Spill, TokenTable, joined_tables


class Firing:
    """Counts and sums of every neuron above its threshold, while pieces of the stream go by in order.

    A token's place in the stream decides everything, so the result does not depend on the pieces but for the order
    in which fp64 sums are taken, and that follows the pieces alone.

    Args:
        directory: where sums per token are kept until they are written.
    """

    def __init__(self, n_neurons: int, d_vocab: int, directory: Path) -> None:
        n = n_neurons
        self.thresholds = np.zeros(n, dtype=np.int16)
        self.bands = BandExamples(n)
        self.sums = Spill(directory, d_vocab)
        self.fired = np.zeros(n, dtype=np.int64)
        self.documents = np.zeros(n, dtype=np.int64)
        self.occurrences = np.zeros(d_vocab, dtype=np.int64)
        self.total = np.zeros(n)
        self.squares = np.zeros(n)
        self.open = np.zeros(n, dtype=bool)
        """Whether each neuron has fired in the document that the last piece ended in."""
        self.last_document = np.full(1, -1, dtype=np.int64)

    def know(self, first: int, p9999: Float[np.ndarray, "n"]) -> None:
        """Set the thresholds of the neurons from `first` on, before any piece of them is added."""
        self.thresholds[first : first + len(p9999)] = key_below(FIRING_SHARE * p9999)
        self.bands.know(first, p9999)

    def begin(self, piece: Piece) -> "FiringPiece":
        """Take the next piece, whose blocks of neurons are then added in any order, all of them."""
        self.occurrences += np.bincount(piece.tokens.ids, minlength=len(self.occurrences))
        same = bool(piece.tokens.document[0] == self.last_document[0])
        self.last_document[0] = piece.tokens.document[-1]
        return FiringPiece(self, piece, self.open & same)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, to be changed in place on going on; the spill's own state apart."""
        names = ("thresholds", "fired", "documents", "occurrences", "total", "squares", "open", "last_document")
        return {name: getattr(self, name) for name in names} | {
            f"bands.{name}": array for name, array in self.bands.state().items()
        }


@dataclass(frozen=True)
class FiringPiece:
    """One piece of the stream, and what the one before it left open."""

    firing: Firing
    piece: Piece
    carried: Bool[np.ndarray, "n"]

    def add(self, first: int, keys: Int16[np.ndarray, "n t"]) -> TokenTable:
        """Count a block of neurons from `first` on; the sums per token come back, for the spill."""
        self.firing.bands.add(first, keys, self.piece)
        return joined_tables([self._neuron(first + index, row) for index, row in enumerate(keys)])

    def _neuron(self, neuron: int, keys: Int16[np.ndarray, "t"]) -> TokenTable:
        """Everything about one neuron; `keys` in stream order."""
        firing, piece = self.firing, self.piece
        at = np.flatnonzero(keys > firing.thresholds[neuron])
        firing.fired[neuron] += len(at)
        fired_in = np.maximum.reduceat(keys, piece.document_starts) > firing.thresholds[neuron]
        fired_in[0] |= self.carried[neuron]
        firing.documents[neuron] += np.count_nonzero(fired_in) - int(self.carried[neuron])
        firing.open[neuron] = fired_in[-1]
        if not len(at):
            nothing = np.zeros(0)
            return TokenTable(np.zeros(2, int), nothing.astype(np.int32), nothing.astype(np.int32), nothing, nothing)
        place = piece.place.take(at)
        count = np.bincount(place, minlength=len(piece.ids))
        there = np.flatnonzero(count)
        found = keys.take(at)
        if adds_exactly(int(firing.thresholds[neuron]) + 1, int(found.max()), len(at)):
            values = from_sort_keys(found)
            total = np.bincount(place, values)[there]
            squares = np.bincount(place, values * values)[there]
        else:
            in_order = keys.take(piece.by_id)
            values = from_sort_keys(in_order[in_order > firing.thresholds[neuron]])
            starts = np.cumsum(count[there]) - count[there]
            total, squares = np.add.reduceat(values, starts), np.add.reduceat(values * values, starts)
        firing.total[neuron] += total.sum()
        firing.squares[neuron] += squares.sum()
        ends = np.array([0, len(there)])
        return TokenTable(ends, piece.ids[there].astype(np.int32), count[there].astype(np.int32), total, squares)


def adds_exactly(lowest: int, highest: int, count: int) -> bool:
    """Whether sums of so many bf16 values and of their squares are exact in fp64, in whatever order they are added.

    Above zero all values are multiples of the last place of the smallest; in it the largest has the 8 bits of a
    bf16 number and one more an octave between them.

    Args:
        lowest: a sort key that none lies below.
        highest: the largest sort key.
    """
    bits = 8 + (highest >> 7) - max(lowest >> 7, 1)
    return lowest > 0 and count.bit_length() + 2 * bits <= 53


def blocks_for(n_neurons: int, n_tokens: int) -> list[tuple[int, int]]:
    """First and stop of the blocks of neurons that a piece of so many tokens is turned in."""
    width = width_for(n_tokens)
    return [(first, min(first + width, n_neurons)) for first in range(0, n_neurons, width)]
