"""The grammar of one sample of tokens, built once and shared by every run that was scored on it."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.rules.grammar import Grammar
from analyze.rules.views import View, context_view, document_view, token_views
from analyze.text.embeddings import token_embeddings
from analyze.text.spelling import spelled
from analyze.text.stream import Stream, once_for_data, sampled_text, stream_of
from train.data.tokens import TokenFile


def build_views(stream: Stream, vectors: Float[ndarray, "v d"]) -> tuple[View, ...]:
    """Every view of a stream; `vectors` are embeddings of its vocabulary."""
    vocabulary = stream.vocabulary
    return (
        *token_views(stream.ids, stream.previous, vocabulary, vectors, spelled(vocabulary.texts)),
        context_view(stream),
        document_view(stream, vectors),
    )


@once_for_data
def _views(data: TokenFile) -> tuple[View, ...]:
    return build_views(stream_of(data), token_embeddings(data))


@dataclass(frozen=True)
class SampledPositions:
    """Sampled positions, equal to others where the digests are equal; so they can be the key of a cache."""

    digest: bytes
    positions: Int[ndarray, "t"] = field(compare=False)
    is_fit: Bool[ndarray, "t"] = field(compare=False)

    @classmethod
    def of(cls, positions: ndarray, is_fit: ndarray) -> "SampledPositions":
        """These positions, each in the fit or the eval half."""
        positions, is_fit = np.asarray(positions, np.int64), np.asarray(is_fit, np.bool_)
        return cls(hashlib.sha256(positions.tobytes() + is_fit.tobytes()).digest(), positions, is_fit)


@lru_cache(maxsize=2)
def _grammar(views: tuple[View, ...], sample: SampledPositions) -> Grammar:
    return Grammar(views, sample.positions, sample.is_fit)


def grammar_on(data: TokenFile, positions: Int[ndarray, "t"], is_fit: Bool[ndarray, "t"]) -> Grammar:
    """The grammar of some positions of a data directory's held-out stream, each in the fit or the eval half.

    The last two are kept, so that runs scored on the same sample share one.
    """
    return _grammar(_views(data), SampledPositions.of(positions, is_fit))


def grammar_of(acts: Activations) -> Grammar:
    """The grammar of the sample of `acts`.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    return grammar_on(sampled_text(acts), acts.tokens.stream_position, acts.tokens.is_fit)
