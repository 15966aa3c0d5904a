"""Labels by a token's own spelling: classes of tokens, endings, number of bytes."""

import numpy as np

from analyze.labels.base import Family, Label, Labelled
from analyze.text.stream import Stream
from analyze.text.vocabulary import SUFFIXES

_ENDINGS = {f"a word in {name}": f"a token that ends in {name}" for name in SUFFIXES}


def _find(stream: Stream) -> Labelled:
    ids = stream.ids[stream.positions]
    for name, inside in stream.vocabulary.classes.items():
        family = "endings" if name in _ENDINGS else "token classes"
        spelled = "by the spelling of this one token"
        yield Label(_ENDINGS.get(name, name), family, "exact", True, spelled), stream.positions[inside[ids]]
    size = np.array([len(piece) for piece in stream.vocabulary.pieces])[ids]
    for name, inside in (
        ("a token of one byte", size == 1),
        ("a token of two or three bytes", (size == 2) | (size == 3)),
        ("a token of four to six bytes", (size >= 4) & (size <= 6)),
        ("a token of seven or more bytes", size >= 7),
    ):
        yield Label(name, "token classes", "exact", True), stream.positions[inside]


FAMILY = Family("token classes", _find)
