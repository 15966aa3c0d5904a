"""Lines: their ends, their indentation, their place in a document, columns."""

from collections.abc import Iterator

from analyze.labels.base import Span, bin_of, declared, span_family
from analyze.text.stream import Passage

_LEVELS = (
    ("in a line that is not indented", 0),
    ("in a line indented by 1 to 4 columns", 1),
    ("in a line indented by 5 to 8 columns", 5),
    ("in a line indented by 9 to 12 columns", 9),
    ("in a line indented by 13 or more columns", 13),
)
_NUMBERS = (
    ("in the first line of a document", 0),
    ("in the second line of a document", 1),
    ("in lines 3 to 5 of a document", 2),
    ("in lines 6 to 20 of a document", 5),
    ("in a line after the twentieth of a document", 20),
)
_TABS = "from the line's first sign that is no blank; a tab reaches to the next multiple of eight"
_INDENTED = declared("indentation", "exact", True, *(name for name, _ in _LEVELS), note=_TABS)
_CHANGES = declared(
    "indentation",
    "exact",
    True,
    "in a line indented deeper than the one above",
    "in a line indented less than the one above",
    "in a line indented like the one above",
    "in a line indented by a tab",
    "white space that indents a line",
    note="the one above: the last line that was not blank",
)
_PLACES = declared(
    "lines",
    "exact",
    True,
    *(name for name, _ in _NUMBERS),
    "the first token of a line",
    "the first word of a line",
    "in a line after a blank line",
    "the first token of a paragraph",
    "in columns 41 to 80 of a line",
    "past column 80 of a line",
)
_ENDS = declared(
    "lines",
    "exact",
    False,
    "the last token of a line",
    "the last word of a line",
    "in the last line of a document",
    "in a blank line",
)


def _spans(passage: Passage) -> Iterator[Span]:
    text, above, blank_before, paragraphs = passage.text, -1, False, 0
    lines = list(passage.lines())
    for number, (start, stop) in enumerate(lines):
        line = text[start:stop]
        body = start + len(line) - len(line.lstrip(" \t"))
        yield Span(bin_of(_NUMBERS, number), start, stop + 1)
        if body > start:
            yield Span("white space that indents a line", start, body)
        yield Span("in columns 41 to 80 of a line", start + 40, min(stop, start + 80))
        yield Span("past column 80 of a line", start + 80, stop)
        if body == stop:
            if number + 1 < len(lines):
                yield Span("in a blank line", start, stop + 1)
            blank_before = number > 0 or bool(paragraphs)
            continue
        column = len(text[start:body].expandtabs(8))
        yield Span(bin_of(_LEVELS, column), body, stop)
        if "\t" in text[start:body]:
            yield Span("in a line indented by a tab", body, stop)
        if above >= 0:
            change = "deeper than" if column > above else "less than" if column < above else "like"
            yield Span(f"in a line indented {change} the one above", body, stop)
        if blank_before and paragraphs:
            yield Span("in a line after a blank line", body, stop)
        if ends := passage.token_at(body, stop):
            yield Span("the first token of a line", *ends)
            if blank_before or not paragraphs:
                yield Span("the first token of a paragraph", *ends)
        yield from _words(text, body, stop)
        last = passage.tokens_of(body, stop)
        if last:
            yield Span("the last token of a line", passage.ends[last[-1]], passage.ends[last[-1]] + 1)
        above, blank_before, paragraphs = column, False, paragraphs + 1
    yield Span("in the last line of a document", *lines[-1])


def _words(text: str, body: int, stop: int) -> Iterator[Span]:
    end = body
    while end < stop and text[end].isalnum():
        end += 1
    if end > body:
        yield Span("the first word of a line", body, end)
    at = stop
    while at > body and text[at - 1].isalnum():
        at -= 1
    if at < stop:
        yield Span("the last word of a line", at, stop)


FAMILY = span_family([*_PLACES, *_ENDS, *_INDENTED, *_CHANGES], _spans)
