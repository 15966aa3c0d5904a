"""How many letters a token's word has."""

from collections.abc import Iterator

from analyze.labels.base import Span, bin_of, declared, span_family
from analyze.labels.families.word_places import LETTERS
from analyze.text.stream import Passage

_LENGTHS = (
    ("in a word of one letter", 1),
    ("in a word of two or three letters", 2),
    ("in a word of four to six letters", 4),
    ("in a word of seven to nine letters", 7),
    ("in a word of ten or more letters", 10),
)
_LABELS = declared("word length", "exact", False, *(name for name, _ in _LENGTHS))


def _spans(passage: Passage) -> Iterator[Span]:
    for match in LETTERS.finditer(passage.text):
        yield Span(bin_of(_LENGTHS, match.end() - match.start()), *match.span())


FAMILY = span_family(_LABELS, _spans)
