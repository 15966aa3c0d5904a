"""Features of real text that no score reads: what planted neurons are made of.

Fixed by hash before any score was tuned (`design.PLANTED_HASH`). A feature is what its definition says; which
definitions are admitted on a corpus is decided by `admission`, never by how a score fares.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.validation.reading import Reading, Runs
from analyze.validation.wordlists import LISTS

Part = Literal["tuning", "held"]


@dataclass(frozen=True)
class Feature:
    """A set of tokens with a name. Features of one `root` are about one thing, and fall into one part."""

    name: str
    root: str
    kind: str
    given: tuple[str | int, ...]

    @property
    def part(self) -> Part:
        """`tuning` (a third of the roots: may be looked at while a score is built) or `held`."""
        return "tuning" if sha256(f"planted/{self.root}".encode()).digest()[0] < 85 else "held"

    def tokens(self, reading: Reading) -> Bool[ndarray, "s"]:
        """Where it holds in a stream; false at separators."""
        return _KINDS[self.kind](reading, *self.given) & (reading.document >= 0)


def _marked(reading: Reading, runs: Runs, inside: Bool[ndarray, "r"]) -> Bool[ndarray, "s"]:
    """The tokens in which the chosen runs end."""
    return reading.at(runs.last[inside])


def _in_list(reading: Reading, name: str) -> Bool[ndarray, "r"]:
    wanted = frozenset(LISTS[name].split())
    return _that(reading.words, lambda word: word in wanted)


def _that(runs: Runs, test: Callable[[str], bool]) -> Bool[ndarray, "r"]:
    """Which runs pass a test of their lower-case text."""
    known: dict[str, bool] = {}
    return np.fromiter(
        (known[text] if text in known else known.setdefault(text, test(text)) for text in runs.folded), bool, len(runs)
    )


def _before(reading: Reading, n: int = 1) -> tuple[Int[ndarray, "r"], Bool[ndarray, "r"]]:
    """The index of the word n words before each word, and whether it is of the same sentence."""
    ordinal = reading.since(reading.words, reading.breaks)
    return np.maximum(np.arange(len(ordinal)) - n, 0), ordinal > n


def _word(reading: Reading, name: str) -> Bool[ndarray, "s"]:
    return _marked(reading, reading.words, _in_list(reading, name))


def _back(reading: Reading, name: str, n: int) -> Bool[ndarray, "s"]:
    return reading.back(_word(reading, name), n)


def _lately(reading: Reading, name: str, n: int) -> Bool[ndarray, "s"]:
    inside = _word(reading, name)
    return np.any([reading.back(inside, distance) for distance in range(1, n + 1)], axis=0)


def _pair(reading: Reading, first: str, second: str) -> Bool[ndarray, "s"]:
    index, same = _before(reading)
    return _marked(reading, reading.words, _in_list(reading, second) & same & _in_list(reading, first)[index])


def _skip(reading: Reading, first: str, second: str) -> Bool[ndarray, "s"]:
    index, same = _before(reading, 2)
    words = reading.words
    return _marked(
        reading, words, _that(words, lambda one: one == second) & same & _that(words, lambda one: one == first)[index]
    )


def _words_after(reading: Reading, first: str, n: int) -> Bool[ndarray, "s"]:
    index, same = _before(reading, n)
    return _marked(reading, reading.words, same & _that(reading.words, lambda one: one == first)[index])


def _spelled(reading: Reading, pattern: str) -> Bool[ndarray, "s"]:
    expression = re.compile(pattern)
    return _marked(reading, reading.words, _that(reading.words, lambda word: bool(expression.search(word))))


def _ordinal(reading: Reading, event: str, n: int) -> Bool[ndarray, "s"]:
    events = {
        "sentence": lambda: reading.breaks,
        "comma": lambda: reading.offsets(","),
        "number": lambda: reading.offsets("[0-9]+(?![0-9])"),
        "bracket": lambda: reading.offsets(r"\)"),
        "capital": lambda: reading.offsets(r"\b[A-Z][a-z]+"),
    }[event]()
    return _marked(reading, reading.words, reading.since(reading.words, events) == n)


def _comma_of_sentence(reading: Reading, n: int) -> Bool[ndarray, "s"]:
    """Words that follow the nth comma of a sentence and no further one."""
    commas, breaks = reading.offsets(","), reading.breaks
    begun = breaks[np.maximum(np.searchsorted(breaks, reading.words.start, side="right") - 1, 0)]
    count = np.searchsorted(commas, reading.words.start, side="right") - np.searchsorted(commas, begun, side="right")
    return _marked(reading, reading.words, count == n)


def _opened(reading: Reading, opening: str) -> Bool[ndarray, "s"]:
    """Words from the 2nd to the 8th of a sentence whose first word is one of `opening`."""
    ordinal = reading.since(reading.words, reading.breaks)
    first = np.maximum(np.arange(len(ordinal)) - ordinal + 1, 0)
    wanted = frozenset(opening.split())
    begun = _that(reading.words, lambda word: word in wanted)[first]
    return _marked(reading, reading.words, (ordinal >= 2) & (ordinal <= 8) & begun)


def _piece(reading: Reading, n: int, fewest: int) -> Bool[ndarray, "s"]:
    words = reading.words
    n_tokens = words.last - words.first + 1
    return reading.at((words.first + n - 1)[(n_tokens >= fewest) & (n_tokens >= n)])


def _identifier(reading: Reading, pattern: str) -> Bool[ndarray, "s"]:
    expression = re.compile(pattern)
    runs = reading.identifiers
    inside = np.fromiter((bool(expression.fullmatch(text)) for text in runs.texts), bool, len(runs))
    return _marked(reading, runs, inside)


_NUMBERS: dict[str, Callable[[str], bool]] = {
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


def _number(reading: Reading, kind: str) -> Bool[ndarray, "s"]:
    ascii_digits = reading.numbers
    return _marked(reading, ascii_digits, _that(ascii_digits, _NUMBERS[kind]))


_RELATIONS: dict[str, Callable[[str, str], bool]] = {
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


def _relation(reading: Reading, kind: str) -> Bool[ndarray, "s"]:
    index, same = _before(reading)
    test, folded = _RELATIONS[kind], reading.words.folded
    inside = (bool(within) and test(folded[before], text) for before, within, text in zip(index.tolist(), same, folded))
    return _marked(reading, reading.words, np.fromiter(inside, bool, len(folded)))


_KINDS: dict[str, Callable[..., Bool[ndarray, "s"]]] = {
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
LATELY = 8

_BEGINNINGS = ("al", "an", "ar", "be", "ca", "ch", "cl", "co", "con", "de", "di", "en", "ex", "fr", "ge", "gr", "ha")
_BEGINNINGS += (
    "in",
    "inter",
    "ma",
    "me",
    "mi",
    "mo",
    "ne",
    "pa",
    "per",
    "ph",
    "pl",
    "po",
    "pr",
    "qu",
    "re",
    "sc",
    "sh",
)
_BEGINNINGS += ("sp", "st", "str", "su", "sub", "tr", "un", "vi")
_MIDDLES = {
    "a double letter": r"([a-z])\1",
    "two double letters": r"([a-z])\1.*([a-z])\2",
    "a double vowel": r"(aa|ee|ii|oo|uu)",
    "four consonants in a row": r"[bcdfghjklmnpqrstvwxz]{4}",
    "three vowels in a row": r"[aeiou]{3}",
    "q": r"q",
    "x inside": r"^.+x",
    "z": r"z",
    "j": r"j",
    "ph inside": r"^.+ph",
    "ght": r"ght",
    "ou inside": r"^[^aeiou]+ou",
    "ck": r"ck",
    "the same letter first and last": r"^([a-z])[a-z]+\1$",
    "no vowel but e, six letters or more": r"^(?=.*e)[b-hj-np-tv-z]{6,}$",
    "vowel first, vowel last, four letters or more": r"^[aeiou][a-z]{2,}[aeiou]$",
    "vowel and consonant in turn, five letters or more": r"^(?:[aeiou](?:[b-df-hj-np-tv-z][aeiou]){2,}"
    r"|[b-df-hj-np-tv-z](?:[aeiou][b-df-hj-np-tv-z]){2,})$",
    "the same three letters again": r"([a-z]{3}).*\1",
    "only letters of the first half of the alphabet, four or more": r"^[a-m]{4,}$",
    "only letters of the second half of the alphabet, three or more": r"^[n-z]{3,}$",
}
_ENDINGS = (
    "age",
    "ance",
    "ar",
    "ary",
    "ate",
    "ch",
    "ck",
    "el",
    "en",
    "ence",
    "ese",
    "et",
    "ght",
    "ia",
    "id",
    "ide",
    "ine",
)
_ENDINGS += (
    "is",
    "ish",
    "ization",
    "land",
    "le",
    "man",
    "ogy",
    "ory",
    "ow",
    "phy",
    "ship",
    "sis",
    "sm",
    "th",
    "tic",
    "um",
)
_ENDINGS += ("und", "ure", "ward", "y")
_LENGTHS = {
    "of 4 letters": r"^\w{4}$",
    "of 5 letters": r"^\w{5}$",
    "of 6 letters": r"^\w{6}$",
    "of 7 letters": r"^\w{7}$",
    "of 8 letters": r"^\w{8}$",
    "of 9 letters": r"^\w{9}$",
    "of 10 letters": r"^\w{10}$",
    "of 11 letters": r"^\w{11}$",
    "of 12 letters or more": r"^\w{12,}$",
}
_SKIPS = (
    "the of, the and, of and, of the, a of, in the, and the, to the, the in, the to, is in, as the, and of, by the"
    ", from to, a in, was the, the is, and and, the a, on the, with and, or or, of in, in and, an of, for the, the as"
)
_WORDS_AFTER = ("is 2", "is 3", "was 2", "by 2", "and 2", "in 2", "of 2", "a 2", "a 3", "from 2", "as 3", "or 2")
_PAIRS = (
    ("european peoples", "artists"),
    ("other peoples", "artists"),
    ("european peoples", "scholars"),
    ("four winds", "continents"),
    ("winds between", "continents"),
    ("cardinals", "spans of time"),
    ("ordinals", "spans of time"),
    ("superlatives", "settlements"),
    ("superlatives", "divisions of land"),
    ("sizes", "waters"),
    ("ages", "ancients"),
    ("being", "calling"),
    ("being", "making"),
    ("modals", "being"),
    ("how often", "calling"),
    ("quantities", "divisions of land"),
    ("quantities", "people"),
    ("artists", "artists"),
    ("prepositions of place", "four winds"),
    ("he", "making"),
    ("european countries", "joining words"),
    ("joining words", "negation"),
    ("having", "being"),
    ("who", "being"),
    ("who", "having"),
    ("who", "modals"),
    ("they", "being"),
    ("comparatives", "joining words"),
    ("great numbers", "people"),
    ("great numbers", "spans of time"),
)
_ORDINALS = (
    *(("sentence", n) for n in (2, 3, 4, 5, 6, 8, 10, 15)),
    *(("comma", n) for n in (2, 3, 4, 6, 8)),
    *(("number", n) for n in (1, 2, 3, 4, 6)),
    *(("bracket", n) for n in (1, 2, 3, 5)),
    *(("capital", n) for n in (2, 3, 4, 5)),
)
_OPENINGS = (
    "it its",
    "he she his her",
    "in on at",
    "they these this",
    "an a",
    "if for while",
    "most many some",
    "by from",
)
_PIECES = ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4), (5, 5))
_IDENTIFIERS = {
    "two parts with underscores": r"[A-Za-z0-9]+_[A-Za-z0-9]+",
    "three parts or more with underscores": r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+){2,}",
    "an underscore in front": r"_[A-Za-z0-9]\w*",
    "underscores on both sides": r"__\w+__",
    "a digit at the end": r"[A-Za-z_]+[0-9]+",
    "several capitals inside": r"[A-Z][a-z]+(?:[A-Z][a-z]+)+",
    "a capital after a small letter in front": r"[a-z]+[A-Z]\w*",
    "two or three capitals": r"[A-Z]{2,3}",
    "a lone consonant": r"[b-df-hj-np-tv-z]",
    "two small letters without a vowel": r"[b-df-hj-np-tv-xz]{2}",
}


def _defined() -> tuple[Feature, ...]:
    found: list[Feature] = []
    derived: tuple[tuple[str, str, tuple[int, ...]], ...] = (
        ("one token after", "back", (1,)),
        ("two tokens after", "back", (2,)),
        (f"within {LATELY} tokens after", "lately", (LATELY,)),
    )
    for index, name in enumerate(LISTS):
        found.append(Feature(f"a word of {name}", name, "word", (name,)))
        phrase, kind, given = derived[index % 3]
        found.append(Feature(f"{phrase} a word of {name}", name, kind, (name, *given)))
    for first, second in _PAIRS:
        found.append(Feature(f"a word of {first}, then of {second}", f"{first} + {second}", "pair", (first, second)))
    for pair in _SKIPS.split(", "):
        first, second = pair.split()
        found.append(Feature(f"`{second}` two words after `{first}`", f"skip {pair}", "skip", (first, second)))
    for pair in _WORDS_AFTER:
        first, n = pair.split()
        found.append(Feature(f"the word {n} words after `{first}`", f"after {first}", "words after", (first, int(n))))
    for letters in _BEGINNINGS:
        found.append(Feature(f"a word that begins with {letters}", f"begins {letters}", "spelled", (f"^{letters}.",)))
    for name, pattern in _MIDDLES.items():
        found.append(Feature(f"a word with {name}", f"spelled {name}", "spelled", (pattern,)))
    for letters in _ENDINGS:
        found.append(Feature(f"a word that ends in {letters}", f"ends {letters}", "spelled", (f"..{letters}$",)))
    for name, pattern in _LENGTHS.items():
        found.append(Feature(f"a word {name}", f"length {name}", "spelled", (pattern,)))
    for event, n in _ORDINALS:
        name = "of the sentence" if event == "sentence" else f"since a {event}"
        found.append(Feature(f"word {n} {name}", f"{event} {n}", "ordinal", (event, n)))
    for n in (1, 2, 3, 4):
        found.append(Feature(f"after comma {n} of the sentence", f"comma {n}", "comma of sentence", (n,)))
    for opening in _OPENINGS:
        found.append(Feature(f"early in a sentence that begins with {opening}", opening, "opened", (opening,)))
    for n, fewest in _PIECES:
        found.append(Feature(f"token {n} of a word of {fewest} or more", f"piece {n}", "piece", (n, fewest)))
    for name, pattern in _IDENTIFIERS.items():
        found.append(Feature(f"an identifier with {name}", f"identifier {name}", "identifier", (pattern,)))
    for name in _NUMBERS:
        found.append(Feature(f"a number: {name}", f"number {name}", "number", (name,)))
    for name in _RELATIONS:
        found.append(Feature(f"two words that {name}", f"two words {name}", "relation", (name,)))
    return tuple(found)


FEATURES: tuple[Feature, ...] = _defined()
"""Every definition, in order. Those admitted on a corpus are `admission.admitted`."""
