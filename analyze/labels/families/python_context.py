"""Where in Python code a token stands: in strings and comments, brackets, statements, blocks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analyze.labels.base import Span, declared, span_family
from analyze.labels.python_scanner import KEYWORDS, Token, known_spans, scan
from analyze.text.stream import Passage

_WHERE = declared(
    "Python context",
    "exact",
    True,
    "in a Python string",
    "in a string in triple quotes that is no docstring",
    "in a string on one line",
    "in an f-string",
    "in a Python comment",
    "the first word of a comment",
    "in the header of a function definition",
    "in the header of a class definition",
    "in the base classes of a class",
    "in the parameters of a function",
    "in the annotation of a parameter or return value",
    "in the default of a parameter",
    "in the arguments of a call",
    "in a subscript",
    "in a list display or comprehension",
    "in a dictionary or set display",
    "in a parenthesis that is no call",
    "on the right of an assignment",
    "in a return or yield statement",
    "in an import statement",
    "in the condition of an if, elif or while",
    "in the header of a for loop",
    "in a raise or assert statement",
    "in a decorator",
    "the first token of a deeper block of Python",
    "the first token after a block of Python ends",
)
_BODIES = declared(
    "Python context",
    "exact",
    True,
    "in the body of a function",
    "in the body of a class",
    "in the body of a loop",
    "in the body of an if or else",
    "in the body of a try or except",
    "in the body of a with statement",
    note="of a block whose header stands in the document",
)
_DOCSTRINGS = declared(
    "Python context",
    "rule",
    True,
    "in a docstring",
    "in the first line of a docstring",
    "in an example of a docstring (>>>)",
    note="a string that begins the first statement of a file, function or class",
)
_BODY_OF = {
    "def": "in the body of a function",
    "class": "in the body of a class",
    **dict.fromkeys(("for", "while"), "in the body of a loop"),
    **dict.fromkeys(("if", "elif", "else"), "in the body of an if or else"),
    **dict.fromkeys(("try", "except", "finally"), "in the body of a try or except"),
    "with": "in the body of a with statement",
}
_PART_OF = {
    "def": "in the header of a function definition",
    "class": "in the header of a class definition",
    "for": "in the header of a for loop",
    **dict.fromkeys(("if", "elif", "while"), "in the condition of an if, elif or while"),
    **dict.fromkeys(("return", "yield"), "in a return or yield statement"),
    **dict.fromkeys(("import", "from"), "in an import statement"),
    **dict.fromkeys(("raise", "assert"), "in a raise or assert statement"),
    "@": "in a decorator",
}
_WORD = re.compile(r"#[#:! \t]*(?P<at>[^\W\d_]+)")
_EXAMPLE = re.compile(r"^[ \t]*>>> (?P<at>.*)$", re.MULTILINE)


@dataclass
class _Block:
    name: str
    column: int
    start: int


def _string(token: Token, is_docstring: bool) -> Iterator[Span]:
    yield Span("in a Python string", token.quote, token.stop)
    marks = 3 if token.text[token.quote - token.start :][:3] in ('"""', "'''") else 1
    start = token.quote + marks
    # Two quotation marks are an empty string or the beginning of three: the second gets no further label.
    if marks == 1 and token.stop - start <= 1 and token.text[-1:] == token.text[token.quote - token.start]:
        return
    if "f" in token.text[: token.quote - token.start].lower():
        yield Span("in an f-string", start, token.stop)
    if not is_docstring:
        where = "in a string in triple quotes that is no docstring" if marks == 3 else "in a string on one line"
        yield Span(where, start, token.stop)
        return
    yield Span("in a docstring", start, token.stop)
    inside = token.text[start - token.start :]
    yield Span("in the first line of a docstring", start, start + len(inside.partition("\n")[0]))
    for match in _EXAMPLE.finditer(inside):
        yield Span("in an example of a docstring (>>>)", start + match.start("at"), start + match.end("at"))


def _statement_ends(keyword: str, header: int, assigned: int, stop: int) -> Iterator[Span]:
    if assigned >= 0:
        yield Span("on the right of an assignment", assigned, stop)
    if header >= 0 and keyword in _PART_OF:
        yield Span(_PART_OF[keyword], header, stop)


