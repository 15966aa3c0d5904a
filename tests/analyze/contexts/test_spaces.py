"""Spaces of contexts are white, stop at documents, and come from text alone."""

from pathlib import Path

import numpy as np
import pytest

from analyze.contexts import spaces
from analyze.contexts.spaces import LEFT, neighbours, white
from analyze.contexts.word_classes import NO_CLASS, word_classes_on
from analyze.labels.families import speech
from analyze.text import sentence_model
from tests.analyze.scores.scoring import activations_of
from train.data.tokens import TokenFile


def test_vectors_are_centred_and_white_over_the_fit_tokens():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2000, 6)) * [9, 5, 3, 2, 1, 1] + 4).astype(np.float32)
    is_fit = np.arange(2000) < 1000
    z = white(x, is_fit, 4)
    assert z.shape == (2000, 4)
    assert np.abs(z[is_fit].mean(axis=0)).max() < 0.02
    assert np.allclose(np.cov(z[is_fit].T), np.eye(4), atol=0.06)


def test_neighbours_stop_at_documents_and_at_the_ends():
    document = np.array([0, 0, 0, -1, 1, 1, -1])
    positions = np.array([0, 2, 4, 5])
    _, before = neighbours(document, positions, -1)
    _, after = neighbours(document, positions, 1)
    assert before.tolist() == [False, True, False, True]
    assert after.tolist() == [True, False, True, False]
    assert LEFT[0] == 0


def test_words_of_prose_have_a_class_and_code_has_none(real_text: Path):
    classes = word_classes_on(TokenFile.open(real_text, split="eval"))
    assert classes.n_classes > 10
    assert (classes.of_position == NO_CLASS).mean() > 0.05
    assert classes.of_position.max() == classes.n_classes - 1


def test_a_package_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    assert spaces.lacks() == ""
    monkeypatch.setattr(speech, "lexicon_path", lambda: None)
    assert spaces.lacks().startswith("the package textblob (pip install")


@pytest.mark.filterwarnings("error")
def test_where_nothing_varies_there_is_no_direction():
    x = np.ones((20, 3), np.float32)
    assert white(x, np.arange(20) < 10, 2).shape == (20, 0)
    assert white(np.eye(20, 3, dtype=np.float32), np.zeros(20, bool), 2).shape == (20, 0)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_text_without_word_classes_has_no_space_of_them(made_up: tuple, monkeypatch: pytest.MonkeyPatch):
    _, sample, data = made_up
    acts = activations_of(np.zeros((len(sample), 1)), data, sample)
    monkeypatch.setattr(spaces, "_classes", lambda text, positions, offsets: np.zeros((len(positions), 0), np.float32))
    monkeypatch.setattr(sentence_model, "weights_path", lambda: None)
    spaces._spaces.cache_clear()
    try:
        found = {space.name: space.z for space in spaces.spaces_of(acts)}
    finally:
        spaces._spaces.cache_clear()
    assert list(found) == ["left", "around", "window", "form"]
    assert all(np.isfinite(z).all() for z in found.values())
