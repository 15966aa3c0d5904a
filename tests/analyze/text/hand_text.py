"""Forty made-up documents, twenty of prose and twenty of code, small enough to list by hand what a rule covers."""

import numpy as np

from analyze.rules.build import build_views
from analyze.rules.grammar import Grammar
from analyze.text.embeddings import ppmi_svd
from analyze.text.stream import Stream
from analyze.text.vocabulary import Vocabulary

PROSE = (
    *("The", " cathedral", " overlooked", " the", "\n", " the", " neighbourhood"),
    *(" (", " the", ")", " quietly", " often", "."),
)
CODE = ("  ", "x", " the", "\n", " the", " (", " the", ")", "\n\n", " the", "\n", " run", " the")
N_DOCUMENTS = 40
LENGTH = 13
_PIECES = ("<|bos|>", *dict.fromkeys((*PROSE, *CODE)))


def hand_text(order: np.ndarray | None = None) -> Grammar:
    """The grammar of all tokens; document d is prose where d is even, and fit where d // 2 is even.

    Token i of document d stands at d * (LENGTH + 1) + i of the stream; `order` shuffles the sample.
    """
    vocabulary = Vocabulary(tuple(piece.encode() for piece in _PIECES))
    documents = [PROSE if d % 2 == 0 else CODE for d in range(N_DOCUMENTS)]
    ids = np.array([_PIECES.index(piece) for document in documents for piece in (*document, "<|bos|>")])
    stream = Stream(
        ids=ids,
        starts=np.arange(N_DOCUMENTS) * (LENGTH + 1),
        lengths=np.full(N_DOCUMENTS, LENGTH),
        paths=["a.txt" if d % 2 == 0 else "a.py" for d in range(N_DOCUMENTS)],
        contents=["prose" if d % 2 == 0 else "code" for d in range(N_DOCUMENTS)],
        vocabulary=vocabulary,
        n_ctx=10_000,
    )
    views = build_views(stream, ppmi_svd(ids, len(vocabulary)))
    positions = np.flatnonzero(ids != 0)
    positions = positions if order is None else positions[order]
    return Grammar(views, positions, positions // (LENGTH + 1) // 2 % 2 == 0)


def places(where: dict[str, tuple[int, ...]], grammar: Grammar, half: str) -> list[int]:
    """Tokens of a half, in order, that stand at listed places in every prose or code document."""
    stream = np.arange(N_DOCUMENTS * LENGTH)
    document, place = stream // LENGTH, stream % LENGTH
    tokens = grammar.fit if half == "fit" else grammar.eval
    kind = np.where(document[tokens] % 2 == 0, "prose", "code")
    return [n for n, (k, p) in enumerate(zip(kind.tolist(), place[tokens].tolist())) if p in where.get(k, ())]