def _outside_brackets(passage: Passage, tokens: Sequence[Token], whole: bool) -> Iterator[Span]:
    """Strings and comments, statements and blocks: what does not depend on the bracket that a token stands in."""
    end = len(passage.text)
    blocks: list[_Block] = []
    # Of the statement: its first word, where its header and the right side of its assignment begin (-1: they do not).
    keyword, header, assigned = "", -1, -1
    column, may_document = 0, whole
    for token in tokens:
        if token.kind == "comment":
            yield Span("in a Python comment", token.start, token.stop)
            if match := _WORD.match(token.text):
                where = (token.start + match.start("at"), token.start + match.end("at"))
                yield Span("the first word of a comment", *where)
            continue
        if token.kind == "nl":
            continue
        if token.kind == "newline":
            yield from _statement_ends(keyword, header, assigned, token.start)
            keyword, header, assigned = "", -1, -1
            continue
        if token.first:
            n_blocks = len(blocks)
            while blocks and blocks[-1].column >= token.column:
                block = blocks.pop()
                yield Span(block.name, block.start, token.start)
            if ends := passage.token_at(token.start, end):
                if len(blocks) < n_blocks:
                    yield Span("the first token after a block of Python ends", *ends)
                if token.column > column:
                    yield Span("the first token of a deeper block of Python", *ends)
            may_document = may_document and token.column >= column
            column = token.column
        if token.kind == "string":
            plain = token.text[: token.quote - token.start].lower() in ("", "r", "u")
            yield from _string(token, token.first and plain and may_document)
        if token.first or (keyword == "async" and token.kind == "name"):
            keyword = token.text
            header = token.start if keyword == "@" else token.stop
            may_document = False
        if token.kind == "op" and not token.depth:
            if token.text == ":" and header >= 0 and keyword in _BODY_OF:
                yield from _statement_ends(keyword, header, -1, token.start)
                blocks.append(_Block(_BODY_OF[keyword], column, token.stop))
                may_document = keyword in ("def", "class")
                header = -1
            elif token.text.endswith("=") and token.text not in ("==", "!=", "<=", ">=", ":=") and assigned < 0:
                assigned = token.stop
    yield from _statement_ends(keyword, header, assigned, end)
    for block in blocks:
        yield Span(block.name, block.start, end)


_PARAMETERS = "in the parameters of a function"
_ANNOTATION = "in the annotation of a parameter or return value"
_DEFAULT = "in the default of a parameter"


def _bracket(tokens: Sequence[Token], at: int) -> str:
    """What an opening bracket opens."""
    sign = tokens[at].text
    before = tokens[at - 1] if at and not tokens[at].first else None
    if sign == "{":
        return "in a dictionary or set display"
    if sign == "(" and at > 1 and tokens[at - 2].text in ("def", "class") and before is not None:
        return _PARAMETERS if tokens[at - 2].text == "def" else "in the base classes of a class"
    follows = before is not None and (
        (before.kind == "name" and before.text not in KEYWORDS) or before.kind == "string" or before.text in (")", "]")
    )
    if sign == "(":
        return "in the arguments of a call" if follows else "in a parenthesis that is no call"
    return "in a subscript" if follows else "in a list display or comprehension"


def _in_brackets(tokens: Sequence[Token], end: int) -> Iterator[Span]:
    """The innermost bracket around a token; annotations and defaults of parameters, annotations of return values."""
    tokens = [token for token in tokens if token.kind not in ("nl", "comment")]
    stack: list[str] = []
    since = 0
    part, part_start = "", 0
    for at, token in enumerate(tokens):
        sign = token.text if token.kind == "op" else ""
        of_parameters = bool(stack) and stack[-1] == _PARAMETERS
        if of_parameters:
            ends = sign in (",", ")") or (sign == "=" and part == _ANNOTATION)
        else:
            ends = not stack and (sign in (":", "->") or token.kind == "newline")
        if part and ends:
            yield Span(part, part_start, token.start)
            part = ""
        if not part and ((of_parameters and sign in (":", "=")) or (not stack and sign == "->")):
            part, part_start = (_DEFAULT if sign == "=" else _ANNOTATION), token.stop
        if sign and sign in "([{":
            if stack:
                yield Span(stack[-1], since, token.start)
            stack.append(_bracket(tokens, at))
            since = token.stop
        elif sign and sign in ")]}" and stack:
            yield Span(stack.pop(), since, token.start)
            since = token.stop
    if stack:
        yield Span(stack[-1], since, end)
    if part:
        yield Span(part, part_start, end)


def _spans(passage: Passage) -> Iterator[Span]:
    if not passage.is_python:
        return
    tokens, known = scan(passage)
    yield from known_spans(passage, _outside_brackets(passage, tokens, known == 0))
    yield from known_spans(passage, _in_brackets(tokens, len(passage.text)))


FAMILY = span_family([*_WHERE, *_BODIES, *_DOCSTRINGS], _spans)
