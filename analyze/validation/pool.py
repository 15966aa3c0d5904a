"""The second pool of planted features (pool.toml): what its own kinds mean, and every feature in it."""

import re
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from analyze.validation.feature_kinds import POOL, before, in_list, marked, passing
from analyze.validation.parsed_text import ParsedText

LATELY = 6
"""How many tokens "lately" is in this pool."""
MENTIONS = 3
"""A document is about a list when it holds so many of its words."""

Definition = tuple[str, str, str, tuple[str | int, ...]]
"""Name, root, kind, and what the function of the kind takes."""


def _ahead(text: ParsedText, name: str, n: int) -> Bool[ndarray, "s"]:
    """The token n tokens before the first token of a word of a list."""
    first = text.words.first[in_list(text, name)] - n
    first = first[first >= 0]
    inside = text.at(first)
    same = np.zeros_like(inside)
    same[: len(same) - n] = text.document[: len(same) - n] == text.document[n:]
    return inside & same


def _letter(text: ParsedText, n: int, letter: str) -> Bool[ndarray, "s"]:
    return marked(text, text.words, passing(text.words, lambda word: len(word) >= n and word[n - 1] == letter))


def _from_the_end(text: ParsedText, n: int, fewest: int, most: int) -> Bool[ndarray, "s"]:
    ordinal = text.since(text.words, text.breaks)
    last = np.append(ordinal[1:] <= ordinal[:-1], True)
    stop = np.flatnonzero(last)
    end = stop[np.searchsorted(stop, np.arange(len(ordinal)))]
    length = ordinal[end]
    chosen = (end - np.arange(len(ordinal)) == n - 1) & (ordinal > 0) & (length >= fewest) & (length <= most)
    return marked(text, text.words, chosen)


_ECHOES: dict[str, Callable[[str, str], bool]] = {
    "begins with the same letter": lambda a, b: a[0] == b[0] and a != b,
    "ends in the same two letters": lambda a, b: a[-2:] == b[-2:] and a != b and min(len(a), len(b)) >= 3,
    "is as long, of five letters or more": lambda a, b: len(a) == len(b) >= 5 and a != b,
    "is the same word": lambda a, b: a == b,
}


def _echo(text: ParsedText, kind: str, n: int) -> Bool[ndarray, "s"]:
    index, same = before(text, n)
    test, folded = _ECHOES[kind], text.words.folded
    inside = (bool(within) and test(folded[at], word) for at, within, word in zip(index.tolist(), same, folded))
    return marked(text, text.words, np.fromiter(inside, bool, len(folded)))


def _skipped_list(text: ParsedText, first: str, second: str) -> Bool[ndarray, "s"]:
    index, same = before(text, 2)
    return marked(text, text.words, in_list(text, second) & same & in_list(text, first)[index])


def _in_document(text: ParsedText, word: str, name: str) -> Bool[ndarray, "s"]:
    """A word in documents that hold MENTIONS words of a list."""
    document = text.document[text.words.last]
    count = np.bincount(document[in_list(text, name)], minlength=int(text.document.max()) + 1)
    chosen = passing(text.words, lambda found: found == word) & (count[document] >= MENTIONS)
    return marked(text, text.words, chosen)


def _sentence_with(text: ParsedText, word: str, name: str) -> Bool[ndarray, "s"]:
    """A word after a word of a list in its sentence."""
    ordinal = text.since(text.words, text.breaks)
    seen = np.cumsum(in_list(text, name))
    start = np.maximum(np.arange(len(ordinal)) - ordinal, -1)
    earlier = np.where(start >= 0, seen[np.maximum(start, 0)], 0)
    chosen = passing(text.words, lambda found: found == word) & (ordinal > 1)
    return marked(text, text.words, chosen & (np.append(0, seen[:-1]) > earlier))


def _number_after(text: ParsedText, name: str) -> Bool[ndarray, "s"]:
    """A number with nothing but one blank between it and a word of a list."""
    ends = text.words.start[in_list(text, name)]
    widths = np.array([len(word.encode()) for word, inside in zip(text.words.texts, in_list(text, name)) if inside])
    return marked(text, text.numbers, np.isin(text.numbers.start, ends + widths + 1 if len(ends) else ends))


def _run(text: ParsedText, pattern: str, n: int) -> Bool[ndarray, "s"]:
    """The nth word in a row that a pattern matches."""
    expression = re.compile(pattern)
    inside = passing(text.words, lambda word: bool(expression.search(word)))
    ordinal = text.since(text.words, text.breaks)
    row, place = 0, np.zeros(len(inside), np.int64)
    for index, (matches, number) in enumerate(zip(inside.tolist(), ordinal.tolist())):
        row = (row if number > 1 else 0) + 1 if matches else 0
        place[index] = row
    return marked(text, text.words, place == n)


