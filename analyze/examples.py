"""The strongest activations of every neuron, at most one a document, found while tokens stream by."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from analyze.store import TokenSample

N_EXAMPLES = 20
HALVES = ("fit", "eval")


@dataclass(frozen=True)
class Peak:
    """A document's largest activation of every neuron, and at which token."""

    document: int
    half: int
    values: Float[np.ndarray, "n"]
    stream_position: Int[np.ndarray, "n"]
    position: Int[np.ndarray, "n"]

    def or_later(self, later: "Peak") -> "Peak":
        """The peak of a document whose later part is `later`; of equals the earlier stands."""
        better = later.values > self.values
        return Peak(
            self.document,
            self.half,
            np.where(better, later.values, self.values),
            np.where(better, later.stream_position, self.stream_position),
            np.where(better, later.position, self.position),
        )


class TopExamples:
    """The N_EXAMPLES strongest activations of each neuron in each half, one a document.

    Tokens arrive in stream order in pieces of any size; the document that a piece ends in stays open until
    the next one. Of equal activations the earlier one stands, so the result does not depend on the pieces.
    All in numpy on one thread: the steps are many and too small to share out.
    """

    def __init__(self, n_neurons: int) -> None:
        shape = (len(HALVES), n_neurons, N_EXAMPLES)
        self.values = np.full(shape, -np.inf, dtype=np.float32)
        self.documents = np.zeros(shape, dtype=np.int32)
        self.stream_positions = np.zeros(shape, dtype=np.int64)
        self.positions = np.zeros(shape, dtype=np.int32)
        self._open: Peak | None = None

    def update(self, values: Float[Tensor, "t n"], tokens: TokenSample) -> None:
        """Add the next tokens, t >= 1."""
        piece = values.numpy()
        starts = document_starts(tokens.document)
        spans = list(pairwise(starts))
        closed: list[Peak] = []
        head = self._open
        if head is not None and head.document == tokens.document[0]:
            head = head.or_later(peak_of(piece, tokens, *spans.pop(0)))
        if not spans:
            self._open = head
            return
        if head is not None:
            closed.append(head)
        self._open = peak_of(piece, tokens, *spans.pop())
        for half in range(len(HALVES)):
            inner = [span for span in spans if half_of(tokens, span[0]) == half]
            self._admit(half, [one for one in closed if one.half == half], piece, tokens, inner)

    def _admit(
        self,
        half: int,
        known: list[Peak],
        values: Float[np.ndarray, "t n"],
        tokens: TokenSample,
        spans: list[tuple[int, int]],
    ) -> None:
        """Merge finished documents. Where in `spans` a peak lies is looked up only for those that enter."""
        if not known and not spans:
            return
        maxima = np.stack([one.values for one in known] + [values[a:b].max(axis=0) for a, b in spans])
        enters = maxima > self.values[half, :, -1]
        rows = np.flatnonzero(enters.any(axis=0))
        if not len(rows):
            return
        documents = np.array([one.document for one in known] + [tokens.document[a] for a, _ in spans])
        where = np.zeros(maxima.shape, dtype=np.int64)
        position = np.zeros(maxima.shape, dtype=np.int32)
        for index, one in enumerate(known):
            where[index], position[index] = one.stream_position, one.position
        for index, (a, b) in enumerate(spans, start=len(known)):
            neurons = np.flatnonzero(enters[index])
            if len(neurons):
                token = a + values[a:b, neurons].argmax(axis=0)
                where[index, neurons] = tokens.stream_position[token]
                position[index, neurons] = tokens.position[token]
        entering = np.where(enters, maxima, -np.inf)[:, rows].T
        merged = np.concatenate((self.values[half, rows], entering), axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :N_EXAMPLES]
        for store, new in (
            (self.values, entering),
            (self.documents, np.broadcast_to(documents, (len(rows), len(documents)))),
            (self.stream_positions, where[:, rows].T),
            (self.positions, position[:, rows].T),
        ):
            both = np.concatenate((store[half, rows], new), axis=1)
            store[half, rows] = np.take_along_axis(both, order, axis=1)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, to be changed in place on going on, and the document that is open."""
        names = ("values", "documents", "stream_positions", "positions")
        arrays = {name: getattr(self, name) for name in names}
        if self._open is not None:
            one = self._open
            arrays |= {"open": np.array([one.document, one.half], dtype=np.int64), "open.values": one.values}
            arrays |= {"open.stream_position": one.stream_position, "open.position": one.position}
        return arrays

    def reopen(self, state: dict[str, np.ndarray]) -> None:
        """Take up the open document of a state."""
        if "open" in state:
            document, half = state["open"].tolist()
            self._open = Peak(
                document, half, state["open.values"], state["open.stream_position"], state["open.position"]
            )

    def finish(self) -> pl.DataFrame:
        """Close the last document and give the table of examples (see Activations)."""
        if self._open is not None:
            nothing = np.empty((0, len(self._open.values)), dtype=np.float32)
            self._admit(self._open.half, [self._open], nothing, NO_TOKENS, [])
            self._open = None
        half, neuron, rank = np.nonzero(np.isfinite(self.values))
        there = (half, neuron, rank)
        table = pl.DataFrame(
            {
                "neuron": neuron.astype(np.int32),
                "half": pl.Series(np.array(HALVES)[half], dtype=pl.String),
                "rank": rank.astype(np.int32),
                "document": self.documents[there],
                "stream_position": self.stream_positions[there],
                "position": self.positions[there],
                "activation": self.values[there],
            }
        )
        return table.sort("neuron", pl.col("half") == "eval", "rank")


NO_TOKENS = TokenSample(
    *(np.zeros(0, dtype=np.int32) for _ in range(4)),
    stream_position=np.zeros(0, dtype=np.int64),
    is_fit=np.zeros(0, dtype=bool),
)


def document_starts(document: Int[np.ndarray, "t"]) -> list[int]:
    """Where each run of one document begins, and t behind them."""
    changes = np.flatnonzero(document[1:] != document[:-1]) + 1
    return [0, *changes.tolist(), len(document)]


def half_of(tokens: TokenSample, index: int) -> int:
    """Index in HALVES of the half that a token's document belongs to."""
    return 0 if tokens.is_fit[index] else 1


def peak_of(values: Float[np.ndarray, "t n"], tokens: TokenSample, start: int, stop: int) -> Peak:
    """The Peak of the document whose tokens are start..stop of a piece."""
    index = values[start:stop].argmax(axis=0)
    token = start + index
    return Peak(
        document=int(tokens.document[start]),
        half=half_of(tokens, start),
        values=np.take_along_axis(values[start:stop], index[None], axis=0)[0],
        stream_position=tokens.stream_position[token],
        position=tokens.position[token],
    )
