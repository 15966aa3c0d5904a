"""What annotation gives: for each feature, spans of characters in the documents of a corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.text.stream import Stream


class Annotated(NamedTuple):
    """A stretch of a document that has a feature: its last token bears it."""

    kind: str
    family: str
    name: str
    document: int
    """Index among the held-out documents."""
    start: int
    stop: int
    """In characters of the document's text."""


@dataclass(frozen=True)
class AnnotatedFeature:
    """A feature by its kind, family and name, and where it is."""

    kind: str
    family: str
    name: str
    positions: Int[ndarray, "_"]
    """In the stream, sorted."""


def collected(stream: Stream, annotated: Iterator[Annotated], wanted: frozenset[int]) -> list[AnnotatedFeature]:
    """Each feature's tokens: the last token of each of its stretches.

    Args:
        wanted: documents that count; the rest of the stream has no feature.
    """
    positions: dict[tuple[str, str, str], list[int]] = {}
    for stretch in annotated:
        if stretch.document not in wanted:
            continue
        tokens = stream.passages[stretch.document].tokens_of(stretch.start, stretch.stop)
        if tokens:
            at = int(stream.starts[stretch.document]) + tokens[-1]
            positions.setdefault((stretch.kind, stretch.family, stretch.name), []).append(at)
    return [AnnotatedFeature(*key, np.unique(np.array(at, np.int64))) for key, at in sorted(positions.items())]
