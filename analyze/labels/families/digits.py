"""The place of a digit in its number, and how many digits that has."""

from collections.abc import Iterator

from analyze.labels.base import Span, declared, span_family
from analyze.text.stream import Passage

_PLACES = declared(
    "digits",
    "exact",
    True,
    "the first digit of a number",
    "the second digit of a number",
    "the third digit of a number",
    "the fourth digit of a number",
    "the fifth or a later digit of a number",
    note="digits in succession that follow no letter, point or comma",
)
_SIZES = declared(
    "digits",
    "exact",
    False,
    "in a number of one digit",
    "in a number of two digits",
    "in a number of three digits",
    "in a number of four digits",
    "in a number of five or more digits",
)
_LAST = declared("digits", "exact", False, "the last digit of a number of two or more")


def _spans(passage: Passage) -> Iterator[Span]:
    text, at = passage.text, 0
    while at < len(text):
        if not "0" <= text[at] <= "9":
            at += 1
            continue
        start = at
        while at < len(text) and "0" <= text[at] <= "9":
            at += 1
        before = text[start - 1] if start else " "
        if before == "_" or before.isalpha() or (before in ".," and start > 1 and "0" <= text[start - 2] <= "9"):
            continue
        for place in range(min(at - start, 4)):
            yield Span(_PLACES[place].name, start + place, start + place + 1)
        if at - start > 4:
            yield Span(_PLACES[4].name, start + 4, at)
        yield Span(_SIZES[min(at - start, 5) - 1].name, start, at)
        if at - start > 1:
            yield Span(_LAST[0].name, at - 1, at)


FAMILY = span_family([*_PLACES, *_SIZES, *_LAST], _spans)
