"""Words by their letters: case, place of a token in its word, length, compounds."""

import re
from collections.abc import Iterator

from analyze.labels.base import Family, Passage, Pattern, Span, declared, pattern_family, span_family

LETTERS = re.compile(r"[^\W\d_]+")
"""A word: letters of any script in succession. What an apostrophe or hyphen joins are two words here."""

_U, _L = "A-ZÀ-ÖØ-Þ", "a-zß-öø-ÿ"

_CASING = (
    Pattern("in a word that begins with a capital", rf"(?<![^\W\d_])[{_U}][^\W\d_]*", True, "exact"),
    Pattern(
        "in a word in capitals alone, two letters or more", rf"(?<![^\W\d_])[{_U}]{{2,}}(?![^\W\d_])", False, "exact"
    ),
    Pattern("in a word of one capital alone", rf"(?<![^\W\d_])[{_U}](?![^\W\d_])", False, "exact"),
    Pattern(
        "in a capitalised word after a lower-case word",
        rf"(?<=[{_L}] )[{_U}][^\W\d_]*",
        True,
        "exact",
    ),
    Pattern(
        "in the second or later of capitalised words in succession",
        rf"(?:(?<![^\W\d_])[{_U}][{_L}]+ )(?P<at>[{_U}][^\W\d_]*(?: [{_U}][^\W\d_]*)*)",
        True,
        "exact",
    ),
    Pattern(
        "in a word with a capital after a small letter", rf"(?<![^\W\d_])[^\W\d_]*[{_L}][{_U}][^\W\d_]*", False, "exact"
    ),
    Pattern("in a word of small letters alone", rf"(?<![^\W\d_])[{_L}]+(?![^\W\d_])", False, "exact"),
    Pattern("in an abbreviation with full stops (U.S.)", r"\b(?:[A-Za-z]\.){2,}", False),
    Pattern("in an initial (J.)", rf"(?<![^\W_.])[{_U}]\.(?= [{_U}])", False),
    Pattern(
        "in a Roman numeral",
        r"\b(?=[IVXLCDM]{2,}\b)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b",
        False,
        note="two letters or more",
    ),
    Pattern("in the part of a word after a hyphen", r"(?<=[^\W\d_]-)[^\W\d_]+", True, "exact"),
    Pattern("in the part of a word before a hyphen", r"(?<![^\W\d_])[^\W\d_]++(?=-[^\W\d_])", False, "exact"),
    Pattern("in what follows an apostrophe within a word", r"(?<=[^\W\d_]['’])[^\W\d_]+", True, "exact"),
    Pattern("in a possessive or contracted 's", r"(?<=[^\W\d_])['’]s\b", False),
    Pattern("in a snake_case name", r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", False, "exact"),
    Pattern("in a CONSTANT_CASE name", r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", False, "exact"),
    Pattern("in a CamelCase name", r"\b(?:[A-Z][a-z0-9]+){2,}\b", False, "exact"),
    Pattern("in a __dunder__ name", r"\b__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__\b", False, "exact"),
    Pattern("in the part of a name after an underscore", r"(?<=_)[A-Za-z0-9]+", True, "exact"),
    Pattern("in letters directly after a digit", r"(?<=[0-9])[^\W\d_]+", True, "exact"),
)

_PLACES = declared(
    "place in word", "exact", True, "a word's first token", "a word's second token", "a word's third or later token"
)
_WHOLE = declared("place in word", "exact", False, "a word's last token of several", "a word of one token")
_LENGTHS = (
    ("in a word of one letter", 1, 1),
    ("in a word of two or three letters", 2, 3),
    ("in a word of four to six letters", 4, 6),
    ("in a word of seven to nine letters", 7, 9),
    ("in a word of ten or more letters", 10, 10**9),
)
_BY_LENGTH = declared("word length", "exact", False, *(name for name, _, _ in _LENGTHS))


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


def _lengths(passage: Passage) -> Iterator[Span]:
    for match in LETTERS.finditer(passage.text):
        size = match.end() - match.start()
        yield Span(next(name for name, least, most in _LENGTHS if least <= size <= most), *match.span())


FAMILIES: tuple[Family, ...] = (
    pattern_family("casing", _CASING),
    span_family([*_PLACES, *_WHOLE], _places),
    span_family(_BY_LENGTH, _lengths),
)
