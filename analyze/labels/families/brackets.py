"""Brackets: how deep, of which kind, and what stands just inside."""

from collections.abc import Iterator

from analyze.labels.base import Span, declared, span_family
from analyze.labels.python_scanner import known_spans, scan
from analyze.text.stream import Passage

_CLOSES = {"(": ")", "[": "]", "{": "}"}
_OPENS = {close: opening for opening, close in _CLOSES.items()}
_INSIDE = {"(": "inside round brackets", "[": "inside square brackets", "{": "inside curly brackets"}
_NOTE = "in prose a line's end closes all brackets; in Python strings and comments hold none"
_BRACKETS = declared(
    "brackets",
    "exact",
    True,
    "inside brackets, one deep",
    "inside brackets, two deep",
    "inside brackets, three or more deep",
    *_INSIDE.values(),
    "an opening bracket of any kind",
    "a closing bracket that matches",
    "a closing bracket that matches none",
    "the first token inside brackets",
    note=_NOTE,
)
_LAST = declared("brackets", "exact", False, "in brackets that never close", note=_NOTE)
_DEPTHS = ("inside brackets, one deep", "inside brackets, two deep", "inside brackets, three or more deep")


def _marks(passage: Passage) -> Iterator[tuple[int, str]]:
    """(offset, sign) of every bracket; a line's end where it closes what is open."""
    if passage.is_python:
        for token in scan(passage).tokens:
            if token.kind == "op" and token.text in "()[]{}":
                yield token.start, token.text
        return
    for at, sign in enumerate(passage.text):
        if sign in "()[]{}\n":
            yield at, sign


def _all_spans(passage: Passage) -> Iterator[Span]:
    opened: list[tuple[str, int]] = []
    since, line_end = 0, -1
    for at, sign in [*_marks(passage), (len(passage.text), "")]:
        if opened:
            yield Span(_DEPTHS[min(len(opened), 3) - 1], since, at)
            yield Span(_INSIDE[opened[-1][0]], since, at)
        since = at + 1
        if sign in ("\n", ""):
            yield from (Span("in brackets that never close", start, at) for _, start in opened)
            opened = []
        elif sign in _CLOSES:
            opened.append((sign, at + 1))
            yield Span("an opening bracket of any kind", at, at + 1)
            if at > line_end:
                line_end = passage.text.find("\n", at) % (len(passage.text) + 1)
            if ends := passage.token_at(at + 1, line_end):
                yield Span("the first token inside brackets", *ends)
        elif opened and opened[-1][0] == _OPENS[sign]:
            opened.pop()
            yield Span("a closing bracket that matches", at, at + 1)
        else:
            yield Span("a closing bracket that matches none", at, at + 1)


def _spans(passage: Passage) -> Iterator[Span]:
    if passage.is_python:
        return known_spans(passage, _all_spans(passage))
    # Where strings and comments begin is not known of other code, nor whether an unknown text has any.
    return _all_spans(passage) if passage.content == "prose" else iter(())


FAMILY = span_family([*_BRACKETS, *_LAST], _spans)
