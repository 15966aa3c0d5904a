"""The nouns of the label bank: a label, a passage of text, the stream of tokens, a family of labels.

Families read text as characters and say which spans bear a label. One rule takes spans to tokens everywhere:
**a token bears a label if its last byte lies in the span.** A token that ends amid a character (byte-level
BPE cuts emoji) so stands where that character stands. BOS, separators and padding belong to no document and
bear no label.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.text.vocabulary import Vocabulary

Truth = Literal["exact", "rule", "tagger"]
TRUTHS: tuple[Truth, ...] = ("exact", "rule", "tagger")
_PYTHON_NAME = re.compile(r"\.pyi?(:\d+)?$")


@dataclass(frozen=True)
class Label:
    """A feature of tokens that is read from text."""

    name: str
    """A phrase that fits a sentence, such as "the first digit of a number"."""
    family: str
    truth: Truth
    """exact: true by definition; rule: a rule on text that can be fooled; tagger: what a tagger says."""
    causal: bool
    """A function of the text up to the end of the token, so that a model can know it there.

    Where a token ends amid a character, that whole character counts: text is read as characters.
    """
    note: str = ""


class Span(NamedTuple):
    """Characters start..stop of a document's text bear the label `name`."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Passage:
    """One document as text, and where its tokens end in it."""

    text: str
    """Decoded UTF-8; a byte that is none stands as a lone surrogate ("surrogateescape"), one character a byte."""
    last_character: Int[ndarray, "t"]
    """Index into `text` of the character that holds each token's last byte; never falls."""
    index: int
    """Among the documents of its split."""
    source: str = ""
    topic: str | None = None
    path_or_title: str | None = None
    sha256: str = ""

    @property
    def is_python(self) -> bool:
        """By the name of the file it is, or is a piece of ("a/b.py:120" is the piece at line 120)."""
        return self.path_or_title is not None and _PYTHON_NAME.search(self.path_or_title) is not None

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of every line; lines end after "\\n" alone."""
        starts, at = [0], self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return starts

    def lines(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of every line without its "\\n"; the last may be empty."""
        starts = self.line_starts
        for start, after in zip(starts, [*starts[1:], len(self.text) + 1]):
            yield start, after - 1

    def tokens_of(self, start: int, stop: int) -> range:
        """The tokens that bear a label on characters start..stop."""
        return range(bisect_left(self.ends, start), bisect_left(self.ends, stop))

    @cached_property
    def ends(self) -> list[int]:
        """`last_character` as a list, which is quicker one by one."""
        return self.last_character.tolist()

    def token_at(self, start: int, stop: int) -> tuple[int, int] | None:
        """Span of the first token that ends in characters start..stop, as the character it ends on."""
        at = bisect_left(self.ends, start)
        if at < len(self.ends) and self.ends[at] < stop:
            return self.ends[at], self.ends[at] + 1
        return None


