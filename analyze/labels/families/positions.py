"""Where a token stands: in the model's row, in its document."""

import numpy as np

from analyze.labels.base import Family, Label, Labelled
from analyze.text.stream import Stream

BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 128), (129, 256))


def _ranges(what: str, most: int | None) -> list[tuple[str, int, int]]:
    """(name, first, last) of each bin that begins within `most`; the last bin has no end."""
    bins = [(first, last) for first, last in BINS if most is None or first <= most]
    named = [
        (f"{what} {first}" if first == last else f"{what}s {first} to {last}", first, last) for first, last in bins
    ]
    return [*named, (f"{what}s after {bins[-1][1]}", bins[-1][1] + 1, np.iinfo(np.int64).max)]


def _find(stream: Stream) -> Labelled:
    at = stream.positions
    row = stream.row_position[at]
    within = at - np.repeat(stream.starts, stream.lengths) + 1
    left = np.repeat(stream.lengths, stream.lengths) - within
    for name, first, last in _ranges("at row position", stream.n_ctx):
        if first <= stream.n_ctx:
            yield Label(name, "position in row", "exact", True, "1 is the first after BOS"), at[_in(row, first, last)]
    for name, first, last in _ranges("at document position", None):
        yield Label(name, "position in document", "exact", True), at[_in(within, first, last)]
    yield Label("the last token of a document", "position in document", "exact", False), at[left == 0]
    yield Label("among the last eight tokens of a document", "position in document", "exact", False), at[left < 8]
    before = np.concatenate([[-1], stream.document[:-1]])
    broken = (row == 1) & (before[at] == stream.document[at])
    cut = np.repeat(np.bincount(stream.document[at][broken], minlength=len(stream.starts)) > 0, stream.lengths)
    continued = cut & (row <= within - 1)
    note = "the row began amid the document, so the model has not seen its start"
    yield Label("in a document whose start lies outside the row", "position in row", "exact", True, note), at[continued]


def _in(values: np.ndarray, first: int, last: int) -> np.ndarray:
    return (values >= first) & (values <= last)


FAMILY = Family("position", _find)
