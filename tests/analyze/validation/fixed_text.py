"""Text whose features are known: a page of it, in tokens of at most four bytes."""

import re

import numpy as np
from numpy import ndarray

from analyze.text.vocabulary import Vocabulary
from analyze.validation.parsed_text import ParsedText

TEXTS = (
    "The river Nile flows north. In March 1848 the German painter saw nine large ships, three boats, and a seal.\n",
    "He was known as the king of the sea (and of its islands). Most of the time he often wrote poems about rain.",
    "def node_index(graph, key_of_node):\n    for i in range(len(graph)):\n        if None in graph[i]:\n"
    "            return _first(i, 12)\n    raise ValueError('no such node')\n",
    "Quietly she begins; xylophone music, little letters and bookkeepers' happiness occur in the 20th century.",
)
SEPARATOR = b"<|bos|>"


def read(texts: tuple[str, ...] = TEXTS) -> tuple[ParsedText, ndarray, Vocabulary]:
    """The texts as one stream of tokens (a word's first four letters, its next four, ...), read; its ids."""
    pieces, document = [], []
    for index, text in enumerate(texts):
        cut = [piece for word in re.findall(rb" ?\w+|\W", text.encode()) for piece in re.findall(rb" ?.{1,4}|\n", word)]
        pieces += [*cut, SEPARATOR]
        document += [index] * len(cut) + [-1]
    known = [SEPARATOR, *dict.fromkeys(piece for piece in pieces if piece != SEPARATOR)]
    vocabulary = Vocabulary(tuple(known))
    number = {piece: index for index, piece in enumerate(known)}
    ids = np.array([number[piece] for piece in pieces])
    return ParsedText(ids, np.array(document), vocabulary), ids, vocabulary
