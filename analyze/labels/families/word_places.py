"""The place of a token in its word: first, second, later, last, or all of it."""

import re
from collections.abc import Iterator

from analyze.labels.base import Span, declared, span_family
from analyze.text.stream import Passage

LETTERS = re.compile(r"[^\W\d_]+")
"""A word: letters of any script in succession. An apostrophe or hyphen parts two words."""

_PLACES = declared(
    "place in word", "exact", True, "a word's first token", "a word's second token", "a word's third or later token"
)
_WHOLE = declared("place in word", "exact", False, "a word's last token of several", "a word of one token")


def _places(passage: Passage) -> Iterator[Span]:
    """Tokens that end on one character (pieces of it) share their place."""
    for match in LETTERS.finditer(passage.text):
        tokens = passage.tokens_of(*match.span())
        ends = sorted({passage.ends[token] for token in tokens})
        if not ends:
            continue
        for label, end in zip(_PLACES, ends[:2]):
            yield Span(label.name, end, end + 1)
        if len(ends) > 2:
            yield Span(_PLACES[2].name, ends[2], match.end())
        yield Span(_WHOLE[len(ends) == 1].name, ends[-1], ends[-1] + 1)


FAMILY = span_family([*_PLACES, *_WHOLE], _places)
