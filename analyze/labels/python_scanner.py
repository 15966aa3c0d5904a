"""Python read token by token: no label of a token depends on the text after it.

The scanner gives the tokens of the standard library's `tokenize` on whole files (a test compares them), but never
fails and does not change with Python's version (from 3.12 on `tokenize` takes f-strings apart). `parso` never fails
either. With its tokenizer no label of the 784,624 held-out tokens of networkx and sympy differs, but it looks
ahead: it takes the rest of a line whose string stays open for code, and at a word such as `def` it forgets open
brackets. Of 4,224 of these documents, cut at random, 14 labels that are causal then changed on 1,176 tokens; with this
scanner none does. Scanning takes twice as long with `parso`.

A document whose name says that it is the piece at line n > 1 ("a/b.py:120") may begin inside a docstring.
It gets no label until a line that can only be code: `def name(`, `class Name(` or `class Name:`, or a
decorator alone on its line. What stands before that stays unlabelled (`Scan.known`), and blocks that were
opened before it are unknown. Of networkx and sympy, cut into pieces as `train.data.corpora.python_pieces` does, 71 %
of the characters are known so (a fifth of the pieces that begin inside a file hold no sure line), and 99.96 % of
these are of the kind that `tokenize` gives in the whole file; the rest are examples in docstrings that
hold a bare `def`.
"""

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from analyze.labels.base import Span
from analyze.text.stream import Passage

Kind = Literal["name", "number", "string", "comment", "op", "newline", "nl", "other"]

KEYWORDS = frozenset(keyword.kwlist)
_BUILTINS = (
    "abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex "
    "delattr dict dir divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex "
    "id input int isinstance issubclass iter len list locals map max memoryview min next object oct open ord pow "
    "print property range repr reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip "
    "__import__"
)
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
    """Of a string: where its opening quotation mark stands, after any prefix."""
    depth: int = 0
    """Brackets open around it (an opening or closing bracket counts itself)."""
    first: bool = False
    """The first token of a logical line."""
    column: int = 0
    """Of a first token: width of the white space before it on its line, tabs to the next multiple of eight."""


class Scan(NamedTuple):
    """The tokens of a document, white space left out."""

    tokens: tuple[Token, ...]
    known: int
    """Nothing is known of the characters before this one."""


def scan(passage: Passage) -> Scan:
    """The Python tokens of a document; none, and nothing known, where no line is surely code."""
    piece = _PIECE.search(passage.path_or_title or "")
    return _scanned(passage.text, piece is None or piece.group(1) == "1")


def known_spans(passage: Passage, spans: Iterator[Span]) -> Iterator[Span]:
    """Spans without what stands before the first line that is surely code."""
    known = scan(passage).known
    for name, start, stop in spans:
        if stop > max(start, known):
            yield Span(name, max(start, known), stop)


@lru_cache(maxsize=4096)
def _scanned(text: str, whole: bool) -> Scan:
    if whole:
        return Scan(_tokens(text, 0), 0)
    sure = _SURE.search(text)
    return Scan(_tokens(text, sure.start()), sure.end()) if sure else Scan((), len(text))


def _tokens(text: str, at: int) -> tuple[Token, ...]:
    tokens: list[Token] = []
    depth, fresh = 0, True
    while match := _TOKEN.match(text, at):
        kind, spelled, start, at = match.lastgroup, match.group(), match.start(), match.end()
        if kind == "blank":
            continue
        if kind == "nl":
            ends_statement = not (depth or fresh)
            tokens.append(Token("newline" if ends_statement else "nl", spelled, start, at))
            fresh = fresh or ends_statement
            continue
        if kind == "comment":
            tokens.append(Token("comment", spelled, start, at, depth=depth))
            continue
        quote = 0
        if kind == "string":
            quote = start + len(spelled.rstrip("\"'"))
            at = _string_end(text, at, spelled[quote - start :])
            spelled = text[start:at]
        if kind == "op" and spelled in "([{":
            depth += 1
        column = _column(text, start) if fresh else 0
        tokens.append(Token(kind, spelled, start, at, quote, depth, fresh, column))  # type: ignore[arg-type]
        if kind == "op" and spelled in ")]}":
            depth = max(depth - 1, 0)
        fresh = False
    return tuple(tokens)


def _string_end(text: str, at: int, quote: str) -> int:
    """After the closing quotation mark; an open string ends with its line, an open triple one with the text."""
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
