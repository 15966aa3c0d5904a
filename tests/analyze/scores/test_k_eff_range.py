"""Mono throughout: the top, the middle and the foot of a neuron's range."""

import numpy as np
import pytest

from analyze.scores import SCORES, default_names
from analyze.scores.k_eff import MONO
from analyze.scores.k_eff_range import LOW, TOP, saturated, squared
from analyze.scores.table import score_table
from tests.analyze.scores.scoring import activations_of, covered


@pytest.fixture(scope="module")
def table(made_up: tuple):
    """Neuron 0: one thing; 1: two things of equal strength; 2: a second thing at the foot; 3: dead."""
    grammar, tokens, data = made_up
    river, king = (
        covered(grammar, tokens, f"` {word}` as the current token").astype(float) for word in ("river", "king")
    )
    noise = 0.01 * np.random.default_rng(0).standard_normal((4, len(tokens)))
    columns = [river, river + king, river + 0.15 * king, 0 * river]
    values = np.stack([column + own * (column.max() > 0) for column, own in zip(columns, noise)], axis=1)
    return score_table(activations_of(values, data, tokens), ["k_eff", "throughout"])


def test_a_second_feature_at_low_activations_shows_at_low_activations_only(table):
    assert table["k_eff_mono"].to_list() == [True, False, True, None]
    assert table["throughout_mono"].to_list() == [True, False, False, None]
    squared_k_eff, foot = table["k_eff_squared"].to_list(), table["k_eff_saturated"].to_list()
    assert squared_k_eff[2] < 1.05
    assert foot[2] == pytest.approx(foot[1], rel=0.1)
    assert foot[2] > MONO > foot[0]


def test_the_score_is_that_of_the_largest_of_the_three(table):
    three = table.select("k_eff", "k_eff_squared", "k_eff_saturated").head(3).to_numpy()
    np.testing.assert_allclose(table["throughout_score"].head(3).to_numpy(), 1 / three.max(axis=1))
    assert table["throughout_score"][3] is None
    assert "throughout" not in default_names(), "it takes four times as long as K_eff"
    assert list(SCORES).index("throughout") == list(SCORES).index("k_eff") + 1


def test_a_tenth_of_the_peak_is_where_the_foot_ends():
    y = np.concatenate([np.zeros(100), np.full(TOP, 4.0), [LOW * 4.0, LOW * 2.0]])
    fit, other = saturated(y, y[::-1])
    assert fit[100 : 100 + TOP].tolist() == [1.0] * TOP
    assert fit[-2:].tolist() == pytest.approx([1.0, 0.5])
    np.testing.assert_array_equal(other, fit[::-1])
    for given in (np.zeros(50), np.zeros(3)):
        assert not np.concatenate(saturated(given, given)).any()
    np.testing.assert_array_equal(squared(np.array([0.5, 2.0]), np.array([3.0]))[0], [0.25, 4.0])
