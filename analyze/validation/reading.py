"""The words, numbers and identifiers of a stream of tokens, each with the tokens it lies in."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.text.vocabulary import Vocabulary
from train.data.tokens import TokenFile, load_tokenizer

_SEPARATOR = b"\0"
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_NUMBER = re.compile(rb"[0-9]+")
_IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Runs:
    """Stretches of the stream's bytes in their order: words, numbers or identifiers."""

    texts: tuple[str, ...]
    start: Int[ndarray, "r"]
    """Offset of the first byte."""
    first: Int[ndarray, "r"]
    """Token that holds the first byte."""
    last: Int[ndarray, "r"]
    """Token that holds the last byte: where the run is whole."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def folded(self) -> tuple[str, ...]:
        """In lower case."""
        return tuple(text.lower() for text in self.texts)


class Reading:
    """A stream of documents as a reader sees it. Offsets are into all of its bytes, one byte a separator."""

    def __init__(self, ids: Int[ndarray, "s"], document: Int[ndarray, "s"], vocabulary: Vocabulary) -> None:
        """Of a stream of token ids, with the document of each position, -1 at separators."""
        self.document = document
        pieces = [
            vocabulary.pieces[token] if inside >= 0 else _SEPARATOR
            for token, inside in zip(ids.tolist(), document.tolist())
        ]
        self.data = b"".join(pieces)
        self._offsets: dict[str, Int[ndarray, "_"]] = {}
        self.begin = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])[:-1].astype(np.int64)

    @classmethod
    def of(cls, data: TokenFile) -> "Reading":
        """Of one split of a data directory."""
        documents: pl.DataFrame = data.documents()
        document = np.full(data.n_tokens, -1, np.int64)
        for index, start, length in documents.select("index", "start", "length").iter_rows():
            document[start : start + length] = index
        vocabulary = Vocabulary.of(load_tokenizer(data.directory / "tokenizer.json"))
        return cls(data.stream(0, data.n_tokens).astype(np.int64), document, vocabulary)

    def __len__(self) -> int:
        return len(self.document)

    def token_at(self, offset: Int[ndarray, "k"]) -> Int[ndarray, "k"]:
        """The token that holds each byte."""
        return np.searchsorted(self.begin, offset, side="right") - 1

    def runs(self, pattern: re.Pattern[bytes]) -> Runs:
        """Where a pattern matches, matches of no bytes left out."""
        found = [(one.group(), one.start(), one.end()) for one in pattern.finditer(self.data) if one.group()]
        start = np.array([begin for _, begin, _ in found], np.int64)
        stop = np.array([end for _, _, end in found], np.int64)
        texts = tuple(text.decode("utf-8", errors="replace") for text, _, _ in found)
        return Runs(texts, start, self.token_at(start), self.token_at(stop - 1))

    def offsets(self, pattern: str) -> Int[ndarray, "k"]:
        """Where matches of a pattern end."""
        if pattern not in self._offsets:
            found = [one.end() for one in re.finditer(pattern.encode(), self.data)]
            self._offsets[pattern] = np.array(found, np.int64)
        return self._offsets[pattern]

    @cached_property
    def words(self) -> Runs:
        """Letters in a row, those outside ASCII included."""
        return self.runs(_WORD)

    @cached_property
    def numbers(self) -> Runs:
        """Digits in a row."""
        return self.runs(_NUMBER)

    @cached_property
    def identifiers(self) -> Runs:
        """Letters, digits and underscores in a row that do not begin with a digit, in prose as in code."""
        return self.runs(_IDENTIFIER)

    @cached_property
    def breaks(self) -> Int[ndarray, "k"]:
        """Offsets at which a sentence begins: after a stop and a blank, an empty line, a separator."""
        return np.concatenate([[0], self.offsets(r"[.!?][\"')]*\s|\n\s*\n|\x00")])

    def at(self, tokens: Int[ndarray, "k"]) -> Bool[ndarray, "s"]:
        """A set of tokens as a mask."""
        mask = np.zeros(len(self), bool)
        mask[tokens] = True
        return mask

    def back(self, inside: Bool[ndarray, "s"], n: int) -> Bool[ndarray, "s"]:
        """Tokens that have a token of `inside` exactly n tokens before them, in the same document."""
        moved = np.zeros_like(inside)
        moved[n:] = inside[:-n] & (self.document[n:] == self.document[:-n])
        return moved

    def since(self, runs: Runs, events: Int[ndarray, "k"]) -> Int[ndarray, "r"]:
        """The place of each run, from 1, among those that begin at or after the last of `events`; 0 before all.

        An event is an offset; runs are those of one document, so that a separator leaves none before it.
        """
        separators = self.offsets(r"\x00")
        last = np.searchsorted(events, runs.start, side="right") - 1
        known = last >= 0
        begun = events[np.maximum(last, 0)] if len(events) else np.zeros(len(runs), np.int64)
        document = np.searchsorted(separators, runs.start, side="right")
        same = known & (np.searchsorted(separators, begun, side="right") == document)
        return np.where(same, np.arange(len(runs)) - np.searchsorted(runs.start, begun) + 1, 0)