def _spelled(text: ParsedText, pattern: str) -> Bool[ndarray, "s"]:
    expression = re.compile(pattern)
    return marked(text, text.words, passing(text.words, lambda word: bool(expression.search(word))))


def _pattern(text: ParsedText, pattern: str) -> Bool[ndarray, "s"]:
    """The token that holds the last byte of each match."""
    ends = [match.end() for match in re.finditer(pattern.encode(), text.data)]
    return text.at(text.token_at(np.array(ends, np.int64) - 1)) if ends else np.zeros(len(text), bool)


def _before_mark(text: ParsedText, word: str, mark: str) -> Bool[ndarray, "s"]:
    return _pattern(text, rf"\b{word}(?={mark})")


def _after_mark(text: ParsedText, mark: str, word: str) -> Bool[ndarray, "s"]:
    return _pattern(text, rf"{mark}{word}\b")


def _repeat(text: ParsedText, fewest_letters: int, ago: int, time: int) -> Bool[ndarray, "s"]:
    """A long word that stood before in its document; `time` 4: for the fourth time or more, 0: for any."""
    document = text.document[text.words.last].tolist()
    seen: dict[tuple[int, str], tuple[int, int]] = {}
    chosen = np.zeros(len(text.words), bool)
    for index, (where, word) in enumerate(zip(document, text.words.folded)):
        if len(word) < fewest_letters:
            continue
        last, times = seen.get((where, word), (-1, 0))
        again = times > 0 and index - last <= ago
        chosen[index] = again and (time == 0 or times + 1 == time or (time == 4 and times + 1 > 4))
        seen[where, word] = (index, times + 1)
    return marked(text, text.words, chosen)


POOL_KINDS: dict[str, Callable[..., Bool[ndarray, "s"]]] = {
    "ahead": _ahead,
    "letter": _letter,
    "from the end": _from_the_end,
    "echo": _echo,
    "skipped list": _skipped_list,
    "in a document": _in_document,
    "in a sentence": _sentence_with,
    "number after": _number_after,
    "run": _run,
    "syllables": _spelled,
    "before a mark": _before_mark,
    "after a mark": _after_mark,
    "capitals": _pattern,
    "enumeration": _pattern,
    "repeat": _repeat,
}
"""Kinds that features.toml does not have."""


def pool_definitions() -> Iterator[Definition]:
    """Every feature of the pool, in order."""
    for index, name in enumerate(POOL["pool_lists"]):
        yield f"a word of {name}", name, "word", (name,)
        match index % 4:
            case 0:
                yield f"one token before a word of {name}", name, "ahead", (name, 1)
            case 1:
                yield f"two tokens after a word of {name}", name, "back", (name, 2)
            case 2:
                yield f"within {LATELY} tokens after a word of {name}", name, "lately", (name, LATELY)
            case _:
                yield f"two tokens before a word of {name}", name, "ahead", (name, 2)
    for first, second in POOL["pool_pairs"]:
        yield f"a word of {first}, then of {second}", f"{first} + {second}", "pair", (first, second)
    for n, letter in POOL["letters"]:
        yield f"a word with {letter} as letter {n}", f"letter {n} {letter}", "letter", (n, letter)
    for n, fewest, most in POOL["from_the_end"]:
        name = f"word {n} from the end of a sentence of {fewest} to {most} words"
        yield name, name, "from the end", (n, fewest, most)
    for kind, n in POOL["echoes"]:
        yield f"a word that {kind} {n} words before", f"echo {kind} {n}", "echo", (kind, n)
    for first, second in POOL["skipped_lists"]:
        root = f"{first} . {second}"
        yield f"a word of {second} two words after one of {first}", root, "skipped list", (first, second)
    for word, name in POOL["in_documents"]:
        yield f"`{word}` in a document about {name}", f"`{word}` about {name}", "in a document", (word, name)
    for word, name in POOL["sentences_with"]:
        yield f"`{word}` after a word of {name} in its sentence", f"`{word}` with {name}", "in a sentence", (word, name)
    for name in POOL["numbers_after"]:
        yield f"a number after a word of {name}", f"number after {name}", "number after", (name,)
    for name, (pattern, *places) in POOL["runs"].items():
        for n in places:
            yield f"word {n} in a row with {name}", f"run {name} {n}", "run", (pattern, n)
    for name, pattern in POOL["syllables"].items():
        yield f"a word with {name}", f"syllables {name}", "syllables", (pattern,)
    for name, (word, mark) in POOL["before_marks"].items():
        yield name, name, "before a mark", (word, mark)
    for name, (mark, word) in POOL["after_marks"].items():
        yield name, name, "after a mark", (mark, word)
    for name, pattern in POOL["places_of_capitals"].items():
        yield name, name, "capitals", (pattern,)
    for name, pattern in POOL["enumerations"].items():
        yield name, name, "enumeration", (pattern,)
    for name, given in POOL["repeats"].items():
        yield f"a word that stood before {name}", f"repeat {name}", "repeat", tuple(given)
