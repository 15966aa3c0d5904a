"""The strongest activations of every neuron, at most one a document, taken while tokens stream by."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.resume import arrays_of
from analyze.activations.store import HALVES, TokenSample

N_EXAMPLES = 20
N_WAITING = 16
"""Documents of a half that are merged at once: to sort after each takes longer than to find its peaks."""


@dataclass(frozen=True)
class Peak:
    """Every neuron's largest activation in a document, and its token, where it is above a floor."""

    document: int
    half: int
    values: Float[np.ndarray, "n"]
    """The floor itself where the document has nothing above it."""
    stream_position: Int[np.ndarray, "n"]
    position: Int[np.ndarray, "n"]

    def take(self, values: Float[np.ndarray, "t n"], tokens: TokenSample, first: int) -> None:
        """Raise it by later tokens, from `first` on; of equal activations the earlier one stays."""
        highest = values.max(axis=0)
        better = np.flatnonzero(highest > self.values)
        if not len(better):
            return
        few = 4 * len(better) < len(highest)
        token = first + (values.take(better, axis=1).argmax(axis=0) if few else values.argmax(axis=0)[better])
        self.values[better] = highest[better]
        self.stream_position[better] = tokens.stream_position[token]
        self.position[better] = tokens.position[token]


class TopExamples:
    """The N_EXAMPLES strongest activations of each neuron in each half, at most one a document.

    Tokens arrive in stream order in parts of any size; the document at the end of a part stays open for the next part.
    Of equal activations the earlier one stays, so the parts do not change the result. All of it is numpy on one
    thread: the steps are many, and too small for more threads.
    """

    def __init__(self, n_neurons: int) -> None:
        shape = (len(HALVES), n_neurons, N_EXAMPLES)
        self.values = np.full(shape, -np.inf, dtype=np.float32)
        self.documents = np.zeros(shape, dtype=np.int32)
        self.stream_positions = np.zeros(shape, dtype=np.int64)
        self.positions = np.zeros(shape, dtype=np.int32)
        self._open: Peak | None = None
        self._waiting: tuple[list[Peak], ...] = tuple([] for _ in HALVES)

    def update(
        self, values: Float[Tensor, "p n"], tokens: TokenSample, rows: Int[np.ndarray, "t"] | None = None
    ) -> None:
        """Add the next tokens, t >= 1.

        Args:
            rows: the row of `values` of each token, ascending; default: all rows.
        """
        activations = values.numpy()
        for start, stop in pairwise(run_starts(tokens.document, rows)):
            document = int(tokens.document[start])
            if self._open is None or self._open.document != document:
                self._close()
                self._open = self._begin(document, 0 if tokens.is_fit[start] else 1)
            row = start if rows is None else rows[start]
            self._open.take(activations[row : row + stop - start], tokens, start)

    def _begin(self, document: int, half: int) -> Peak:
        """A document whose floor is the weakest example so far: nothing below it can enter."""
        floor = self.values[half, :, -1].copy()
        where = np.zeros(len(floor), dtype=np.int64)
        return Peak(document, half, floor, where, np.zeros(len(floor), dtype=np.int32))

    def _close(self) -> None:
        if self._open is not None:
            waiting = self._waiting[self._open.half]
            waiting.append(self._open)
            if len(waiting) == N_WAITING:
                self._merge(self._open.half)
            self._open = None

    def _merge(self, half: int) -> None:
        """Merge the documents that wait with the examples so far."""
        waiting = self._waiting[half]
        if not waiting:
            return
        maxima = np.stack([peak.values for peak in waiting])
        enters = maxima > self.values[half, :, -1]
        rows = np.flatnonzero(enters.any(axis=0))
        entering = np.where(enters, maxima, -np.inf)[:, rows].T
        merged = np.concatenate((self.values[half, rows], entering), axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :N_EXAMPLES]
        documents = np.array([peak.document for peak in waiting])
        for store, new in (
            (self.values, entering),
            (self.documents, np.broadcast_to(documents, (len(rows), len(documents)))),
            (self.stream_positions, np.stack([peak.stream_position for peak in waiting])[:, rows].T),
            (self.positions, np.stack([peak.position for peak in waiting])[:, rows].T),
        ):
            both = np.concatenate((store[half, rows], new), axis=1)
            store[half, rows] = np.take_along_axis(both, order, axis=1)
        waiting.clear()

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, which a resumed collection overwrites in place, and the open document."""
        for half in range(len(HALVES)):
            self._merge(half)
        arrays = arrays_of(self)
        if (peak := self._open) is not None:
            arrays |= {"open": np.array([peak.document, peak.half], dtype=np.int64), "open.values": peak.values}
            arrays |= {"open.stream_position": peak.stream_position, "open.position": peak.position}
        return arrays

    def reopen(self, state: dict[str, np.ndarray]) -> None:
        """Go on with the open document of a state."""
        if "open" in state:
            document, half = state["open"].tolist()
            self._open = Peak(
                document, half, state["open.values"], state["open.stream_position"], state["open.position"]
            )

    def finish(self) -> pl.DataFrame:
        """Close the last document; returns the table of examples (see Activations)."""
        self._close()
        for half in range(len(HALVES)):
            self._merge(half)
        half, neuron, rank = np.nonzero(np.isfinite(self.values))
        present = (half, neuron, rank)
        table = pl.DataFrame(
            {
                "neuron": neuron.astype(np.int32),
                "half": pl.Series(np.array(HALVES)[half], dtype=pl.String),
                "rank": rank.astype(np.int32),
                "document": self.documents[present],
                "stream_position": self.stream_positions[present],
                "position": self.positions[present],
                "activation": self.values[present],
            }
        )
        return table.sort("neuron", pl.col("half") == "eval", "rank")


def run_starts(document: Int[np.ndarray, "t"], rows: Int[np.ndarray, "t"] | None) -> list[int]:
    """Index of the first token of each run of one document and consecutive rows; and last, t."""
    changes = document[1:] != document[:-1]
    if rows is not None:
        changes |= rows[1:] != rows[:-1] + 1
    return [0, *(np.flatnonzero(changes) + 1).tolist(), len(document)]
