"""Kinds of Python tokens: keywords, builtins, what is defined, called, assigned, literals, operators."""

from collections.abc import Iterator, Sequence

from analyze.labels.base import Span, declared, span_family
from analyze.labels.python_scanner import BUILTINS, KEYWORDS, Token, known_spans, scan
from analyze.text.stream import Passage

_KEYWORD_GROUPS = {
    "the keyword def or class": "def class",
    "the keyword return or yield": "return yield",
    "the keyword if, elif or else": "if elif else",
    "the keyword for or while": "for while",
    "the keyword import, from or as": "import from as",
    "the keyword in, is, not, and or or": "in is not and or",
    "True, False or None": "True False None",
    "the keyword try, except, finally, raise or with": "try except finally raise with",
}
_GROUP_OF = {word: name for name, words in _KEYWORD_GROUPS.items() for word in words.split()}
_OPERATORS = {
    "a comparison operator in Python": "== != < > <= >=",
    "an arithmetic operator in Python": "+ - * / // % ** @",
    "an augmented assignment (+=)": "+= -= *= /= //= %= **= @= &= |= ^= >>= <<=",
    "an arrow before a return type": "->",
    "a bitwise operator in Python": "& | ^ ~ << >>",
}
_OPERATOR_OF = {sign: name for name, signs in _OPERATORS.items() for sign in signs.split()}

_LATER = declared(
    "Python tokens",
    "exact",
    False,
    "a Python keyword",
    *_KEYWORD_GROUPS,
    "the name of a Python builtin",
    "a name that is no keyword or builtin",
    "the name self or cls",
    "the name of something called",
    "the name of an argument in a call",
    "a name that a statement assigns",
    "a name in an import statement",
    "a Python integer",
    "a Python number with a point or exponent",
    "the prefix of a string (r, b, f, u)",
    *_OPERATORS,
    "the sign of an assignment",
    "the equals sign of a named argument or default",
    "a colon that opens a block",
    "a colon inside brackets",
    "a dot before an attribute",
    "an asterisk before arguments",
)
_NOW = declared(
    "Python tokens",
    "exact",
    True,
    "the name of a function being defined",
    "the name of a class being defined",
    "the name of a parameter",
    "a name after a dot",
    "an opening bracket in Python",
    "a closing bracket in Python",
    "a comma in Python",
    "the first token of a Python statement",
)
_HEADS = ("if", "elif", "else", "for", "while", "def", "class", "try", "except", "finally", "with")
_AFTER = {
    "def": "the name of a function being defined",
    "class": "the name of a class being defined",
    ".": "a name after a dot",
}
_SIGNS = {
    **dict.fromkeys("([{", "an opening bracket in Python"),
    **dict.fromkeys(")]}", "a closing bracket in Python"),
    ",": "a comma in Python",
    ".": "a dot before an attribute",
}


def _named(tokens: Sequence[Token], at: int, in_parameters: bool) -> Iterator[Span]:
    """What a name is by what stands before it; of a string its prefix, which reads like a name at first."""
    token = tokens[at]
    stop = token.quote if token.kind == "string" else token.stop
    before = tokens[at - 1].text if at else ""
    if before in _AFTER:
        yield Span(_AFTER[before], token.start, stop)
    if in_parameters and before in ("(", ",", "*", "**"):
        yield Span("the name of a parameter", token.start, stop)


def _name(tokens: Sequence[Token], at: int, statement: str) -> Iterator[str]:
    """What a whole name is, by its spelling and its neighbours."""
    token, word = tokens[at], tokens[at].text
    before = tokens[at - 1].text if at else ""
    after = tokens[at + 1].text if at + 1 < len(tokens) else ""
    if word in KEYWORDS:
        yield "a Python keyword"
        if word in _GROUP_OF:
            yield _GROUP_OF[word]
        return
    if statement in ("import", "from"):
        yield "a name in an import statement"
    if word in ("self", "cls"):
        yield "the name self or cls"
    if word in BUILTINS and before not in (".", "def", "class"):
        yield "the name of a Python builtin"
    else:
        yield "a name that is no keyword or builtin"
    if after == "(" and before not in ("def", "class"):
        yield "the name of something called"
    if after == "=" and token.depth and before in ("(", ","):
        yield "the name of an argument in a call"
    if after == "=" and not token.depth:
        yield "a name that a statement assigns"


def _operator(tokens: Sequence[Token], at: int, statement: str, head_open: bool) -> Iterator[str]:
    token, sign = tokens[at], tokens[at].text
    before = tokens[at - 1] if at else None
    # At the start of a line, or after an operator, an asterisk unpacks.
    starred = sign in ("*", "**") and (before is None or token.first or before.text in ("(", ",", "[", "{", "=", ":"))
    if starred:
        yield "an asterisk before arguments"
    elif sign in _OPERATOR_OF and not (sign == "@" and token.first):
        yield _OPERATOR_OF[sign]
    if sign in _SIGNS:
        yield _SIGNS[sign]
    elif sign == "=":
        yield "the equals sign of a named argument or default" if token.depth else "the sign of an assignment"
    elif sign == ":":
        if token.depth:
            yield "a colon inside brackets"
        elif statement in _HEADS and head_open:
            yield "a colon that opens a block"


def _is_float(spelled: str) -> bool:
    return spelled[:2].lower() not in ("0x", "0b", "0o") and any(sign in spelled for sign in ".eEjJ")


def _spans(passage: Passage) -> Iterator[Span]:
    tokens = [token for token in scan(passage).tokens if token.kind not in ("nl", "comment")]
    statement, head_open = "", False
    parameters: list[bool] = []
    for at, token in enumerate(tokens):
        prefixed = token.kind == "string" and token.quote > token.start
        if token.first:
            statement, head_open = token.text, True
            if ends := passage.token_at(token.start, len(passage.text)):
                yield Span("the first token of a Python statement", *ends)
        if token.kind == "name" or prefixed:
            yield from _named(tokens, at, bool(parameters) and parameters[-1])
        if prefixed:
            yield Span("the prefix of a string (r, b, f, u)", token.start, token.quote)
        elif token.kind == "name":
            if statement == "async" and token.text in _HEADS:
                statement = token.text
            yield from (Span(name, token.start, token.stop) for name in _name(tokens, at, statement))
        elif token.kind == "number":
            name = "a Python number with a point or exponent" if _is_float(token.text) else "a Python integer"
            yield Span(name, token.start, token.stop)
        elif token.kind == "op":
            yield from (Span(name, token.start, token.stop) for name in _operator(tokens, at, statement, head_open))
            if token.text in "([{":
                parameters.append(token.text == "(" and at > 1 and tokens[at - 2].text == "def")
            elif token.text in ")]}" and parameters:
                parameters.pop()
            elif token.text == ":" and not token.depth:
                head_open = False


def _known(passage: Passage) -> Iterator[Span]:
    return known_spans(passage, _spans(passage)) if passage.is_python else iter(())


FAMILY = span_family([*_LATER, *_NOW], _known)
