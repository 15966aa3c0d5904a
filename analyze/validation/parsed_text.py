"""The words, numbers and identifiers in a stream of tokens, each with the tokens that it spans."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.text.stream import stream_of
from analyze.text.vocabulary import Vocabulary
from train.data.tokens import TokenFile

_SEPARATOR = b"\0"
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_NUMBER = re.compile(rb"[0-9]+")
_IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Spans:
    """Words, numbers or identifiers: stretches of the stream's bytes, in order."""

    texts: tuple[str, ...]
    start: Int[ndarray, "r"]
    """Offset of the first byte."""
    first: Int[ndarray, "r"]
    """The token that contains the first byte."""
    last: Int[ndarray, "r"]
    """The token that contains the last byte: there the span is complete."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def folded(self) -> tuple[str, ...]:
        """The texts in lower case."""
        return tuple(text.lower() for text in self.texts)


class ParsedText:
    """A stream of documents as readable text. Offsets count all of its bytes; a separator counts as one."""

    def __init__(self, ids: Int[ndarray, "s"], document: Int[ndarray, "s"], vocabulary: Vocabulary) -> None:
        """Parse a stream of token ids.

        Args:
            document: the document of each position, -1 at separators.
        """
        self.document = document
        pieces = [
            vocabulary.pieces[token] if inside >= 0 else _SEPARATOR
            for token, inside in zip(ids.tolist(), document.tolist())
        ]
        self.data = b"".join(pieces)
        self._offsets: dict[str, Int[ndarray, "_"]] = {}
        self.begin = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])[:-1].astype(np.int64)

    @classmethod
    def of(cls, data: TokenFile) -> "ParsedText":
        """Parse the held-out text of a data directory."""
        stream = stream_of(data)
        return cls(stream.ids, stream.document, stream.vocabulary)

    def __len__(self) -> int:
        return len(self.document)

    def token_at(self, offset: Int[ndarray, "k"]) -> Int[ndarray, "k"]:
        """The token that contains each byte."""
        return np.searchsorted(self.begin, offset, side="right") - 1

    def spans(self, pattern: re.Pattern[bytes]) -> Spans:
        """Where a pattern matches, without empty matches."""
        matches = [match for match in pattern.finditer(self.data) if match.group()]
        start = np.array([match.start() for match in matches], np.int64)
        stop = np.array([match.end() for match in matches], np.int64)
        texts = tuple(match.group().decode("utf-8", errors="replace") for match in matches)
        return Spans(texts, start, self.token_at(start), self.token_at(stop - 1))

    def offsets(self, pattern: str) -> Int[ndarray, "k"]:
        """The offsets at which matches of a pattern end."""
        if pattern not in self._offsets:
            ends = [match.end() for match in re.finditer(pattern.encode(), self.data)]
            self._offsets[pattern] = np.array(ends, np.int64)
        return self._offsets[pattern]

    @cached_property
    def words(self) -> Spans:
        """Letters in a row, including those outside ASCII."""
        return self.spans(_WORD)

    @cached_property
    def numbers(self) -> Spans:
        """Digits in a row."""
        return self.spans(_NUMBER)

    @cached_property
    def identifiers(self) -> Spans:
        """Letters, digits and underscores in a row, not beginning with a digit; in prose as in code."""
        return self.spans(_IDENTIFIER)

    @cached_property
    def breaks(self) -> Int[ndarray, "k"]:
        """Offsets at which a sentence begins: after a full stop and a blank, an empty line, or a separator."""
        return np.concatenate([[0], self.offsets(r"[.!?][\"')]*\s|\n\s*\n|\x00")])

    def at(self, tokens: Int[ndarray, "k"]) -> Bool[ndarray, "s"]:
        """A mask of some tokens."""
        mask = np.zeros(len(self), bool)
        mask[tokens] = True
        return mask

    def back(self, inside: Bool[ndarray, "s"], n: int) -> Bool[ndarray, "s"]:
        """The tokens exactly n after a token of `inside`, in the same document."""
        moved = np.zeros_like(inside)
        moved[n:] = inside[:-n] & (self.document[n:] == self.document[:-n])
        return moved

    def since(self, spans: Spans, events: Int[ndarray, "k"]) -> Int[ndarray, "r"]:
        """The place of each span, from 1, among those that begin at or after the last event; 0 before every event.

        Events are offsets. Counting starts afresh in every document.
        """
        separators = self.offsets(r"\x00")
        last = np.searchsorted(events, spans.start, side="right") - 1
        known = last >= 0
        event = events[np.maximum(last, 0)] if len(events) else np.zeros(len(spans), np.int64)
        document = np.searchsorted(separators, spans.start, side="right")
        same = known & (np.searchsorted(separators, event, side="right") == document)
        return np.where(same, np.arange(len(spans)) - np.searchsorted(spans.start, event) + 1, 0)
