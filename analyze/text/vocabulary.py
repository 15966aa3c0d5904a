"""What can be read off the text at a token, without looking at any activation: pieces, classes, context."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

SUFFIXES = {
    "-ing": ("ing",),
    "-ed": ("ed",),
    "-s": ("s",),
    "-ly": ("ly",),
    "-tion": ("tion", "sion"),
    "-er or -or": ("er", "or"),
    "-est": ("est",),
    "-al": ("al",),
    "-ic": ("ic",),
    "-ous": ("ous",),
    "-ive": ("ive",),
    "-able": ("able", "ible"),
    "-ment": ("ment",),
    "-ness": ("ness",),
    "-ity": ("ity",),
    "-ist or -ism": ("ist", "ism", "ists"),
    "-an": ("an", "ans"),
    "-ful": ("ful",),
    "-ent or -ant": ("ent", "ant"),
}
_CODE_BYTES = np.zeros(256, bool)
_CODE_BYTES[list(b"()[]{}=_<>#\\/*+|&^~;@")] = True
_CODE_SHARE = 0.04
_CODE_FILES = (".py", ".js", ".ts", ".c", ".h", ".cc", ".cpp", ".java", ".go", ".rs", ".rb", ".sh", ".sql")
EARLY = 8


def byte_of_character() -> dict[str, int]:
    """The inverse of GPT-2's table from bytes to printable characters, in which byte-level BPE spells."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


