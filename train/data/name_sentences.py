"""Sentences in which two are named and one of them gives the other something: "... France gave a book to" Spain.

The task of Wang et al. 2022 (arXiv 2211.00593), indirect objects, in words that a small vocabulary has whole. Names
are those of people and countries that are one token with a space before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from train.data.tokenizer import load_tokenizer
from train.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PEOPLE = (
    "John", "William", "Charles", "Alex", "Phil", "Jan", "James", "Robert", "Michael", "David", "Richard", "Joseph",
    "Thomas", "Daniel", "Matthew", "Anthony", "Mark", "Paul", "Steven", "Andrew", "George", "Kevin", "Brian", "Edward",
    "Jason", "Ryan", "Jacob", "Nicholas", "Eric", "Scott", "Frank", "Benjamin", "Samuel", "Patrick", "Jack", "Peter",
    "Henry", "Adam", "Arthur", "Simon", "Martin", "Mary", "Elizabeth", "Anna", "Sarah", "Jane", "Alice", "Anne",
    "Maria", "Emma", "Lucy", "Rose", "Grace", "Lisa", "Amy", "Kate", "Tom", "Sam", "Max", "Ben", "Joe", "Jim", "Bill",
)  # fmt: skip
COUNTRIES = (
    "France", "Spain", "Germany", "England", "Britain", "Russia", "Japan", "China", "India", "Greece", "Egypt",
    "Turkey", "Iran", "Canada", "Mexico", "Brazil", "Vietnam", "Pakistan", "Italy", "Poland", "Portugal", "Korea",
    "America", "Australia", "Rome", "Israel", "Ireland", "Scotland", "Sweden", "Norway", "Cuba", "Chile", "Peru",
)  # fmt: skip
LEAST_NAMES = 8
"""With fewer a model can learn by heart who gives to whom."""
PLACES = ("house", "school", "city", "island", "river", "lake", "forest", "sea")
THINGS = ("book", "ball", "ring", "painting", "song", "star", "stone", "name")
TEMPLATES = (
    "When {A} and {B} were at the {place}, {S} gave a {thing} to {IO}.",
    "After {A} and {B} came to the {place}, {S} sent a {thing} to {IO}.",
    "While {A} and {B} were in the {place}, {S} made a {thing} for {IO}.",
    "The friends {A} and {B} found the {place}, and {S} left a {thing} to {IO}.",
)
"""A and B are named first; the subject S is one of them and the indirect object IO the other."""

_MARKS = {"{A}": -1, "{B}": -2, "{S}": -3, "{IO}": -4}


@dataclass(frozen=True)
class NamePrompts:
    """Sentences of one wording up to the word before the indirect object, one a row, all of one length."""

    tokens: Int[ndarray, "prompt pos"]
    """Without BOS."""
    subject: Int[ndarray, " prompt"]
    """Token id of who gives."""
    indirect: Int[ndarray, " prompt"]
    """Token id of who is given to: the answer."""
    subject_first: Bool[ndarray, " prompt"]
    """Whether the subject is the first of the two names."""
    first: int
    """Place of the first name in every row."""
    second: int
    """Place of the second name."""
    again: int
    """Place where the subject is named for the second time."""


@dataclass(frozen=True)
class NameSentences:
    """Sentences in the tokens of one vocabulary."""

    names: tuple[int, ...]
    """Ids of names."""
    wordings: tuple[tuple[int, ...], ...]
    """Token ids of each template with each place and thing; names are the negative numbers of `_MARKS`."""

    @classmethod
    def of(cls, tokenizer: "Tokenizer", where: str = "tokenizer") -> "NameSentences":
        """Those that a tokenizer can spell.

        Raises:
            BadInput: fewer than 8 of the names are one token of this vocabulary.
        """
        spelled = {name: _ids(tokenizer, f" {name}") for name in (*PEOPLE, *COUNTRIES)}
        # Where unknown words have a token of their own, that is no name's.
        names = [
            ids[0]
            for name, ids in spelled.items()
            if len(ids) == 1 and (tokenizer.id_to_token(ids[0]) or "").endswith(name)
        ]
        if len(names) < LEAST_NAMES:
            raise BadInput(
                f"{where}: {len(names)} of {len(PEOPLE) + len(COUNTRIES)} names are one token in this vocabulary; "
                f"train.name_rows needs {LEAST_NAMES}"
            )
        wordings = [
            _wording(tokenizer, template.replace("{place}", place).replace("{thing}", thing))
            for template in TEMPLATES
            for place in PLACES
            for thing in THINGS
        ]
        return cls(tuple(names), tuple(wordings))

    @classmethod
    def of_data(cls, directory: Path) -> "NameSentences":
        """Those in the vocabulary of prepared data.

        Raises:
            BadInput: see `of`.
        """
        path = directory / "tokenizer.json"
        return cls.of(load_tokenizer(path), str(path))

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence, BOS included."""
        return max(map(len, self.wordings)) + 1

    def fill(self, n: int, rng: np.random.Generator) -> Int[ndarray, " n"]:
        """`n` tokens of sentences one after the other, the last one cut."""
        made: list[int] = []
        while len(made) < n:
            a, b = rng.choice(self.names, 2, replace=False).tolist()
            subject, indirect = (a, b) if rng.random() < 0.5 else (b, a)
            wording = self.wordings[int(rng.integers(len(self.wordings)))]
            made += _named(wording, a, b, subject, indirect)
        return np.array(made[:n], dtype=np.int64)

    def prompts(self, n: int, rng: np.random.Generator, wording: int | None = None) -> NamePrompts:
        """`n` sentences of one wording, each cut before its indirect object.

        Args:
            wording: its number; default: one at random.
        """
        chosen = self.wordings[int(rng.integers(len(self.wordings))) if wording is None else wording]
        cut = chosen[: chosen.index(_MARKS["{IO}"])]
        pairs = np.stack([rng.choice(self.names, 2, replace=False) for _ in range(n)])
        subject_first = rng.random(n) < 0.5
        subject = np.where(subject_first, pairs[:, 0], pairs[:, 1])
        indirect = np.where(subject_first, pairs[:, 1], pairs[:, 0])
        tokens = np.array(
            [_named(cut, int(a), int(b), int(s), int(io)) for (a, b), s, io in zip(pairs, subject, indirect)]
        )
        places = (cut.index(_MARKS[mark]) for mark in ("{A}", "{B}", "{S}"))
        return NamePrompts(tokens, subject, indirect, subject_first, *places)


def _ids(tokenizer: "Tokenizer", text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def _wording(tokenizer: "Tokenizer", text: str) -> tuple[int, ...]:
    """Token ids of a template, each name a negative number: names bring their own space."""
    ids, rest = [], f" {text}"
    while rest:
        mark, start = min(
            ((mark, rest.find(mark)) for mark in _MARKS if mark in rest), key=lambda each: each[1], default=("", -1)
        )
        if not mark:
            return (*ids, *_ids(tokenizer, rest))
        ids += [*_ids(tokenizer, rest[:start].rstrip()), _MARKS[mark]]
        rest = rest[start + len(mark) :]
    return tuple(ids)


def _named(wording: Sequence[int], a: int, b: int, subject: int, indirect: int) -> list[int]:
    by_mark = dict(zip(_MARKS.values(), (a, b, subject, indirect), strict=True))
    return [by_mark.get(each, each) for each in wording]
