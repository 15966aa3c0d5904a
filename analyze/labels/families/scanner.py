"""Python read token by token, so that what is said of a token does not depend on what comes after it.

The standard library's `tokenize` reads whole files, raises at a broken end and changes with Python's version
(f-strings from 3.12 on). This scanner gives the same tokens on whole files (held to it by a test), goes on
over anything, and reads pieces that begin in the middle of a file:

A document whose name says that it is the piece at line n > 1 ("a/b.py:120") may begin inside a docstring.
Nothing is said of it until a line that can only be code: `def name(`, `class Name(` or `class Name:`, or a
decorator alone on its line. What stands before that is left unlabelled (`Scan.known`), and blocks that were
opened before it are unknown. Of networkx and sympy, cut into pieces as `train.data.corpora.python_pieces` does, 71 %
of the characters are known so (a fifth of the pieces that begin amid a file hold no sure line), and 99.96 % of
these are of the kind that `tokenize` finds in the whole file; what else there is are examples in docstrings that
hold a bare `def`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from analyze.labels.base import Passage

Kind = Literal["name", "number", "string", "comment", "op", "newline", "nl", "other"]

_KEYWORDS = (
    "False None True and as assert async await break class continue def del elif else except finally for from global "
    "if import in is lambda nonlocal not or pass raise return try while with yield"
)
_BUILTINS = (
    "abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex "
    "delattr dict dir divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex "
    "id input int isinstance issubclass iter len list locals map max memoryview min next object oct open ord pow "
    "print property range repr reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip "
    "__import__"
)
KEYWORDS = frozenset(_KEYWORDS.split())
BUILTINS = frozenset(_BUILTINS.split())
"""Functions and types of the module builtins, without exceptions; written out, since Pythons differ."""

_NUMBER = (
    r"0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+"
    r"|(?:(?:[0-9](?:_?[0-9])*)?\.[0-9](?:_?[0-9])*|[0-9](?:_?[0-9])*\.?)(?:[eE][-+]?[0-9](?:_?[0-9])*)?[jJ]?"
)
_OPERATOR = r"\*\*=|//=|>>=|<<=|\.\.\.|->|:=|[-+*/%@&|^=<>!]=|\*\*|//|>>|<<|[-+*/%@&|^=<>~:;,.()\[\]{}]"
_TOKEN = re.compile(
    rf"(?P<blank>[ \t\f\r]+|\\(?:\r?\n)?)|(?P<nl>\n)|(?P<comment>#[^\r\n]*)"
    rf"|(?P<string>(?:[rRbBuUfF]{{1,2}})?(?:\"\"\"|'''|\"|'))|(?P<number>{_NUMBER})|(?P<name>[^\W\d]\w*)"
    rf"|(?P<op>{_OPERATOR})|(?P<other>.)",
    re.DOTALL,
)
_ENDS = {
    quote: re.compile(rf"(?:[^\\]|\\.)*?{quote}" if len(quote) == 3 else rf"(?:[^\\\n{quote}]|\\.)*", re.DOTALL)
    for quote in ('"""', "'''", '"', "'")
}
_SURE = re.compile(
    r"^[ \t]*(?:(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*[(:]"
    r"|@\w[\w.]*\n[ \t]*(?:@|def |class |async ))",
    re.MULTILINE,
)
_PIECE = re.compile(r":(\d+)$")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of Python source: characters start..stop of the text."""

    kind: Kind
    text: str
    start: int
    stop: int
    quote: int = 0
    """Of a string: where its opening quotation mark stands, behind a prefix."""
    depth: int = 0
    """Brackets open around it (an opening or closing bracket counts itself)."""
    first: bool = False
    """The first token of a logical line."""
    column: int = 0
    """Of a first token: width of the white space before it on its line, tabs to the next multiple of eight."""


@dataclass(frozen=True)
class Scan:
    """The tokens of a document, white space left out."""

    tokens: tuple[Token, ...]
    known: int
    """Nothing is known of the characters before this one."""


def scan(passage: Passage) -> Scan:
    """The Python tokens of a document; none, and nothing known, where no line is surely code."""
    return _scanned(passage.text, _starts_a_file(passage))


def _starts_a_file(passage: Passage) -> bool:
    found = _PIECE.search(passage.path_or_title or "")
    return found is None or found.group(1) == "1"


@lru_cache(maxsize=4096)
def _scanned(text: str, whole: bool) -> Scan:
    if whole:
        return Scan(tuple(_tokens(text, 0)), 0)
    sure = _SURE.search(text)
    if sure is None:
        return Scan((), len(text))
    return Scan(tuple(_tokens(text, sure.start())), sure.end())


def _tokens(text: str, at: int) -> list[Token]:
    found: list[Token] = []
    depth, fresh = 0, True
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # `other` matches any character
        kind, at = match.lastgroup, match.end()
        spelled, start = match.group(), match.start()
        if kind == "blank":
            continue
        if kind == "nl":
            if depth or fresh:
                found.append(Token("nl", spelled, start, at))
            else:
                found.append(Token("newline", spelled, start, at))
                fresh = True
            continue
        if kind == "comment":
            found.append(Token("comment", spelled, start, at, depth=depth))
            continue
        quote = 0
        if kind == "string":
            quote = start + len(spelled.rstrip("\"'"))
            at = _string_end(text, at, spelled[quote - start :])
            spelled = text[start:at]
        if kind == "op" and spelled in "([{":
            depth += 1
        column = _column(text, start) if fresh else 0
        found.append(Token(kind, spelled, start, at, quote, depth, fresh, column))  # type: ignore[arg-type]
        if kind == "op" and spelled in ")]}":
            depth = max(depth - 1, 0)
        fresh = False
    return found


def _string_end(text: str, at: int, quote: str) -> int:
    """Behind the closing quotation mark; an open string ends with its line, an open triple one with the text."""
    match = _ENDS[quote].match(text, at)
    if match is None:
        return len(text)
    end = match.end()
    # A backslash that ends the text would escape what came next.
    closes = len(quote) == 1 and (text[end : end + 1] == quote or (text[end:] == "\\"))
    return end + 1 if closes else end


def _column(text: str, start: int) -> int:
    line = text.rfind("\n", 0, start) + 1
    return len(text[line:start].expandtabs(8))
