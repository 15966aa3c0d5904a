"""The held-out text of prepared data: the stream of its tokens, and its documents as characters."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from analyze.activations.provenance import held_out, open_held_out
from analyze.activations.store import Activations
from analyze.text.vocabulary import Vocabulary
from train.data.classify import classify
from train.data.content import Content, content_by_name
from train.data.text_places import read_text
from train.data.tokenizer import load_tokenizer
from train.data.tokens import TokenFile
from train.errors import BadInput

T = TypeVar("T")

BOS = 0
"""Id of the token that begins every row and parts documents."""
MOST_TRAINING_TOKENS = 2_000_000
"""Frequent words are chosen in at most so many training tokens, from the start of their stream."""
_PYTHON_NAME = re.compile(r"\.pyi?(:\d+)?$")


@dataclass(frozen=True)
class Passage:
    """One document as text, and where its tokens end in it."""

    text: str
    """Decoded UTF-8; each byte that is not UTF-8 is one lone surrogate ("surrogateescape")."""
    last_character: Int[ndarray, "t"]
    """Index into `text` of the character that holds each token's last byte; never falls."""
    index: int
    """Among the documents of its split."""
    source: str = ""
    topic: str | None = None
    path_or_title: str | None = None
    sha256: str = ""
    content: Content = "unknown"
    """Where it is unknown, or code in another language than Python, nothing that takes lexing is said of it."""

    @property
    def is_python(self) -> bool:
        """By its file name, unless the data say prose; "a/b.py:120" is the piece that begins at line 120."""
        named = self.path_or_title is not None and _PYTHON_NAME.search(self.path_or_title) is not None
        return named and self.content != "prose"

    def lines(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of every line without its "\\n"; the last may be empty. Only "\\n" ends a line."""
        start = 0
        for line in self.text.split("\n"):
            yield start, start + len(line)
            start += len(line) + 1

    def tokens_of(self, start: int, stop: int) -> range:
        """The tokens whose last byte lies in characters start..stop."""
        return range(bisect_left(self.ends, start), bisect_left(self.ends, stop))

    @cached_property
    def ends(self) -> list[int]:
        """`last_character` as a list: single entries are quicker to read."""
        return self.last_character.tolist()

    def token_at(self, start: int, stop: int) -> tuple[int, int] | None:
        """(start, stop) of the character on which the first token in characters start..stop ends."""
        tokens = self.tokens_of(start, stop)
        return (self.ends[tokens[0]], self.ends[tokens[0]] + 1) if tokens else None


@dataclass(frozen=True, eq=False)
class Stream:
    """The tokens of one split of prepared text, and what is known of its documents."""

    ids: Int[ndarray, "s"]
    """With a separator after every document."""
    starts: Int[ndarray, "documents"]
    lengths: Int[ndarray, "documents"]
    """Each document's place in `ids`, its separator left out."""
    vocabulary: Vocabulary
    n_ctx: int
    paths: Sequence[str | None]
    """File name or title of each document."""
    training: Int[ndarray, "f"] = field(default_factory=lambda: np.zeros(0, np.int64))
    """The stream of the training split, for choosing frequent words."""
    sources: Sequence[str] = ()
    topics: Sequence[str | None] = ()
    hashes: Sequence[str] = ()
    """sha256 of each document's text."""
    contents: Sequence[Content] = ()
    """What the prepared data take each document for; empty: as `content` makes it out."""
    texts: Sequence[str] | None = None
    """The documents as they were read, where their tokens do not spell them (see `train.data.text_places`)."""
    ends: Sequence[Int[ndarray, "_"]] = ()
    """Of each of `texts`, where its tokens end."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def document(self) -> Int[ndarray, "s"]:
        """Document of each position; -1 at separators."""
        document = np.full(len(self.ids), -1, np.int64)
        document[self.positions] = np.repeat(np.arange(len(self.starts)), self.lengths)
        return document

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
    def previous(self) -> Int[ndarray, "s"]:
        """The token before each in the model's row; BOS before the first."""
        return np.where(self.row_position == 1, BOS, np.concatenate([[BOS], self.ids[:-1]]))

    def pieces_of(self, index: int) -> list[bytes]:
        """The bytes of each token of a document."""
        if self.texts is not None:
            return pieces_between(self.texts[index], self.ends[index])
        start, length = int(self.starts[index]), int(self.lengths[index])
        return [self.vocabulary.pieces[token] for token in self.ids[start : start + length].tolist()]

    @cached_property
    def content(self) -> tuple[Content, ...]:
        """What each document is: as the data say, else (data of earlier versions) by its name, else by its text."""
        if len(self.contents):
            return tuple(self.contents)
        return tuple(self._made_out(index) for index in range(len(self.starts)))

    def _made_out(self, index: int) -> Content:
        by_name = content_by_name(self.paths[index])
        if by_name != "unknown":
            return by_name
        if len(self.sources) and self.sources[index].partition("-")[0] == "wiki":
            return "prose"
        return classify(b"".join(self.pieces_of(index)).decode("utf-8", errors="replace"))

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """The documents as text."""
        return tuple(self._passage(index) for index in range(len(self.starts)))

    def _passage(self, index: int) -> Passage:
        about = (self.sources[index], self.topics[index], self.paths[index], self.hashes[index])
        if self.texts is not None:
            return Passage(self.texts[index], np.maximum(self.ends[index] - 1, 0), index, *about, self.content[index])
        pieces = self.pieces_of(index)
        text = b"".join(pieces).decode("utf-8", errors="surrogateescape")
        sizes = np.array([len(piece) for piece in pieces], np.int64)
        return Passage(text, _last_characters(text, sizes), index, *about, self.content[index])

    @cached_property
    def _text_starts(self) -> Int[ndarray, "documents"]:
        """Where each text would begin if all followed one another, one character apart."""
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
    widths = np.fromiter((len(character.encode("utf-8", "surrogateescape")) for character in text), np.int64, len(text))
    return np.searchsorted(np.cumsum(widths), ends, side="right")


def pieces_between(text: str, ends: Int[ndarray, "t"]) -> list[bytes]:
    """The bytes from the end of each token to that of the next."""
    starts = [0, *ends.tolist()]
    return [text[start:stop].encode() for start, stop in zip(starts, ends.tolist())]


def vocabulary_of(directory: Path) -> Vocabulary:
    """What the tokens of prepared data stand for.

    Where their tokens do not spell the text, an id stands for the characters that it most often took up in the held-out
    text; an id that does not occur there, for what the tokenizer's decoder makes of it.
    """
    return _vocabulary(TokenFile.open(directory, split="eval"))


def _vocabulary(data: TokenFile) -> Vocabulary:
    spelled = Vocabulary.of(load_tokenizer(data.directory / "tokenizer.json"))
    kept = read_text(data.directory)
    if kept is None:
        return spelled
    documents, counts = data.documents(), Counter[tuple[int, bytes]]()
    for text, ends, start, length in zip(*kept, documents["start"].to_list(), documents["length"].to_list()):
        counts.update(zip(data.stream(start, length).tolist(), pieces_between(text, ends), strict=True))
    pieces, most = list(spelled.pieces), {}
    for (token, piece), count in sorted(counts.items()):
        if count > most.get(token, 0):
            pieces[token], most[token] = piece, count
    return Vocabulary(tuple(pieces))


def once_for_data(make: Callable[[TokenFile], T]) -> Callable[[TokenFile], T]:
    """`make`, called once for a data directory, its hash and its `n_ctx`; the last two results are kept.

    `make` gets the held-out split, whichever split the caller has.

    Raises:
        BadInput: the directory now holds other data.
    """

    @lru_cache(maxsize=2)
    def cached(directory: Path, data_hash: str, n_ctx: int) -> T:
        return make(open_held_out(directory, data_hash, n_ctx))

    @wraps(make)
    def of(data: TokenFile) -> T:
        return cached(data.directory.resolve(), data.data_hash, data.n_ctx)

    return of


@once_for_data
def stream_of(data: TokenFile) -> Stream:
    """The held-out text of a data directory."""
    training = TokenFile.open(data.directory, split="fit", n_ctx=data.n_ctx)
    texts, ends = read_text(data.directory) or (None, ())
    documents = data.documents()
    return Stream(
        ids=data.stream(0, data.n_tokens).astype(np.int64),
        starts=documents["start"].to_numpy().astype(np.int64),
        lengths=documents["length"].to_numpy().astype(np.int64),
        vocabulary=_vocabulary(data),
        n_ctx=data.n_ctx,
        paths=documents["path_or_title"].to_list(),
        training=training.stream(0, min(training.n_tokens, MOST_TRAINING_TOKENS)).astype(np.int64),
        sources=documents["source"].to_list(),
        topics=documents["topic"].to_list(),
        hashes=documents["sha256"].to_list(),
        contents=documents["content"].to_list() if "content" in documents.columns else (),
        texts=texts,
        ends=ends,
    )


def sampled_text(acts: Activations) -> TokenFile:
    """The held-out text that activations were collected on, which holds the tokens of their sample.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    data, positions = held_out(acts), np.asarray(acts.tokens.stream_position)
    stream = stream_of(data)
    for name, ids, sampled in (
        ("current", stream.ids, acts.tokens.ids),
        ("previous", stream.previous, acts.tokens.previous),
    ):
        if len(positions) and (int(positions.max()) >= len(ids) or not np.array_equal(ids[positions], sampled)):
            raise BadInput(f"{data.directory}: its {name} tokens are not those of the sample; collect again")
    return data
