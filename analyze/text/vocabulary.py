"""The tokens of a tokenizer as bytes and text, and the classes that their spelling puts them in."""

import json
import re
from collections.abc import Callable
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


def byte_of_character() -> dict[str, int]:
    """The inverse of GPT-2's table from bytes to printable characters, in which byte-level BPE spells."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


@dataclass(frozen=True)
class Vocabulary:
    """The bytes that each token id stands for, and the classes that its spelling puts it in."""

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

_ONE_CLASS: dict[str, Callable[[str], bool]] = {
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
"""Of these the first that fits is a token's coarse class."""

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
    return COARSE_CLASSES.index(next((name for name, test in _ONE_CLASS.items() if test(text)), "something else"))
