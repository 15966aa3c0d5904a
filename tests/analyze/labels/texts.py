"""Streams made of hand-written tokens, and which of their tokens a label is on."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from analyze.labels.bank import LabelBank, build_bank
from analyze.labels.base import Family, Label
from analyze.labels.families import FAMILIES
from analyze.text.stream import Stream
from analyze.text.vocabulary import Vocabulary
from train.data.content import Content, content_by_name

BOS = b"<|bos|>"


def stream_of(
    documents: Sequence[Sequence[bytes | str]],
    *,
    paths: Sequence[str | None] | None = None,
    topics: Sequence[str | None] | None = None,
    training: Sequence[Sequence[bytes | str]] = (),
    n_ctx: int = 64,
    more: Sequence[bytes] = (),
    contents: Sequence[Content] | None = None,
) -> Stream:
    """A stream whose documents are these tokens, prose unless their names or `contents` say otherwise.

    Args:
        more: tokens of the vocabulary that need not occur.
    """
    plain = [[_bytes(piece) for piece in document] for document in documents]
    trained = [[_bytes(piece) for piece in document] for document in training]
    pieces = [BOS, *sorted({piece for document in (*plain, *trained, more) for piece in document})]
    number = {piece: index for index, piece in enumerate(pieces)}
    lengths = np.array([len(document) for document in plain], np.int64)
    n = len(plain)
    if contents is None:
        contents = ["code" if content_by_name(path) == "code" else "prose" for path in paths or [None] * n]
    return Stream(
        ids=_joined(plain, number),
        starts=np.cumsum(lengths + 1) - lengths - 1,
        lengths=lengths,
        vocabulary=Vocabulary(tuple(pieces)),
        n_ctx=n_ctx,
        training=_joined(trained, number),
        sources=["made-up"] * n,
        topics=topics or [None] * n,
        paths=paths or [None] * n,
        hashes=[f"{index:064x}" for index in range(n)],
        contents=contents,
    )


def _bytes(piece: bytes | str) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece


def _joined(documents: list[list[bytes]], number: dict[bytes, int]) -> np.ndarray:
    return np.array([token for document in documents for token in (*(number[p] for p in document), 0)], np.int64)


def signs(text: str) -> list[str]:
    """A text in tokens of one character each."""
    return list(text)


@cache
def family_of(label: str) -> Family:
    """The family that holds a label, found on an empty stream."""
    empty = stream_of([["a"]])
    return next(family for family in FAMILIES.values() if any(found.name == label for found, _ in family.find(empty)))


def marked(label: str, pieces: Sequence[bytes | str], path: str | None = None, n_ctx: int = 64) -> list[str]:
    """The tokens of one document that bear a label, as text."""
    stream = stream_of([pieces], paths=[path], n_ctx=n_ctx)
    where = next(positions for found, positions in family_of(label).find(stream) if found.name == label)
    return [stream.vocabulary.pieces[stream.ids[at]].decode("utf-8", "backslashreplace") for at in where.tolist()]


def marked_text(label: str, text: str, path: str | None = None) -> str:
    """The characters of a text that bear a label, one token a character; runs parted by "|"."""
    stream = stream_of([signs(text)], paths=[path], n_ctx=100_000)
    where = next(positions for found, positions in family_of(label).find(stream) if found.name == label).tolist()
    runs = "".join(
        ("|" if before >= 0 and at != before + 1 else "") + text[at] for before, at in zip([-1, *where], where)
    )
    return runs


def all_labels(stream: Stream) -> dict[Label, np.ndarray]:
    """Every label of every family on a stream."""
    bank: LabelBank = build_bank(stream, FAMILIES.values())
    return dict(zip(bank.labels, bank.positions))
