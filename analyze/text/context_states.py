"""The state of a document before each token, read from the text before it: code, brackets, quotes, lines, sentences."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.text.stream import Stream
from train.data.content import Content

EARLY = 8

_CODE_EVENT = re.compile(rb'\\.|"""|\'\'\'|["\'#\n]|[(\[{]|[)\]}]', re.DOTALL)
_PROSE_EVENT = re.compile('["\n(\\[)\\]]|“|”'.encode())
_OPEN, _CLOSE = b"([{", b")]}"


def _nesting(text: bytes, code: bool) -> list[tuple[int, int]]:
    """(offset, state) wherever the state changes; state = 1 in brackets | 2 in quotes | 4 in a comment."""
    depth, quote, comment = 0, b"", False
    changes = [(0, 0)]
    for event in (_CODE_EVENT if code else _PROSE_EVENT).finditer(text):
        mark = event.group()
        if mark == b"\n":
            comment = False
            if len(quote) < 3:
                quote = b""
            if not code:
                depth = 0
        elif comment or mark[:1] == b"\\":
            continue
        elif quote:
            if mark == quote or (quote == "“".encode() and mark == "”".encode()):
                quote = b""
        elif mark == b"#":
            comment = True
        elif mark in _OPEN:
            depth += 1
        elif mark in _CLOSE:
            depth = max(depth - 1, 0)
        elif mark != "”".encode():
            quote = mark
        changes.append((event.end(), (depth > 0) + 2 * bool(quote) + 4 * comment))
    return changes


def context_states(stream: Stream, content: Sequence[Content] | None = None) -> dict[str, Bool[ndarray, "s"]]:
    """What each document says BEFORE each of its tokens: a phrase ("inside brackets") -> where it is true.

    Separators are in no state. Where it is unknown whether a document is code, its tokens are in none that takes
    lexing: neither in code nor in prose, neither inside nor outside brackets; lines and rows begin in any text.

    Args:
        content: of each document; by default as the stream says.
    """
    content = stream.content if content is None else content
    n = len(stream)
    is_code, is_prose, nesting = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, np.int64)
    line_start, sentence_start = np.zeros(n, bool), np.zeros(n, bool)
    for index, (start, length) in enumerate(zip(stream.starts.tolist(), stream.lengths.tolist())):
        inside, pieces = slice(start, start + length), stream.pieces_of(index)
        text = b"".join(pieces)
        begin = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])[:-1].astype(np.int64)
        is_code[inside], is_prose[inside] = content[index] == "code", content[index] == "prose"
        if content[index] != "unknown":
            changes = np.array(_nesting(text, content[index] == "code"))
            nesting[inside] = changes[np.searchsorted(changes[:, 0], begin, side="right") - 1, 1]
        line_start[inside], sentence_start[inside] = _starts(text, begin)
    known = is_code | is_prose
    return {
        "in code": is_code,
        "in prose": is_prose,
        "inside brackets": nesting % 2 > 0,
        "outside brackets": known & (nesting % 2 == 0),
        "inside quotation marks": nesting // 2 % 2 > 0,
        "in a comment": nesting // 4 > 0,
        "at the start of a line": line_start,
        "at the start of a sentence": sentence_start & is_prose,
        f"among the first {EARLY} tokens of the row": (stream.document >= 0) & (stream.row_position <= EARLY),
    }


def _starts(text: bytes, begin: Int[ndarray, "t"]) -> tuple[Bool[ndarray, "t"], Bool[ndarray, "t"]]:
    """Whether only blanks lie between each offset and the last newline; the last full stop and a blank."""
    raw = np.frombuffer(text + b" ", np.uint8)
    blank = (raw == 32) | (raw == 9)
    at = np.maximum.accumulate(np.where(blank, -1, np.arange(len(raw))))
    before = np.where(begin > 0, at[begin - 1], -1)
    last = np.where(before >= 0, raw[before], 10)
    line = last == 10
    stopped = np.isin(last, list(b".!?")) & ((before < begin - 1) | blank[begin])
    return line, line | stopped
