"""What needs the firing thresholds first: rates, documents, sums per token id, bands; over all tokens, by pieces."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int16

from analyze.bands import BandExamples
from analyze.keys import from_sort_keys, key_below
from analyze.moments import FIRING_SHARE
from analyze.pieces import Piece, width_for
from analyze.token_sums import Spill, TokenTable, joined_tables


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
        ordered = keys.take(piece.by_id)
        at = np.flatnonzero(ordered > firing.thresholds[neuron])
        firing.fired[neuron] += len(at)
        fired_in = np.maximum.reduceat(keys, piece.document_starts) > firing.thresholds[neuron]
        fired_in[0] |= self.carried[neuron]
        firing.documents[neuron] += np.count_nonzero(fired_in) - int(self.carried[neuron])
        firing.open[neuron] = fired_in[-1]
        bounds = np.searchsorted(at, piece.id_starts)
        count = np.diff(bounds)
        there = np.flatnonzero(count)
        starts = np.array([0, len(there)])
        if not len(there):
            nothing = np.zeros(0)
            return TokenTable(starts, nothing.astype(np.int32), nothing.astype(np.int32), nothing, nothing)
        values = from_sort_keys(ordered.take(at))
        total = np.add.reduceat(values, bounds[there])
        squares = np.add.reduceat(values * values, bounds[there])
        firing.total[neuron] += total.sum()
        firing.squares[neuron] += squares.sum()
        return TokenTable(starts, piece.ids[there].astype(np.int32), count[there].astype(np.int32), total, squares)


def blocks_for(n_neurons: int, n_tokens: int) -> list[tuple[int, int]]:
    """First and stop of the blocks of neurons that a piece of so many tokens is turned in."""
    width = width_for(n_tokens)
    return [(first, min(first + width, n_neurons)) for first in range(0, n_neurons, width)]
