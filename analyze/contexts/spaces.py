"""Spaces of contexts: a vector for every token of a sample, from the text and nothing of the model under study.

| space | a token's vector |
|---|---|
| left | embeddings of the token and of the three before it, side by side |
| around | embeddings of the token, two before and two after it, and the word classes of the same five |
| sentence | what a small pretrained model of sentences makes of it (`analyze.text.sentence_model`) |
| window | mean embedding of the eight tokens before it |
| form | how it is spelled and written |
| class | its word class |

Scores have figures of the first three; the others only say whether parts of a neuron's firings are alike.

Vectors are centred and whitened over the fit tokens: a mean of firings is then also the direction that tells them best
from other tokens (linear discriminant analysis), and lengths say how far from chance they are. Embeddings are those of
`analyze.text.embeddings`; a token beyond its document is the zero vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.activations.token_sample import position_hash
from analyze.contexts.word_classes import WordClasses, word_classes_on
from analyze.labels.families import speech
from analyze.rules.build import SampledPositions
from analyze.text import sentence_model
from analyze.text.context_vectors import contexts_on
from analyze.text.embeddings import token_embeddings, unit_rows
from analyze.text.stream import Stream, once_for_data, sampled_text, stream_of
from train.data.tokens import TokenFile

D_TOKEN = 64
"""Dimensions of a token's embedding that count here."""
SPACES = ("left", "around", "sentence")
VIEWS = (*SPACES, "window", "form", "class")
LEFT = (0, -1, -2, -3)
AROUND = (0, -1, -2, 1, 2)
D_LEFT, D_AROUND, D_SENTENCE, D_VIEW = 128, 160, 160, 64
"""Directions that whitening keeps: those of the largest variance."""
FEWEST = 0.001
"""Share of the tokens below which a word class at some offset is left out."""
FARTHEST = 6.0
"""Coordinates of white vectors are clipped here, in standard deviations."""
LEAST_VARIANCE = 1e-3
"""Of the largest, added to each: a direction of hardly any variance is not blown up."""
N_BACKGROUND = 2000
"""Random tokens that firings are told from."""


@dataclass(frozen=True, eq=False)
class Space:
    """White vectors of the tokens of a sample."""

    name: str
    z: Float[ndarray, "t d"]
    """float32"""
    background: Int[ndarray, "b"]
    """Random tokens of the eval half, as indices into the sample."""

    @cached_property
    def of_background(self) -> Float[ndarray, "b d"]:
        """The vectors of the background."""
        return self.z[self.background]


def neighbours(
    document: Int[ndarray, "s"], positions: Int[ndarray, "t"], offset: int
) -> tuple[Int[ndarray, "t"], Bool[ndarray, "t"]]:
    """The positions at an offset, and whether they lie in the same document (elsewhere: any position)."""
    there = np.clip(positions + offset, 0, len(document) - 1)
    return there, (document[there] == document[positions]) & (there == positions + offset)


def white(x: Float[ndarray, "t c"], is_fit: Bool[ndarray, "t"], d: int) -> Float[ndarray, "t d"]:
    """Centred and white over the fit tokens: at most `d` directions, those of the largest variance; clipped.

    Without any direction ([t 0]) where nothing varies, or no token is in the fit half.
    """
    if not is_fit.any():
        return x[:, :0]
    x = x - x[is_fit].mean(axis=0, dtype=np.float64).astype(np.float32)
    fit = x[is_fit]
    values, vectors = np.linalg.eigh((fit.T @ fit).astype(np.float64) / max(len(fit), 1))
    if not len(values) or values.max() <= 0:
        return x[:, :0]
    largest = np.argsort(-values, kind="stable")[:d]
    # The sign of an eigenvector is any: the largest entry is made positive, so that it does not hang on the library.
    vectors = vectors[:, largest]
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(largest))] < 0, -1.0, 1.0)
    scaled = vectors / np.sqrt(values[largest] + LEAST_VARIANCE * values.max())
    return np.clip(x @ scaled.astype(np.float32), -FARTHEST, FARTHEST)


@dataclass(frozen=True, eq=False)
class _Text:
    """What a data directory's spaces are made from."""

    data: TokenFile
    """Its held-out split."""
    stream: Stream
    table: Float[ndarray, "v d"]
    """Embeddings, float32."""

    @cached_property
    def classes(self) -> WordClasses:
        """Of every position; asked for once the package is there, which may be installed while the process runs."""
        return word_classes_on(self.data)