@dataclass(frozen=True)
class Vocabulary:
    """The bytes that each token id stands for, and what its spelling alone tells."""

    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """Of a `tokenizers.Tokenizer`: byte-level BPE exactly, any other through its decoder."""
        description = json.loads(tokenizer.to_str())
        decoder = description.get("decoder") or {}
        kinds = {decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", []))}
        special = {token["id"]: token["content"] for token in description.get("added_tokens", [])}
        table = byte_of_character()
        pieces = []
        for index in range(tokenizer.get_vocab_size()):
            spelled = tokenizer.id_to_token(index) or ""
            if index in special:
                pieces.append(special[index].encode())
            elif "ByteLevel" in kinds and all(character in table for character in spelled):
                pieces.append(bytes(table[character] for character in spelled))
            else:
                pieces.append(tokenizer.decode([index]).encode())
        return cls(tuple(pieces))

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def texts(self) -> tuple[str | None, ...]:
        """Each token as text; None where its bytes are no complete UTF-8."""
        return tuple(_decoded(piece) for piece in self.pieces)

    @cached_property
    def folded(self) -> tuple[str | None, ...]:
        """Each token without surrounding spaces and in lower case; None where nothing is left of it."""
        return tuple(None if text is None else text.strip(" ").lower() or None for text in self.texts)

    def shown(self, index: int) -> str:
        """A token as a reader sees it: in backticks, its leading space kept, newlines as \\n."""
        return in_backticks(self.pieces[index])

    @cached_property
    def classes(self) -> dict[str, Bool[ndarray, "v"]]:
        """Named sets of tokens that overlap: case, digits, suffixes, symbols, byte pieces."""
        return {
            name: np.fromiter((text is not None and test(text) for text in self.texts), bool, len(self))
            for name, test in _CLASSES.items()
        } | {"a byte piece": np.fromiter((text is None for text in self.texts), bool, len(self))}

    @cached_property
    def coarse(self) -> Int[ndarray, "v"]:
        """Index into COARSE_CLASSES of each token: one class a token."""
        return np.fromiter((_coarse(text) for text in self.texts), np.int64, len(self))

    @cached_property
    def alphabetic(self) -> Bool[ndarray, "v"]:
        """Tokens made of letters alone, a leading space aside."""
        return self.classes["letters only"]


def in_backticks(piece: bytes) -> str:
    """Bytes as text in backticks; bytes that are no UTF-8 as \\x.., runs of spaces visible."""
    text = piece.decode("utf-8", errors="backslashreplace")
    text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return "`" + re.sub(r" {2,}|^ $", lambda run: "␣" * len(run.group()), text) + "`"


def _decoded(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def _core(text: str) -> str:
    return text.strip(" ")


def _letters(text: str) -> bool:
    return _core(text).isalpha()


def _symbols(kinds: str) -> Callable[[str], bool]:
    return lambda text: bool(_core(text)) and all(character in kinds for character in _core(text))


def _suffix(endings: tuple[str, ...]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        core = _core(text)
        return len(core) >= 4 and core.isalpha() and core.islower() and core.endswith(endings)

    return test


_OPENING, _CLOSING, _QUOTES = "([{<«“‘", ")]}>»”’", "\"'`“”‘’«»"
_CLASSES: dict[str, Callable[[str], bool]] = {
    "letters only": _letters,
    "a lower-case word after a space": lambda text: text[:1] == " " and _letters(text) and _core(text).islower(),
    "a capitalised word": lambda text: _letters(text) and _core(text)[0].isupper() and not _core(text)[1:].isupper(),
    "a capitalised word after a space": lambda text: (
        text[:1] == " " and _letters(text) and _core(text)[0].isupper() and not _core(text)[1:].isupper()
    ),
    "ALL CAPS": lambda text: len(_core(text)) > 1 and _letters(text) and _core(text).isupper(),
    "a single letter": lambda text: len(_core(text)) == 1 and _letters(text),
    "the continuation of a word": lambda text: text[:1] != " " and _letters(text) and text.islower(),
    "digits": lambda text: _core(text).isdigit(),
    "letters with digits or underscores": lambda text: (
        _core(text).replace("_", "a").isalnum() and not _letters(text) and not _core(text).isdigit()
    ),
    "something with an underscore": lambda text: "_" in text,
    "letters outside ASCII": lambda text: _letters(text) and not text.isascii(),
    "the end of a sentence (. ! ?)": _symbols(".!?"),
    "a comma": _symbols(","),
    "a colon or semicolon": _symbols(":;"),
    "a hyphen or dash": _symbols("-–—"),
    "an opening bracket": _symbols(_OPENING),
    "a closing bracket": _symbols(_CLOSING),
    "a quotation mark": _symbols(_QUOTES),
    "an operator (= + * / < > % & | ^ ~)": _symbols("=+*/<>%&|^~!-"),
    "one of @ # $ \\": _symbols("@#$\\"),
    "a symbol": lambda text: bool(text.strip()) and not any(c.isalnum() or c.isspace() for c in _core(text)),
    "several symbols": lambda text: len(_core(text)) > 1 and not any(c.isalnum() or c.isspace() for c in _core(text)),
    "white space": lambda text: text.isspace(),
    "spaces without a newline": lambda text: bool(text) and not text.strip(" \t"),
    "a newline": lambda text: "\n" in text,
    **{f"a word in {name}": _suffix(endings) for name, endings in SUFFIXES.items()},
}

COARSE_CLASSES = (
    "something else",
    "a lower-case word",
    "the continuation of a word",
    "a capitalised word",
    "ALL CAPS",
    "digits",
    "an opening bracket",
    "a closing bracket",
    "a quotation mark",
    "punctuation",
    "another symbol",
    "white space",
    "a byte piece",
)


def _coarse(text: str | None) -> int:
    if text is None:
        return COARSE_CLASSES.index("a byte piece")
    tests: dict[str, Callable[[str], bool]] = {
        "white space": _CLASSES["white space"],
        "digits": _CLASSES["digits"],
        "ALL CAPS": _CLASSES["ALL CAPS"],
        "a capitalised word": _CLASSES["a capitalised word"],
        "a lower-case word": _CLASSES["a lower-case word after a space"],
        "the continuation of a word": _CLASSES["the continuation of a word"],
        "an opening bracket": _CLASSES["an opening bracket"],
        "a closing bracket": _CLASSES["a closing bracket"],
        "a quotation mark": _CLASSES["a quotation mark"],
        "punctuation": _symbols(".,:;!?-–—…"),
        "another symbol": _CLASSES["a symbol"],
    }
    return COARSE_CLASSES.index(next((name for name, test in tests.items() if test(text)), "something else"))


@dataclass(frozen=True)
class ContextStates:
    """For every token of a stream of documents, what its document BEFORE it says: causal, from text alone.

    Separators stand at no state (all false). `states` maps a phrase ("inside brackets") to its tokens.
    """

    states: dict[str, Bool[ndarray, "s"]]
    document: Int[ndarray, "s"]
    """Document of each position; -1 at separators."""


def looks_like_code(text: bytes, path: str | None = None) -> bool:
    """Whether a document is code: by its file name's ending, else by its share of code symbols."""
    # A piece of a file is named with the line that it begins at: `graph.py:2041`.
    if path is not None and re.sub(r":\d+$", "", path.lower()).endswith(_CODE_FILES):
        return True
    return bool(text) and float(_CODE_BYTES[np.frombuffer(text, np.uint8)].mean()) > _CODE_SHARE


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


def context_states(
    ids: Int[ndarray, "s"],
    *,
    starts: Sequence[int],
    lengths: Sequence[int],
    code: Sequence[bool],
    vocabulary: Vocabulary,
    n_ctx: int,
) -> ContextStates:
    """The state of the text before each token of a stream.

    Args:
        ids: the stream, separators included.
        starts, lengths: each document's place in it, separators left out.
        code: whether each document is code.
        n_ctx: tokens a row, for the position in the model's row.
    """
    n = len(ids)
    document = np.full(n, -1, np.int64)
    is_code, nesting = np.zeros(n, bool), np.zeros(n, np.int64)
    line_start, sentence_start = np.zeros(n, bool), np.zeros(n, bool)
    for index, (start, length) in enumerate(zip(starts, lengths)):
        inside = slice(start, start + length)
        pieces = [vocabulary.pieces[token] for token in ids[inside].tolist()]
        text = b"".join(pieces)
        coded = code[index]
        begin = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])[:-1].astype(np.int64)
        document[inside], is_code[inside] = index, coded
        changes = np.array(_nesting(text, coded))
        nesting[inside] = changes[np.searchsorted(changes[:, 0], begin, side="right") - 1, 1]
        line_start[inside], sentence_start[inside] = _starts(text, begin)
    known = document >= 0
    row_position = np.arange(n) % n_ctx + 1
    return ContextStates(
        {
            "in code": is_code,
            "in prose": known & ~is_code,
            "inside brackets": nesting % 2 > 0,
            "outside brackets": known & (nesting % 2 == 0),
            "inside quotation marks": nesting // 2 % 2 > 0,
            "in a comment": nesting // 4 > 0,
            "at the start of a line": line_start,
            "at the start of a sentence": sentence_start & ~is_code,
            f"among the first {EARLY} tokens of the row": known & (row_position <= EARLY),
        },
        document,
    )


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
