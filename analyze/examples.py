"""The strongest activations of every neuron, at most one a document, found while tokens stream by."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.moments import document_starts
from analyze.store import TokenSample

N_EXAMPLES = 20
HALVES = ("fit", "eval")


@dataclass
class Peak:
    """A document's largest activation of every neuron, and at which token."""

    document: int
    half: int
    values: Float[Tensor, "n"]
    stream_position: Int[Tensor, "n"]
    position: Int[Tensor, "n"]


class TopExamples:
    """The N_EXAMPLES strongest activations of each neuron in each half, one a document.

    Tokens arrive in stream order in pieces of any size; the document that a piece ends in stays open until
    the next one. Of equal activations the earlier one stands, so the result does not depend on the pieces.
    """

    def __init__(self, n_neurons: int) -> None:
        shape = (len(HALVES), n_neurons, N_EXAMPLES)
        self.values = torch.full(shape, -torch.inf)
        self.documents = torch.zeros(shape, dtype=torch.int32)
        self.stream_positions = torch.zeros(shape, dtype=torch.int64)
        self.positions = torch.zeros(shape, dtype=torch.int32)
        self._open: Peak | None = None

    def update(self, values: Float[Tensor, "t n"], tokens: TokenSample) -> None:
        """Add the next tokens, t >= 1."""
        starts = document_starts(tokens.document)
        spans = list(pairwise(starts))
        closed: list[Peak] = []
        head = self._open
        if head is not None and head.document == tokens.document[0]:
            self._extend(head, peak_of(values, tokens, *spans.pop(0)))
        if not spans:
            return
        if head is not None:
            closed.append(head)
        self._open = peak_of(values, tokens, *spans.pop())
        for half in range(len(HALVES)):
            inner = [span for span in spans if tokens.is_fit[span[0]] == (half == 0)]
            self._admit(half, [peak for peak in closed if peak.half == half], values, tokens, inner)

    @staticmethod
    def _extend(head: Peak, more: Peak) -> None:
        better = more.values > head.values
        head.values = torch.where(better, more.values, head.values)
        head.stream_position = torch.where(better, more.stream_position, head.stream_position)
        head.position = torch.where(better, more.position, head.position)

    def _admit(
        self,
        half: int,
        known: list[Peak],
        values: Float[Tensor, "t n"],
        tokens: TokenSample,
        spans: list[tuple[int, int]],
    ) -> None:
        """Merge finished documents. Where in `spans` a peak lies is looked up only for those that enter."""
        if not known and not spans:
            return
        maxima = torch.stack([peak.values for peak in known] + [values[a:b].amax(0) for a, b in spans])
        enters = maxima > self.values[half, :, -1]
        rows = enters.any(0).nonzero().flatten()
        if not len(rows):
            return
        documents = torch.tensor(
            [peak.document for peak in known] + [int(tokens.document[a]) for a, _ in spans], dtype=torch.int32
        )
        where = torch.zeros(maxima.shape, dtype=torch.int64)
        position = torch.zeros(maxima.shape, dtype=torch.int32)
        for index, peak in enumerate(known):
            where[index], position[index] = peak.stream_position, peak.position
        for index, (a, b) in enumerate(spans, start=len(known)):
            neurons = enters[index].nonzero().flatten()
            if len(neurons):
                token = a + values[a:b].index_select(1, neurons).argmax(0).numpy()
                where[index, neurons] = torch.from_numpy(tokens.stream_position[token]).long()
                position[index, neurons] = torch.from_numpy(tokens.position[token]).int()
        entering = torch.where(enters, maxima, -torch.inf)[:, rows].T
        merged = torch.cat((self.values[half, rows], entering), 1)
        best, order = torch.sort(merged, dim=1, descending=True, stable=True)
        order = order[:, :N_EXAMPLES]
        self.values[half, rows] = best[:, :N_EXAMPLES]
        for store, new in (
            (self.documents, documents[:, None].expand(-1, len(rows)).T),
            (self.stream_positions, where[:, rows].T),
            (self.positions, position[:, rows].T),
        ):
            store[half, rows] = torch.cat((store[half, rows], new), 1).gather(1, order)

    def finish(self) -> pl.DataFrame:
        """Close the last document and give the table of examples (see Activations)."""
        if self._open is not None:
            empty = torch.empty(0, len(self._open.values))
            self._admit(self._open.half, [self._open], empty, NO_TOKENS, [])
            self._open = None
        there = torch.isfinite(self.values)
        half, neuron, rank = there.nonzero(as_tuple=True)
        table = pl.DataFrame(
            {
                "neuron": neuron.int().numpy(),
                "half": pl.Series(np.array(HALVES)[half.numpy()], dtype=pl.String),
                "rank": rank.int().numpy(),
                "document": self.documents[there].numpy(),
                "stream_position": self.stream_positions[there].numpy(),
                "position": self.positions[there].numpy(),
                "activation": self.values[there].numpy(),
            }
        )
        return table.sort("neuron", pl.col("half") == "eval", "rank")


NO_TOKENS = TokenSample(
    *(np.zeros(0, dtype=np.int32) for _ in range(4)),
    stream_position=np.zeros(0, dtype=np.int64),
    is_fit=np.zeros(0, dtype=bool),
)


def peak_of(values: Float[Tensor, "t n"], tokens: TokenSample, start: int, stop: int) -> Peak:
    """The Peak of the document whose tokens are start..stop of a piece."""
    best, index = values[start:stop].max(0)
    token = start + index.numpy()
    return Peak(
        document=int(tokens.document[start]),
        half=0 if tokens.is_fit[start] else 1,
        values=best,
        stream_position=torch.from_numpy(tokens.stream_position[token]).long(),
        position=torch.from_numpy(tokens.position[token]).int(),
    )
