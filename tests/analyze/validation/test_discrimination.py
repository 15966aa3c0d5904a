"""AUROC, its interval, thresholds: by brute force and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray
from scipy.stats import spearmanr

from analyze.metrics import auroc
from analyze.validation.design import MAIN
from analyze.validation.discrimination import auroc_interval, best_threshold, rank_correlation, weights

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), st.booleans()), min_size=2, max_size=30
)


def pair_by_pair(score: ndarray, positive: ndarray) -> float:
    lowest = np.where(np.isnan(score), -np.inf, score)
    pairs = [(a > b) + (a == b) / 2 for a in lowest[positive] for b in lowest[~positive]]
    return float(np.mean(pairs)) if pairs else float("nan")


@given(SCORES)
def test_auroc_is_what_comparing_every_pair_gives_with_missing_scores_lowest(rows: list[tuple[float, bool]]):
    score, positive = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if positive.all() or not positive.any():
        assert np.isnan(auroc(score, positive))
    else:
        assert auroc(score, positive) == pytest.approx(pair_by_pair(score, positive))


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    score, k = rng.integers(0, 5, 60).astype(float), rng.integers(1, 9, 60)
    assert rank_correlation(score, k) == pytest.approx(spearmanr(score, k)[0])
    assert np.isnan(rank_correlation(np.ones(60), k))


def test_the_best_threshold_separates_what_can_be_separated_and_is_nan_without_scores():
    score = np.array([0.1, 0.2, np.nan, 0.8, 0.9])
    assert best_threshold(score, np.array([False, False, False, True, True])) == pytest.approx(0.5)
    assert np.isnan(best_threshold(np.full(3, np.nan), np.array([True, False, True])))


def test_neurons_of_the_same_single_feature_count_alike_in_every_draw_and_all_count_once_on_average():
    members = np.zeros((4, 5), bool)
    members[0, 0] = members[1, 0] = members[2, 1] = members[2, 2] = True
    drawn = weights(members, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1])
    assert drawn.mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
    assert drawn.var(axis=0) == pytest.approx(np.ones(4), abs=0.2)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.1


def simulated(rng: np.random.Generator, n_features: int = 90) -> tuple[ndarray, ndarray]:
    """Scores that depend on the number of features, on which they are, and on chance; and the features."""
    effect = rng.standard_normal(n_features)
    k = np.array(MAIN.k)
    members = np.zeros((len(k), n_features), bool)
    for row, size in zip(members, k):
        row[rng.choice(n_features, size, replace=False)] = True
    return (members * effect).sum(axis=1) / k - 0.5 * np.log(k) + 0.5 * rng.standard_normal(len(k)), members


@pytest.mark.slow
def test_the_interval_contains_the_truth_in_nineteen_of_twenty_redrawings_of_features():
    rng = np.random.default_rng(0)
    one = np.array(MAIN.k) == 1
    truth = np.mean([auroc(simulated(rng)[0], one) for _ in range(800)])
    held = 0
    for seed in range(200):
        score, members = simulated(rng)
        found = auroc_interval(score, one, members, seed, draws=400)
        held += found.low <= truth <= found.high
    print(f"the 95 % interval held {truth:.3f} in {held} of 200 simulations")
    assert 182 <= held <= 200


def test_an_interval_contains_its_estimate_and_is_the_same_every_time():
    score, members = simulated(np.random.default_rng(1))
    found = auroc_interval(score, np.array(MAIN.k) == 1, members)
    assert found.low < found.value < found.high
    assert found == auroc_interval(score, np.array(MAIN.k) == 1, members)
