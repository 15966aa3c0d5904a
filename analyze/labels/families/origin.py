"""What the data say about a document: its source, its topic; and its language, by its commonest words."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from analyze.labels.base import Family, Label, Labelled
from analyze.text.stream import Passage, Stream

_COMMON = {
    "English": "the of and to in is was for that on with as are by from at it an be this his were which or",
    "French": "le la les des de du et est une un dans en pour par sur que qui il elle au aux ce avec sont",
    "Spanish": "el la los las de y en un una es que por con para se del al su lo como más fue son",
    "German": "der die das und ist in den von zu mit ein eine des dem auf für im nicht auch als sich wurde",
    "Italian": "il la di che e è un una per in con del della dei le gli sono nel da al si",
    "Portuguese": "o a os as de e em um uma que do da dos das no na por com para é foi se ao",
}
_SETS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")
_FEWEST = 0.15
"""A document is in the language whose commonest words make up the largest share of its words, if that is this much."""


def language_of(passage: Passage) -> str | None:
    """The language of prose by its commonest words; None for code and for what has too few of them."""
    if passage.content == "code":
        return None
    words = [word.lower() for word in _WORD.findall(passage.text)]
    if not words:
        return None
    share = {language: sum(word in known for word in words) / len(words) for language, known in _SETS.items()}
    best = max(share, key=lambda language: share[language])
    return best if share[best] >= _FEWEST else None


def _where(stream: Stream, of_documents: Sequence[Any], value: Any) -> Int[np.ndarray, "_"]:
    """The tokens of the documents that have this value."""
    chosen = np.array([each == value for each in of_documents], bool)
    return stream.positions[np.repeat(chosen, stream.lengths)]


def _find(stream: Stream) -> Labelled:
    note = "as the prepared data say"
    for topic in sorted({topic for topic in stream.topics if topic is not None}):
        label = Label(f"in a document on {topic}", "topic", "exact", False, note)
        yield label, _where(stream, stream.topics, topic)
    for source in sorted(set(stream.sources)):
        label = Label(f"in a document from {source}", "source", "exact", False, note)
        yield label, _where(stream, stream.sources, source)
    languages = [language_of(passage) for passage in stream.passages]
    for language in _COMMON:
        label = Label(f"in a document in {language}", "language", "rule", False, "by its commonest words")
        yield label, _where(stream, languages, language)
    python = [passage.is_python for passage in stream.passages]
    yield Label("in a Python file", "source", "exact", False, "by its file name"), _where(stream, python, True)


FAMILY = Family("origin", _find)
