"""The word class of every token: part of speech and inflection, by the lexicon tagger of `labels.families.speech`.

A token's class is the whole set of tags that its word bears ("a noun, a plural noun"), so classes do not overlap.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.labels.families import speech
from analyze.text.stream import Stream, once_for_data, stream_of
from train.data.tokens import TokenFile

NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class WordClasses:
    """The class of every position of a held-out stream."""

    of_position: Int[ndarray, "s"]
    """Its class, NO_CLASS where it has none: in code, between words."""
    n_classes: int


def classes_in(stream: Stream) -> WordClasses:
    """The word classes of a stream; none of any position where the tagger's package is not installed."""
    bits = np.zeros(len(stream), np.int64)
    for number, (_, positions) in enumerate(speech.FAMILY.find(stream)):
        bits[positions] |= 1 << number
    values, keys = np.unique(bits, return_inverse=True)
    has_none = int(values[0] == 0) if len(values) else 0
    return WordClasses(np.where(bits == 0, NO_CLASS, keys - has_none), len(values) - has_none)


@once_for_data
def word_classes_on(data: TokenFile) -> WordClasses:
    """The word classes of a data directory's held-out text."""
    return classes_in(stream_of(data))
