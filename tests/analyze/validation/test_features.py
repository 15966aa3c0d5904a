"""Planted features: what they hold, and that they stay what they were when scores were tuned."""

import re
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.validation.feature_kinds import FIRST_LISTS as LISTS
from analyze.validation.features import FIRST_FEATURES as FEATURES
from analyze.validation.features import LATELY, Feature
from analyze.validation.parsed_text import ParsedText
from tests.analyze.validation.fixed_text import TEXTS, read

READING, IDS, VOCABULARY = read()
NAMED = {one.name: one for one in FEATURES}


def words(name: str, reading: ParsedText = READING) -> list[str]:
    """The text up to each token that a feature holds, from its last blank on."""
    inside = np.flatnonzero(NAMED[name].tokens(reading))
    stop = np.append(reading.begin, len(reading.data))
    until = (reading.data[: stop[token + 1]].decode() for token in inside)
    return [re.split(r"[\s\0]+|(?<=\w)\(", text)[-1].lstrip("(") for text in until]


def test_features_on_a_fixed_page_never_change_because_neurons_were_planted_by_them():
    held = np.stack([one.tokens(READING) for one in FEATURES])
    assert int(held.sum()) == 638
    assert (
        sha256(np.packbits(held).tobytes()).hexdigest()
        == "d4a0e13f268361e6a7db7c950863a96de662bc444da405c8313444608f7284f8"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a word of months", ["March"]),
        ("a word of royalty", ["king"]),
        ("a word of cardinals", ["nine", "three"]),
        ("one token after a word of cardinals", ["larg", "boat"]),
        ("a word of european peoples, then of artists", ["painter"]),
        ("`of` two words after `the`", ["of"]),
        ("the word 2 words after `is`", []),
        ("a word with two double letters", ["ValueError", "bookkeepers", "happiness"]),
        ("a word that ends in le", ["Nile", "little"]),
        ("a word that begins with qu", ["Quietly"]),
        ("a word of 12 letters or more", []),
        ("word 2 of the sentence", ["river", "March", "was", "of", "node", "she"]),
        ("word 1 since a number", ["the", "raise", "20th"]),
        ("an identifier with three parts or more with underscores", ["key_of_node"]),
        ("an identifier with an underscore in front", ["_first"]),
        ("an identifier with several capitals inside", ["ValueError"]),
        ("a number: even", ["1848", "12", "20th"]),
        ("a number: has the same digit twice", ["1848"]),
        ("a number: digits that rise", ["12"]),
    ],
)
def test_a_feature_holds_the_tokens_that_its_name_says(name: str, expected: list[str]):
    assert words(name) == expected


def test_lately_is_true_for_eight_tokens_and_ends_with_the_document():
    reading, _, _ = read(("a king was here and the day went on as ever it did", "no more"))
    lately = Feature("lately", "royalty", "lately", ("royalty", LATELY))
    inside = lately.tokens(reading)
    (first,) = np.flatnonzero(NAMED["a word of royalty"].tokens(reading))
    assert np.flatnonzero(inside).tolist() == list(range(first + 1, first + 1 + LATELY))
    short, _, _ = read(("the king", "was not one of ours"))
    assert not lately.tokens(short).any()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(alphabet="abq Z.,_(1)2\n\té", max_size=40), min_size=1, max_size=4))
def test_a_document_has_the_same_features_whatever_stands_before_it(texts: list[str]):
    texts = [text for text in texts if text.strip()] or ["a"]
    together, _, _ = read((*texts, *TEXTS))
    at = len(together) - len(READING)
    for one in FEATURES[::7]:
        np.testing.assert_array_equal(one.tokens(together)[at:], one.tokens(READING))


def test_no_feature_holds_a_separator():
    separators = READING.document < 0
    assert not any((one.tokens(READING) & separators).any() for one in FEATURES)


def test_features_have_names_of_their_own():
    assert len(NAMED) == len(FEATURES) >= 300


def test_lists_have_no_word_twice_and_no_capitals():
    for line in LISTS.values():
        held = line.split()
        assert len(held) == len(set(held))
        assert line == line.lower()
