"""The training text's most frequent words, across tokens and in any case: the word, the word after it, pairs.

The training text chooses them, so that nothing about them depends on the held-out text.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from analyze.labels.base import Family, Label, Labelled, Span, label_spans
from analyze.text.stream import BOS, Passage, Stream

N_WORDS, N_BEFORE, N_PAIRS = 40, 20, 30
TOKENS_READ = 500_000
_WORD = re.compile(r"(?<![\w'’])[^\W\d_]+(?:['’][^\W\d_]+)*(?!\w)")
_FAMILIES = ("frequent words", "after frequent words", "frequent pairs of words")


def counted(stream: Stream) -> tuple[list[str], list[tuple[str, str]]]:
    """The words, and pairs of words one blank apart, that most training documents hold; ties by the alphabet.

    Documents are counted, not occurrences, so that one long document cannot make a word frequent; every k-th
    document is read, evenly over the training text.
    """
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    documents = np.split(stream.training, np.flatnonzero(stream.training == BOS))
    for part in documents[:: -(-len(stream.training) // TOKENS_READ) or 1]:
        pieces = (stream.vocabulary.pieces[token] for token in part.tolist() if token != BOS)
        text = b"".join(pieces).decode("utf-8", errors="surrogateescape")
        in_document: set[str] = set()
        pairs_in_document: set[tuple[str, str]] = set()
        before, end = "", -2
        for match in _WORD.finditer(text):
            word = match.group().lower()
            in_document.add(word)
            if match.start() == end + 1 and text[end] == " ":
                pairs_in_document.add((before, word))
            before, end = word, match.end()
        words.update(in_document)
        pairs.update(pairs_in_document)
    return (
        sorted(words, key=lambda word: (-words[word], word))[:N_WORDS],
        sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:N_PAIRS],
    )


def _find(stream: Stream) -> Labelled:
    words, pairs = counted(stream)
    alone = {word: f"the word `{word}`" for word in words}
    after = {word: f"in the word after `{word}`" for word in words[:N_BEFORE]}
    paired = {pair: f"`{pair[1]}` right after `{pair[0]}`" for pair in pairs}
    note = "in any case, with or without a space before it, across tokens; in most training documents"
    labels = [
        *(Label(name, _FAMILIES[0], "exact", False, note) for name in alone.values()),
        *(Label(name, _FAMILIES[1], "exact", True, note) for name in after.values()),
        *(Label(name, _FAMILIES[2], "exact", False, note) for name in paired.values()),
    ]

    def spans(passage: Passage) -> Iterator[Span]:
        text, before, end = passage.text, "", -2
        for match in _WORD.finditer(text):
            word = match.group().lower()
            if word in alone:
                yield Span(alone[word], *match.span())
            if match.start() == end + 1 and text[end] == " " and (before, word) in paired:
                yield Span(paired[before, word], *match.span())
            before, end = word, match.end()
            if word in after and text[end : end + 1] == " " and (then := _LETTERS.match(text, end + 1)):
                yield Span(after[word], *then.span())

    yield from label_spans(stream, labels, spans)


_LETTERS = re.compile(r"[^\W\d_]+")

FAMILY = Family("frequent words", _find)
