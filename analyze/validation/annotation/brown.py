"""The tags of the Brown corpus as features: word class, inflection, title, headline, foreign word, negation, genre.

W. N. Francis and H. Kucera, "Brown Corpus Manual" (1964, revised 1979), names the tags. People set them, word by word.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from analyze.text.stream import Passage, Stream
from analyze.validation.annotation.base import Annotated
from train.data.brown import GENRES, brown_files
from train.errors import BadInput
from train.textfiles import Decoder

INFLECTED = frozenset(
    [
        "nns",
        "vbd",
        "vbg",
        "vbn",
        "vbz",
        "jjr",
        "jjt",
        "rbr",
        "rbt",
        "nn$",
        "nns$",
        "np$",
        "nps",
        "hvd",
        "hvg",
        "hvz",
        "bedz",
        "bed",
        "ben",
        "bez",
        "ber",
        "dod",
        "doz",
    ]
)
"""Tags that say an inflection; every other tag is a word class."""
MARKS = frozenset([".", ",", ":", "(", ")", "--", "'", "``", "''"])
"""Tags of punctuation."""
COMMONEST = 60
"""Pairs and neighbours are taken of so many of the commonest tags and pairs."""
GENRE_CLASSES = ("nn", "in", "jj", "at", "vb", "rb")
"""A genre fills whole documents; a feature of it is one word class in its documents."""
_NAME = re.compile(r"c[a-r]\d\d")
_QUOTES = {"``": '"', "''": '"'}


class Tag(NamedTuple):
    """A tag of the corpus, taken apart."""

    base: str
    """The class with its inflection, of the first part of a contraction."""
    title: bool
    headline: bool
    foreign: bool
    negated: bool


class TaggedWord(NamedTuple):
    """A word in a document's text."""

    start: int
    stop: int
    tag: Tag


def taken_apart(tag: str) -> Tag:
    """`fw-nn-tl` -> nn, in a title, foreign; `md*` -> md, negated; `ppss+ber` -> ppss."""
    foreign = tag.startswith("fw-")
    core = tag.removeprefix("fw-")
    suffixes = set(re.findall(r"-(tl|hl|nc)\b", core))
    core = re.sub(r"-(tl|hl|nc)\b", "", core)
    first = core.split("+")[0]
    base = first.removesuffix("*") or "*"
    return Tag(base, "tl" in suffixes, "hl" in suffixes, foreign, "*" in core)


def tagged_words(passage: Passage, source: str, name: str) -> list[TaggedWord]:
    """The words of a document with their tags, found in its text one after another.

    Args:
        source: what the corpus' file holds.
        name: of the file, for messages.

    Raises:
        BadInput: the text is not that of the file.
    """
    words, at, text = [], 0, passage.text
    for tagged in source.split():
        word, _, tag = tagged.rpartition("/")
        shown = _QUOTES.get(word, word)
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith(shown, at):
            if word in (".", ";", "?", "!"):
                continue  # `train.data.brown` writes a doubled mark once
            raise BadInput(f"{name}: {tagged!r} is not in the prepared text at character {at}; prepare the data again")
        words.append(TaggedWord(at, at + len(shown), taken_apart(tag)))
        at += len(shown)
    return words


def brown_annotations(stream: Stream, folder: Path) -> Iterator[Annotated]:
    """Every feature of the tags, on the documents of a stream that are of the corpus.

    Raises:
        BadInput: the folder holds no such corpus, or another text.
    """
    files = brown_files(str(folder))
    documents = {index: path for index, path in enumerate(stream.paths) if path is not None and _NAME.fullmatch(path)}
    read = {
        index: tagged_words(stream.passages[index], Decoder().decode(files[path].read_bytes(), path), path)
        for index, path in documents.items()
        if path in files
    }
    tags = Counter(word.tag.base for words in read.values() for word in words if word.tag.base not in MARKS)
    common = {tag for tag, _ in tags.most_common(COMMONEST)}
    pairs = Counter(
        (a.tag.base, b.tag.base)
        for words in read.values()
        for a, b in pairwise(words)
        if {a.tag.base, b.tag.base} <= common
    )
    common_pairs = {pair for pair, _ in pairs.most_common(2 * COMMONEST)}
    for index, words in read.items():
        genre = GENRES[documents[index][1]]
        for place, word in enumerate(words):
            before = words[place - 1].tag.base if place else ""
            earlier = words[place - 2].tag.base if place > 1 else ""
            after = words[place + 1].tag.base if place + 1 < len(words) else ""
            for kind, family, name in _features(
                word.tag, before, earlier, after, genre, common, common_pairs, words, place
            ):
                yield Annotated(kind, family, name, index, word.start, word.stop)


def _features(
    tag: Tag,
    before: str,
    earlier: str,
    after: str,
    genre: str,
    common: set[str],
    common_pairs: set[tuple[str, str]],
    words: list[TaggedWord],
    place: int,
) -> Iterator[tuple[str, str, str]]:
    if tag.base in MARKS:
        return
    if tag.base in common:
        kind = "inflection" if tag.base in INFLECTED else "word class"
        yield kind, f"tag {tag.base}", f"tagged {tag.base}"
    if tag.title:
        yield "title", "title", "in a title"
        yield "title", f"title {tag.base}", f"{tag.base} in a title"
        if place and not words[place - 1].tag.title:
            yield "title", "title begins", "the first word of a title"
    elif place and words[place - 1].tag.title:
        yield "title", "title ended", "the word after a title"
    if tag.headline:
        yield "headline", "headline", "in a headline"
        yield "headline", f"headline {tag.base}", f"{tag.base} in a headline"
        if place and not words[place - 1].tag.headline:
            yield "headline", "headline begins", "the first word of a headline"
    elif place and words[place - 1].tag.headline:
        yield "headline", "headline ended", "the word after a headline"
    if tag.foreign:
        yield "foreign word", "foreign", "a foreign word"
        yield "foreign word", f"foreign {tag.base}", f"a foreign {tag.base}"
    elif place and words[place - 1].tag.foreign:
        yield "foreign word", "foreign ended", "the word after a foreign one"
    if tag.negated:
        yield "negation", f"negated {tag.base}", f"negation on {tag.base}"
    for ago in (1, 2, 3):
        if place >= ago and words[place - ago].tag.negated and not tag.negated:
            yield "negation", f"negation {ago} before", f"the word {ago} after a negation"
            if ago == 1 and tag.base in common:
                yield "negation", f"{tag.base} negated", f"{tag.base} right after a negation"
    if tag.base in GENRE_CLASSES:
        yield "genre", f"genre {genre}", f"{tag.base} in {genre}"
    if before in common:
        yield "neighbour's class", f"before {before}", f"the word after {before}"
    if earlier in common:
        yield "neighbour's class", f"two before {earlier}", f"two words after {earlier}"
    if after in common:
        yield "neighbour's class", f"after {after}", f"the word before {after}"
    if (before, tag.base) in common_pairs:
        yield "pair of classes", f"pair {before} {tag.base}", f"{tag.base} after {before}"