@dataclass(frozen=True)
class Stream:
    """The tokens of one split of prepared text, and what the labels of a bank are computed from.

    ids are [s] with separators; `starts` and `lengths` are each document's place in it; `training` is the
    stream of the other split (words are chosen by their frequency there).
    """

    ids: Int[ndarray, "s"]
    starts: Int[ndarray, "documents"]
    lengths: Int[ndarray, "documents"]
    vocabulary: Vocabulary
    n_ctx: int
    training: Int[ndarray, "f"]
    sources: Sequence[str]
    topics: Sequence[str | None]
    paths: Sequence[str | None]
    hashes: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def document(self) -> Int[ndarray, "s"]:
        """Document of each position; -1 at separators."""
        found = np.full(len(self.ids), -1, np.int64)
        found[self.positions] = np.repeat(np.arange(len(self.starts)), self.lengths)
        return found

    @cached_property
    def positions(self) -> Int[ndarray, "t"]:
        """Stream positions of the documents' tokens, separators left out."""
        offset = np.cumsum(self.lengths) - self.lengths
        return np.arange(int(self.lengths.sum())) + np.repeat(self.starts - offset, self.lengths)

    @cached_property
    def row_position(self) -> Int[ndarray, "s"]:
        """Position of each token in the model's row, from 1 (0 is BOS)."""
        return np.arange(len(self.ids)) % self.n_ctx + 1

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The documents as text."""
        return tuple(self._passage(index) for index in range(len(self.starts)))

    def _passage(self, index: int) -> Passage:
        start, length = int(self.starts[index]), int(self.lengths[index])
        pieces = [self.vocabulary.pieces[token] for token in self.ids[start : start + length].tolist()]
        text = b"".join(pieces).decode("utf-8", errors="surrogateescape")
        return Passage(
            text,
            _last_characters(text, np.array([len(piece) for piece in pieces], np.int64)),
            index,
            self.sources[index],
            self.topics[index],
            self.paths[index],
            self.hashes[index],
        )

    @cached_property
    def _text_starts(self) -> Int[ndarray, "documents"]:
        """Where each text would begin if all lay behind one another, one character apart."""
        sizes = np.array([len(passage.text) + 1 for passage in self.passages], np.int64)
        return np.cumsum(sizes) - sizes + 1

    @cached_property
    def _last_characters(self) -> Int[ndarray, "t"]:
        parts = [passage.last_character + at for passage, at in zip(self.passages, self._text_starts.tolist())]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def positions_of(self, spans: Int[ndarray, "spans 3"]) -> Int[ndarray, "_"]:
        """Sorted stream positions of the tokens in spans, each (document index, start, stop) in characters."""
        at = self._text_starts[spans[:, 0]]
        first = np.searchsorted(self._last_characters, at + spans[:, 1])
        stop = np.searchsorted(self._last_characters, at + spans[:, 2])
        change = np.zeros(len(self._last_characters) + 1, np.int64)
        np.add.at(change, first, 1)
        np.add.at(change, stop, -1)
        return self.positions[np.cumsum(change[:-1]) > 0]


def _last_characters(text: str, sizes: Int[ndarray, "t"]) -> Int[ndarray, "t"]:
    ends = np.cumsum(sizes) - 1
    if text.isascii():
        return ends
    widths = np.fromiter(map(_width, text), np.int64, len(text))
    return np.searchsorted(np.cumsum(widths), ends, side="right")


def _width(character: str) -> int:
    """Bytes of a character in UTF-8; a lone surrogate stands for one byte."""
    code = ord(character)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return 1
    return 2 if code < 0x800 else 3 if code < 0x10000 else 4


Found = Iterable[tuple[Label, Int[ndarray, "_"]]]


@dataclass(frozen=True)
class Family:
    """Labels that are found together."""

    name: str
    find: Callable[[Stream], Found]
    """Every label of the family, also one without tokens, with its sorted stream positions."""


def declared(family: str, truth: Truth, causal: bool, *names: str, note: str = "") -> tuple[Label, ...]:
    """Labels that share everything but their names."""
    return tuple(Label(name, family, truth, causal, note) for name in names)


class Pattern(NamedTuple):
    """A label as a regular expression: its group `at`, or all that it matches, bears the label."""

    name: str
    regex: str
    causal: bool
    truth: Truth = "rule"
    note: str = ""


def pattern_family(family: str, patterns: Sequence[Pattern], wanted: Callable[[Passage], bool] = bool) -> Family:
    """A family of regular expressions, each matched on its own against every document that is `wanted`."""
    labels = [Label(one.name, family, one.truth, one.causal, one.note) for one in patterns]
    compiled = [re.compile(one.regex, re.MULTILINE) for one in patterns]
    groups = ["at" if "at" in regex.groupindex else 0 for regex in compiled]

    def spans(passage: Passage) -> Iterator[Span]:
        if wanted(passage):
            for label, regex, group in zip(labels, compiled, groups):
                for match in regex.finditer(passage.text):
                    yield Span(label.name, *match.span(group))

    return span_family(labels, spans)


Spans = Callable[[Passage], Iterable[Span | tuple[str, int, int]]]


def found_spans(stream: Stream, labels: Sequence[Label], spans: Spans) -> Found:
    """Every one of `labels` with the tokens of its spans in the documents of a stream."""
    held: dict[str, list[tuple[int, int, int]]] = {label.name: [] for label in labels}
    for passage in stream.passages:
        for name, start, stop in spans(passage):
            held[name].append((passage.index, start, stop))
    for label in labels:
        yield label, stream.positions_of(np.array(held[label.name], np.int64).reshape(-1, 3))


def span_family(labels: Sequence[Label], spans: Spans) -> Family:
    """A family whose labels are spans of each document's text."""
    return Family(labels[0].family, lambda stream: found_spans(stream, labels, spans))
