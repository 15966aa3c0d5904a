"""Sentences of prose: where they begin and end, and a word's place in one."""

import re
from collections.abc import Iterator

from analyze.labels.base import Span, bin_of, declared, span_family
from analyze.text.stream import Passage

_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s)\s+|\n[ \t]*\n\s*")
_ABBREVIATION = re.compile(
    r"[\s(\[\"'“‘](?:[^\W\d_]|Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|vs|etc|ca|cf|al|no|No|vol|pp|Gen|Col|Lt|Capt|Rev|Inc|Ltd|Co|approx"
    r"|(?:[A-Za-z]\.)+[A-Za-z])$"
)
_LONGEST = 24
_WORD = re.compile(r"[^\W_]+")
_NOTE = "a full stop, white space, a capital or digit; an initial or known abbreviation ends nothing; prose alone"
_WORDS = (
    ("in the first word of a sentence", 0),
    ("in the second word of a sentence", 1),
    ("in words 3 to 5 of a sentence", 2),
    ("in words 6 to 10 of a sentence", 5),
    ("in words 11 to 20 of a sentence", 10),
    ("past the twentieth word of a sentence", 20),
)
_SENTENCES = (
    ("in the first sentence of a document", 0),
    ("in the second sentence of a document", 1),
    ("in the third sentence of a document", 2),
    ("in the fourth or a later sentence of a document", 3),
)
_NOW = declared(
    "sentences",
    "rule",
    True,
    *(name for name, _ in (*_WORDS, *_SENTENCES)),
    "the first token of a sentence",
    note=_NOTE,
)
_LATER = declared(
    "sentences",
    "rule",
    False,
    "the last word of a sentence",
    "the mark that ends a sentence",
    "a full stop that ends no sentence",
    "in a question",
    "in a sentence of ten words or fewer",
    "in a sentence of more than thirty words",
    note=_NOTE,
)


def sentences_of(text: str) -> list[tuple[int, int]]:
    """(start, stop) of each sentence with the white space after it; together the whole text.

    The text up to its first sign decides where one begins, so a model can know it there.
    """
    starts = [0]
    for match in _END.finditer(text):
        after = text[match.end() : match.end() + 1]
        if match.group()[0] == "\n":
            begins = bool(after)
        else:
            # The sign that may open a sentence decides, not what follows it.
            opens = after.isupper() or after.isdigit() or after in tuple("\"'“‘([«")
            begins = opens and not (match.group()[0] == "." and _abbreviated(text, match.start()))
        if begins:
            starts.append(match.end())
    return list(zip(starts, [*starts[1:], len(text)]))


def _abbreviated(text: str, stop: int) -> bool:
    """Whether what ends at `stop` is an initial or a known abbreviation: all of them are short."""
    tail = text[max(stop - _LONGEST, 0) : stop]
    return _ABBREVIATION.search(tail if stop > _LONGEST else f" {tail}") is not None


def _spans(passage: Passage) -> Iterator[Span]:
    if passage.content != "prose":
        return
    text, ending = passage.text, set()
    for number, (start, stop) in enumerate(sentences_of(text)):
        yield Span(bin_of(_SENTENCES, number), start, stop)
        words = [(match.start(), match.end()) for match in _WORD.finditer(text, start, stop)]
        if not words:
            continue
        if ends := passage.token_at(words[0][0], stop):
            yield Span("the first token of a sentence", *ends)
        for place, span in enumerate(words):
            yield Span(bin_of(_WORDS, place), *span)
        yield Span("the last word of a sentence", *words[-1])
        end = len(text[start:stop].rstrip()) + start
        mark = end
        while mark > words[-1][1] and text[mark - 1] not in ".!?":
            mark -= 1
        if mark > words[-1][1]:
            ending.add(mark - 1)
            yield Span("the mark that ends a sentence", mark - 1, mark)
            if text[mark - 1] == "?":
                yield Span("in a question", start, stop)
        if len(words) <= 10:
            yield Span("in a sentence of ten words or fewer", start, stop)
        if len(words) > 30:
            yield Span("in a sentence of more than thirty words", start, stop)
    at = text.find(".")
    while at >= 0:
        if at not in ending:
            yield Span("a full stop that ends no sentence", at, at + 1)
        at = text.find(".", at + 1)


FAMILY = span_family([*_NOW, *_LATER], _spans)