@once_for_data
def _text_on(data: TokenFile) -> _Text:
    table = unit_rows(token_embeddings(data)[:, :D_TOKEN]).astype(np.float32)
    return _Text(data, stream_of(data), table)


def _embedded(text: _Text, positions: Int[ndarray, "t"], offsets: Sequence[int]) -> Float[ndarray, "t c"]:
    parts = []
    for offset in offsets:
        there, inside = neighbours(text.stream.document, positions, offset)
        parts.append(text.table[text.stream.ids[there]] * inside[:, None].astype(np.float32))
    return np.hstack(parts)


def _classes(text: _Text, positions: Int[ndarray, "t"], offsets: Sequence[int]) -> Float[ndarray, "t c"]:
    """One-hot word classes at some offsets, without those that hardly occur."""
    classes, document = text.classes, text.stream.document
    parts = []
    for offset in offsets:
        there, inside = neighbours(document, positions, offset)
        keys = np.where(inside, classes.of_position[there], -1)
        counts = np.bincount(keys[keys >= 0], minlength=classes.n_classes)
        kept = np.flatnonzero(counts >= FEWEST * len(positions))
        parts.append((keys[:, None] == kept).astype(np.float32))
    return np.hstack(parts)


@lru_cache(maxsize=1)
def _spaces(text: _Text, sampled: SampledPositions, without: str) -> tuple[Space, ...]:
    """The spaces of a sample; `without`, what `lacks` says, has them made again once a package is installed."""
    positions, is_fit = sampled.positions, sampled.is_fit
    held_out = np.flatnonzero(~is_fit)
    by_hash = np.argsort(position_hash(positions[held_out]), kind="stable")
    background = np.sort(held_out[by_hash[:N_BACKGROUND]])
    vectors = {"left": white(_embedded(text, positions, LEFT), is_fit, D_LEFT)}
    if speech.lexicon_path() is not None:
        embedded, classes = _embedded(text, positions, AROUND), _classes(text, positions, AROUND)
        if classes.size and classes.any():  # the text may have no English prose
            embedded = np.hstack([embedded / embedded.std(), classes / classes.std()])
        vectors["around"] = white(embedded, is_fit, D_AROUND)
        own = _classes(text, positions, (0,))
        vectors["class"] = white(np.hstack([own, 1 - own.sum(axis=1, keepdims=True)]), is_fit, D_VIEW)
    if not sentence_model.lacks():
        states = sentence_model.token_vectors(text.data, positions)
        vectors["sentence"] = white(states.astype(np.float32), is_fit, D_SENTENCE)
    for view in contexts_on(text.data).views:
        if view.name in VIEWS:
            vectors[view.name] = white(view.vectors(positions).astype(np.float32), is_fit, D_VIEW)
    # A space in which nothing varies says nothing: in text without English prose no token has a word class.
    order = [name for name in VIEWS if name in vectors and vectors[name].shape[1]]
    # Side by side, so that all vectors of a neuron's firings are read at once.
    ends = np.cumsum([0, *(vectors[name].shape[1] for name in order)]).tolist()
    together = np.hstack([np.zeros((len(positions), 0), np.float32), *(vectors[name] for name in order)])
    return tuple(Space(name, together[:, first:stop], background) for name, first, stop in zip(order, ends, ends[1:]))


def lacks() -> str:
    """The package that a space needs and that is not installed, and how to get it; empty where all are there."""
    if speech.lexicon_path() is None:
        return f"the package {speech.PACKAGE} ({speech.INSTALL})"
    return sentence_model.lacks()


def spaces_of(acts: Activations) -> tuple[Space, ...]:
    """The spaces of the sample of `acts`, in the order of VIEWS, without those whose package is not installed, and
    without those in which nothing varies.

    The last sample's are kept (0.5 GB at 190 k tokens): a layer, its nulls and other runs on that sample share them.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    sampled = SampledPositions.of(acts.tokens.stream_position, acts.tokens.is_fit)
    return _spaces(_text_on(sampled_text(acts)), sampled, lacks())


def prepare(acts: Activations) -> None:
    """Make what `spaces_of` finds on disk: the vectors of the sentence model, where it is installed."""
    if not sentence_model.lacks():
        sampled = SampledPositions.of(acts.tokens.stream_position, acts.tokens.is_fit)
        sentence_model.token_vectors(sampled_text(acts), sampled.positions)
