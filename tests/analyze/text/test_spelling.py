"""Spelling as vectors: what is near what."""

import numpy as np
import pytest

from analyze.rules.grammar import FULL_SIMILARITY, FULL_SPELLING, Grammar
from analyze.rules.views import SetsOfKeys, View
from analyze.text.spelling import forms, spelled
from analyze.text.vocabulary import Vocabulary

TEXTS = (" river", " rivers", "river", " king", " kingdom", "12", " ", None, " Rivers")


def test_words_are_near_those_they_share_pieces_with():
    near = (spelled(TEXTS) @ spelled(TEXTS).T).toarray()
    assert near[0, 1] > 0.5
    assert near[3, 4] > 0.3
    assert near[0, 3] == 0
    assert near[1, 8] == pytest.approx(1), "case is no spelling"
    assert near[0, 1] > near[2, 1], "a piece of a word does not begin one"


def test_letters_alone_have_a_spelling_and_it_is_a_unit_row():
    length = np.sqrt(np.asarray(spelled(TEXTS).power(2).sum(axis=1)))
    np.testing.assert_allclose(length, [1, 1, 1, 1, 1, 0, 0, 0, 1])
    assert spelled((None, "1")).shape == (2, 0)


def grammar_of_words(vectors: np.ndarray) -> Grammar:
    """A rule a text, each of them on twenty fit and twenty eval tokens."""
    n = len(TEXTS)
    keys = np.tile(np.arange(n), 40)
    sets = SetsOfKeys([np.array([index]) for index in range(n)], n)
    names = tuple(map(str, TEXTS))
    letters = np.array([bool(text) and text.strip().isalpha() for text in TEXTS])
    view = View("current", keys, sets, names, names, ("",) * n, ("token",) * n, vectors, spelled(TEXTS), letters)
    return Grammar((view,), np.arange(len(keys)), np.arange(len(keys)) < len(keys) // 2)


def test_rules_are_as_alike_as_their_spelling_or_their_company_says():
    apart, alike = np.eye(len(TEXTS)), np.eye(len(TEXTS))
    alike[3] = 0.5 * FULL_SIMILARITY * alike[0] + np.sqrt(1 - (0.5 * FULL_SIMILARITY) ** 2) * alike[3]
    near = (spelled(TEXTS) @ spelled(TEXTS).T).toarray()
    z = grammar_of_words(apart).similarity(np.arange(len(TEXTS)))
    np.testing.assert_allclose(z[:5, :5], np.clip(near[:5, :5] / FULL_SPELLING, 0, 1))
    np.testing.assert_array_equal(z[5], np.eye(len(TEXTS))[5])
    assert grammar_of_words(alike).similarity(np.array([0, 3]))[0, 1] == pytest.approx(0.5)


def test_forms_put_forms_of_one_word_together_and_shapes_apart():
    pieces = (b" river", b"River", b" rivers", b" 1984", b" 1999", b" king", b"\xff")
    v = forms(Vocabulary(pieces))
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
    assert v[0] @ v[2] > 0.7, "an ending more"
    assert v[0] @ v[1] > 0.3, "the same letters in another shape"
    assert v[3] @ v[4] > 0.5, "two years"
    assert v[0] @ v[3] < v[0] @ v[5] < v[0] @ v[2]
    assert abs(v[6] @ v[0]) < 0.3
