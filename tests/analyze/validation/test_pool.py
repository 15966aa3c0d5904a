"""The second pool of planted features: what they hold, and which judge."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from analyze.validation import features
from analyze.validation.feature_kinds import FIRST_LISTS, LISTS, POOL
from analyze.validation.features import FIRST_FEATURES, HELD, POOL_FEATURES, drawn_families, families_hash
from tests.analyze.validation.fixed_text import TEXTS, read

READING, _, _ = read()
NAMED = {one.name: one for one in POOL_FEATURES}


def words(name: str, texts: tuple[str, ...] = TEXTS) -> list[str]:
    """The text up to each token that a feature holds, from its last blank on."""
    reading = read(texts)[0]
    inside = np.flatnonzero(NAMED[name].tokens(reading))
    stop = np.append(reading.begin, len(reading.data))
    return [re.split(r"[\s\0(]+", reading.data[: stop[token + 1]].decode())[-1] for token in inside]


def test_the_families_that_judge_are_those_that_the_hash_draws_and_the_file_says_so():
    stated = tomllib.loads(Path(features.__file__).with_name("held.toml").read_text(encoding="utf-8"))
    assert tuple(stated["families"]) == drawn_families()
    assert stated["hash"] == families_hash(tuple(stated["families"]))


def test_everything_that_was_looked_at_is_for_tuning_and_held_kinds_are_new():
    assert {one.part for one in FIRST_FEATURES} == {"tuning"}
    held = [one for one in POOL_FEATURES if one.part == "held"]
    assert len(held) >= 120
    assert {one.kind for one in held} - {one.kind for one in FIRST_FEATURES} >= {"run", "repeat", "echo"}
    assert any(one.part == "tuning" for one in POOL_FEATURES)


def test_features_of_one_family_are_in_one_half():
    halves: dict[str, set[str]] = {}
    for one in POOL_FEATURES:
        halves.setdefault(one.root, set()).add(one.part)
    assert all(len(found) == 1 for found in halves.values())
    assert {one.root for one in POOL_FEATURES if one.part == "held"} == HELD


def test_names_are_unique_over_both_pools_and_lists_have_no_word_twice():
    names = [one.name for one in (*FIRST_FEATURES, *POOL_FEATURES)]
    assert len(names) == len(set(names))
    assert not set(FIRST_LISTS) & set(POOL["pool_lists"])
    for line in LISTS.values():
        assert len(line.split()) == len(set(line.split()))


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("a word with w as letter 3", ("a few towns saw new law\n",), ["few", "town", "saw", "new", "law"]),
        ("one token before a word of articles", ("now see the team\n",), ["see"]),
        ("a word before a colon", ("see this: that\n",), ["this"]),
        ("a word after an opening bracket", ("one (two three) four\n",), ["two"]),
        ("the second capitalised word in a row", ("by Karl Marx and Bob\n",), ["Marx"]),
        ("the second item of three", ("red, green, blue\n",), ["gree"]),
        ("word 2 in a row with an s at the end", ("cats dogs runs was\n",), ["dogs"]),
        ("a word that is the same word 2 words before", ("more and more of it\n",), ["more"]),
        ("a word that stood before within ten words", ("this game is this game\n",), ["this", "game"]),
        ("word 1 from the end of a sentence of 1 to 8 words", ("Go on now. Stay here.\n",), ["now", "here"]),
        ("a number after a word of months", ("in June 12 of 13\n",), ["12"]),
        ("a word of pronouns of one, then of speech", ("so I said it\n",), ["said"]),
    ],
)
def test_a_feature_holds_the_tokens_that_its_name_says(name: str, texts: tuple[str, ...], expected: list[str]):
    found = [word.strip(",.:") for word in words(name, texts)]
    assert [word[: len(wanted)] for word, wanted in zip(found, expected, strict=True)] == expected


def test_no_feature_holds_a_separator_and_a_document_has_the_same_features_whatever_stands_before_it():
    together, _, _ = read(("Some other text. It had 3 of them, and (more).\n", *TEXTS))
    at = len(together) - len(READING)
    for one in POOL_FEATURES:
        alone = one.tokens(READING)
        assert not (alone & (READING.document < 0)).any()
        np.testing.assert_array_equal(one.tokens(together)[at:], alone)
