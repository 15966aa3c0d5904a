"""What each kind of planted feature means: how a definition of features.toml becomes a set of tokens."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.validation.parsed_text import ParsedText, Spans

DEFINITIONS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("features.toml").read_text(encoding="utf-8"))
POOL: dict[str, Any] = tomllib.loads(Path(__file__).with_name("pool.toml").read_text(encoding="utf-8"))
FIRST_LISTS: dict[str, str] = {name: " ".join(words.split()) for name, words in DEFINITIONS["lists"].items()}
"""Words by meaning, separated by blanks: those of features.toml,"""
LISTS: dict[str, str] = FIRST_LISTS | {name: " ".join(words.split()) for name, words in POOL["pool_lists"].items()}
"""and those of pool.toml as well."""


def marked(text: ParsedText, spans: Spans, inside: Bool[ndarray, "r"]) -> Bool[ndarray, "s"]:
    """The last token of each chosen span."""
    return text.at(spans.last[inside])


def in_list(text: ParsedText, name: str) -> Bool[ndarray, "r"]:
    wanted = frozenset(LISTS[name].split())
    return passing(text.words, lambda word: word in wanted)


def passing(spans: Spans, test: Callable[[str], bool]) -> Bool[ndarray, "r"]:
    """Which spans pass a test of their lower-case text."""
    known: dict[str, bool] = {}
    passes = (known[word] if word in known else known.setdefault(word, test(word)) for word in spans.folded)
    return np.fromiter(passes, bool, len(spans))


def before(text: ParsedText, n: int = 1) -> tuple[Int[ndarray, "r"], Bool[ndarray, "r"]]:
    """The index of the word n words before each word, and whether both are in the same sentence."""
    ordinal = text.since(text.words, text.breaks)
    return np.maximum(np.arange(len(ordinal)) - n, 0), ordinal > n


def _word(text: ParsedText, name: str) -> Bool[ndarray, "s"]:
    return marked(text, text.words, in_list(text, name))


def _back(text: ParsedText, name: str, n: int) -> Bool[ndarray, "s"]:
    return text.back(_word(text, name), n)


def _lately(text: ParsedText, name: str, n: int) -> Bool[ndarray, "s"]:
    inside = _word(text, name)
    return np.any([text.back(inside, distance) for distance in range(1, n + 1)], axis=0)


def _pair(text: ParsedText, first: str, second: str) -> Bool[ndarray, "s"]:
    index, same = before(text)
    return marked(text, text.words, in_list(text, second) & same & in_list(text, first)[index])


def _skip(text: ParsedText, first: str, second: str) -> Bool[ndarray, "s"]:
    index, same = before(text, 2)
    words = text.words
    is_first, is_second = (passing(words, lambda word, wanted=wanted: word == wanted) for wanted in (first, second))
    return marked(text, words, is_second & same & is_first[index])


def _words_after(text: ParsedText, first: str, n: int) -> Bool[ndarray, "s"]:
    index, same = before(text, n)
    return marked(text, text.words, same & passing(text.words, lambda word: word == first)[index])


def _spelled(text: ParsedText, pattern: str) -> Bool[ndarray, "s"]:
    expression = re.compile(pattern)
    return marked(text, text.words, passing(text.words, lambda word: bool(expression.search(word))))


def _ordinal(text: ParsedText, event: str, n: int) -> Bool[ndarray, "s"]:
    events = {
        "sentence": lambda: text.breaks,
        "comma": lambda: text.offsets(","),
        "number": lambda: text.offsets("[0-9]+(?![0-9])"),
        "bracket": lambda: text.offsets(r"\)"),
        "capital": lambda: text.offsets(r"\b[A-Z][a-z]+"),
    }[event]()
    return marked(text, text.words, text.since(text.words, events) == n)


def _comma_of_sentence(text: ParsedText, n: int) -> Bool[ndarray, "s"]:
    """Words between the nth comma of a sentence and the next one."""
    commas, breaks = text.offsets(","), text.breaks
    sentence = breaks[np.maximum(np.searchsorted(breaks, text.words.start, side="right") - 1, 0)]
    count = np.searchsorted(commas, text.words.start, side="right") - np.searchsorted(commas, sentence, side="right")
    return marked(text, text.words, count == n)


def _opened(text: ParsedText, opening: str) -> Bool[ndarray, "s"]:
    """The 2nd to 8th word of each sentence whose first word is one of `opening`."""
    ordinal = text.since(text.words, text.breaks)
    first = np.maximum(np.arange(len(ordinal)) - ordinal + 1, 0)
    wanted = frozenset(opening.split())
    opens = passing(text.words, lambda word: word in wanted)[first]
    return marked(text, text.words, (ordinal >= 2) & (ordinal <= 8) & opens)


def _piece(text: ParsedText, n: int, fewest: int) -> Bool[ndarray, "s"]:
    words = text.words
    n_tokens = words.last - words.first + 1
    return text.at((words.first + n - 1)[(n_tokens >= fewest) & (n_tokens >= n)])


def _identifier(text: ParsedText, pattern: str) -> Bool[ndarray, "s"]:
    expression = re.compile(pattern)
    spans = text.identifiers
    matches = np.fromiter((bool(expression.fullmatch(name)) for name in spans.texts), bool, len(spans))
    return marked(text, spans, matches)


NUMBERS: dict[str, Callable[[str], bool]] = {
    "even": lambda text: int(text[-1]) % 2 == 0,
    "odd": lambda text: int(text[-1]) % 2 == 1,
    "divisible by three": lambda text: sum(map(int, text)) % 3 == 0,
    "ends in 5 or 0": lambda text: text[-1] in "05",
    "begins with 1": lambda text: text[0] == "1",
    "begins with 2 or 3": lambda text: text[0] in "23",
    "has the same digit twice": lambda text: len(set(text)) < len(text),
    "1700 to 1899": lambda text: len(text) == 4 and 1700 <= int(text) <= 1899,
    "1900 to 1949": lambda text: len(text) == 4 and 1900 <= int(text) <= 1949,
    "1950 to 1999": lambda text: len(text) == 4 and 1950 <= int(text) <= 1999,
    "2000 to 2029": lambda text: len(text) == 4 and 2000 <= int(text) <= 2029,
    "digits that rise": lambda text: len(text) > 1 and list(text) == sorted(set(text)),
}


def _number(text: ParsedText, kind: str) -> Bool[ndarray, "s"]:
    return marked(text, text.numbers, passing(text.numbers, NUMBERS[kind]))


RELATIONS: dict[str, Callable[[str, str], bool]] = {
    "begin with the same letter": lambda a, b: a[0] == b[0] and a != b,
    "end in the same letter": lambda a, b: a[-1] == b[-1] and a != b,
    "end in the same two letters": lambda a, b: a[-2:] == b[-2:] and a != b,
    "are as long, of four letters or more": lambda a, b: len(a) == len(b) >= 4,
    "the later is longer by six letters or more": lambda a, b: len(b) >= len(a) + 6,
    "the later is shorter by six letters or more": lambda a, b: len(a) >= len(b) + 6,
    "the later begins as the earlier ends": lambda a, b: a[-1] == b[0],
    "share no letter and have five or more": lambda a, b: min(len(a), len(b)) >= 5 and not set(a) & set(b),
    "share four letters or more": lambda a, b: len(set(a) & set(b)) >= 4,
    "stand in the order of the alphabet, both long": lambda a, b: a < b and min(len(a), len(b)) >= 6,
}


def _relation(text: ParsedText, kind: str) -> Bool[ndarray, "s"]:
    index, same = before(text)
    test, folded = RELATIONS[kind], text.words.folded
    inside = (bool(within) and test(folded[before], word) for before, within, word in zip(index.tolist(), same, folded))
    return marked(text, text.words, np.fromiter(inside, bool, len(folded)))


KINDS: dict[str, Callable[..., Bool[ndarray, "s"]]] = {
    "word": _word,
    "back": _back,
    "lately": _lately,
    "pair": _pair,
    "skip": _skip,
    "words after": _words_after,
    "spelled": _spelled,
    "ordinal": _ordinal,
    "comma of sentence": _comma_of_sentence,
    "opened": _opened,
    "piece": _piece,
    "identifier": _identifier,
    "number": _number,
    "relation": _relation,
}
