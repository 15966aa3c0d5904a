"""Scores that take part in the benchmark: rivals, and a user's own."""

from pathlib import Path

import numpy as np
import pytest

from analyze.validation.bench.contestants import own_score, rivals, scores_named
from analyze.validation.bench.rivals.neuron_embeddings import neuron_embeddings
from analyze.validation.bench.rivals.shape import firing_rate, kurtosis, token_entropy, wasserstein
from train.errors import BadInput

RNG = np.random.default_rng(0)


def written(directory: Path, text: str) -> Path:
    """A file with a score."""
    path = directory / "my_score.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "def score(activations, tokens, documents):\n    return activations.mean(axis=0)\n",
        "def peak(a, tokens, documents):\n    return a.max(axis=0)\n\ndef _helper(a, b, c):\n    pass\n",
    ],
)
def test_a_score_of_ones_own_is_the_function_score_or_the_only_one_of_three_arguments(tmp_path: Path, text: str):
    contestant = own_score(written(tmp_path, text))
    assert contestant.name == "my_score"
    assert contestant.own


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", "of three arguments: none"),
        ("def a(x, y, z): ...\ndef b(x, y, z): ...\n", "of three arguments: a, b"),
        ("def score(x): ...\n", "must take"),
        ("raise OSError('no')\n", "cannot be run: OSError: no"),
        ("def score(:\n", "cannot be run: SyntaxError"),
    ],
)
def test_a_file_without_such_a_function_is_told_in_one_line(tmp_path: Path, text: str, told: str):
    with pytest.raises(BadInput, match=told):
        own_score(written(tmp_path, text))
    with pytest.raises(BadInput, match="no such file"):
        own_score(tmp_path / "nothing.py")


def test_an_unknown_score_is_named():
    with pytest.raises(BadInput, match=r"k_ef.*did you mean"):
        scores_named(("k_ef",))
    with pytest.raises(BadInput, match="cannot read planted neurons"):
        scores_named(("output",))


def test_rivals_of_shape_rank_a_rare_peaked_neuron_above_a_bell():
    bell = RNG.standard_normal(20_000).astype(np.float32)
    rare = np.where(RNG.random(20_000) < 0.01, 1.0, 0.0).astype(np.float32)
    values = np.stack([bell, rare], axis=1)
    ids, documents = RNG.integers(0, 50, 20_000), np.arange(20_000) // 100
    for figure in (firing_rate, kurtosis, wasserstein):
        of_bell, of_rare = figure(values, ids, documents)
        assert of_rare > of_bell
    assert kurtosis(values, ids, documents)[0] == pytest.approx(3, abs=0.2)
    assert wasserstein(values, ids, documents)[0] < 0.02


def test_token_entropy_is_lowest_for_a_neuron_of_one_token():
    ids = RNG.integers(0, 100, 20_000)
    values = np.stack([ids == 3, ids < 40], axis=1).astype(np.float32)
    one, forty = token_entropy(values, ids, ids)
    assert one == pytest.approx(0)
    assert forty == pytest.approx(-np.log(40), abs=0.01)


def test_neuron_embeddings_see_more_clusters_where_a_neuron_answers_to_unlike_words():
    words = RNG.integers(0, 8, 4000)
    ids = np.stack([10 * words, 10 * words + 1 + RNG.integers(0, 4, 4000), 10 * words + 6], axis=1).ravel()
    documents = np.arange(len(ids)) // 30
    one = np.isin(ids, [1, 2, 3, 4])
    several = np.isin(ids, [11, 32, 53, 74])
    values = np.stack([one, several], axis=1).astype(np.float32)
    of_one, of_several = neuron_embeddings(values, ids, documents)
    assert of_one > of_several


def test_every_rival_has_a_name_and_a_key_of_its_own():
    names = [contestant.name for contestant in rivals()]
    assert names == [*("firing_rate", "kurtosis", "wasserstein", "token_entropy", "neuron_embeddings", "concentration")]
    assert len({contestant.key for contestant in rivals()}) >= 3
