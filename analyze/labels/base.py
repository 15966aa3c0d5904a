"""What the label bank is made of: labels, spans of text, families of labels.

Families read text as characters and say which spans bear a label. One rule turns spans into tokens everywhere:
**a token bears a label if its last byte lies in the span.** A token that ends inside a character (byte-level
BPE cuts emoji) stands where that character stands. BOS, separators and padding belong to no document and
bear no label.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.text.stream import Passage, Stream

Truth = Literal["exact", "rule", "tagger"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)


@dataclass(frozen=True)
class Label:
    """A feature of tokens that is read from text."""

    name: str
    """A phrase that fits a sentence, such as "the first digit of a number"."""
    family: str
    truth: Truth
    """exact: true by definition; rule: a rule on text that can err; tagger: what a tagger says."""
    causal: bool
    """Whether the text up to the end of the token decides it, so that a model can know it there.

    Where a token ends inside a character, that whole character counts: text is read as characters.
    """
    note: str = ""


class Span(NamedTuple):
    """Characters start..stop of a document's text bear the label `name`."""

    name: str
    start: int
    stop: int


Labelled = Iterable[tuple[Label, Int[ndarray, "_"]]]
"""Labels and the sorted stream positions of their tokens."""


@dataclass(frozen=True)
class Family:
    """Labels that are read from a stream together."""

    name: str
    find: Callable[[Stream], Labelled]
    """Every label of the family, also one without tokens."""


def declared(family: str, truth: Truth, causal: bool, *names: str, note: str = "") -> tuple[Label, ...]:
    """Labels that share everything but their names."""
    return tuple(Label(name, family, truth, causal, note) for name in names)


Bins = Sequence[tuple[str, int]]
"""Names of ranges of integers and the least value of each, ascending; the last has no end."""


def bin_of(bins: Bins, value: int) -> str:
    """The name of the range that holds a value."""
    return bins[bisect_right(bins, value, key=itemgetter(1)) - 1][0]


class Pattern(NamedTuple):
    """A label as a regular expression: its group `at`, or all that it matches, bears the label."""

    name: str
    regex: str
    causal: bool
    truth: Truth = "rule"
    note: str = ""


def pattern_family(family: str, patterns: Sequence[Pattern], prose_only: bool = False) -> Family:
    """A family of regular expressions, each matched on its own against every document, or those of prose."""
    labels = [Label(pattern.name, family, pattern.truth, pattern.causal, pattern.note) for pattern in patterns]
    compiled = [re.compile(pattern.regex, re.MULTILINE) for pattern in patterns]

    def spans(passage: Passage) -> Iterator[Span]:
        if prose_only and passage.content != "prose":
            return
        for label, regex in zip(labels, compiled):
            group = "at" if "at" in regex.groupindex else 0
            for match in regex.finditer(passage.text):
                yield Span(label.name, *match.span(group))

    return span_family(labels, spans)


Spans = Callable[[Passage], Iterable[Span]]


def label_spans(stream: Stream, labels: Sequence[Label], spans: Spans) -> Labelled:
    """Every one of `labels` with the tokens of its spans in the documents of a stream."""
    by_label: dict[str, list[tuple[int, int, int]]] = {label.name: [] for label in labels}
    for passage in stream.passages:
        for name, start, stop in spans(passage):
            by_label[name].append((passage.index, start, stop))
    for label in labels:
        yield label, stream.positions_of(np.array(by_label[label.name], np.int64).reshape(-1, 3))


def span_family(labels: Sequence[Label], spans: Spans) -> Family:
    """A family whose labels are spans of each document's text."""
    return Family(labels[0].family, lambda stream: label_spans(stream, labels, spans))
