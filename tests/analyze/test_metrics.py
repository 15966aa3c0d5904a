"""How well a set of tokens fits a neuron: each figure by hand, by brute force, and against wrong sets."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from analyze.metrics import (
    auroc,
    auroc_draws,
    average_precision,
    best_f1_threshold,
    cosine,
    effective_number,
    f1,
    firing_threshold,
    iou,
    pearson,
    recall,
)

ALL = (pearson, cosine, average_precision, auroc, f1, iou, recall)
Y = np.array([3.0, 0.0, 2.0, 0.0, 1.0, 0.0])
COVERED = np.array([True, True, True, False, False, False])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 30))
    y = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    covered = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return np.array(y, dtype=np.float64), np.array(covered)


def test_six_tokens_come_out_as_computed_by_hand():
    # mean 1; sums of (y - 1): 2 inside; SST 8; covered varies by 6 / 4
    assert pearson(Y, COVERED) == pytest.approx(2 / np.sqrt(8 * 1.5))
    assert cosine(Y, COVERED) == pytest.approx(5 / np.sqrt(14 * 3))
    # in order 3 (in), 2 (in), 1, then 0 three times with one in: precision 1, 1, 3 / 6
    assert average_precision(Y, COVERED) == pytest.approx((1 + 1 + 0.5) / 3)
    # 3 and 2 beat all three outside; 0 loses to 1 and ties with two zeros
    assert auroc(Y, COVERED) == pytest.approx((3 + 3 + 1) / 9)
    # fires at 3, 2 and 1: two of them inside
    assert f1(Y, COVERED) == pytest.approx(2 * 2 / (3 + 3))
    assert iou(Y, COVERED) == pytest.approx(2 / 4)
    assert recall(Y, COVERED) == pytest.approx(2 / 3)
    # above 1.5 it fires at 3 and 2 alone
    assert [metric(Y, COVERED, 1.5) for metric in (f1, iou, recall)] == pytest.approx([4 / 5, 2 / 3, 1])


@settings(max_examples=30, deadline=None)
@given(cases())
def test_they_agree_with_their_plain_definitions(case: tuple[np.ndarray, np.ndarray]):
    y, covered = case
    size, n = int(covered.sum()), len(y)
    if size:
        order = sorted(set(y.tolist()), reverse=True)
        area, before = 0.0, 0.0
        for value in order:
            found = float(((y >= value) & covered).sum())
            area += (found - before) / size * found / float((y >= value).sum())
            before = found
        assert average_precision(y, covered) == pytest.approx(area)
    if 0 < size < n:
        pairs = y[covered][:, None] - y[~covered][None, :]
        assert auroc(y, covered) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
        if y.std() > 0:
            assert pearson(y, covered) == pytest.approx(np.corrcoef(y, covered)[0, 1])
    fires = y > firing_threshold(y)
    if fires.any() or covered.any():
        assert iou(y, covered) == pytest.approx((fires & covered).sum() / (fires | covered).sum())


@pytest.mark.parametrize("metric", ALL)
@settings(max_examples=30, deadline=None)
@given(case=cases(), seed=st.integers(0, 9), scale=st.sampled_from([1e-6, 0.3, 7.0, 1e6]))
def test_neither_order_nor_scale_matters(metric: Callable, case: tuple, seed: int, scale: float):
    y, covered = case
    turned = np.random.default_rng(seed).permutation(len(y))
    expected = metric(y, covered)
    assert metric(scale * y[turned], covered[turned]) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric", [pearson, average_precision, auroc])
@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_an_offset_changes_neither_pearson_nor_ranks(metric: Callable, case: tuple):
    y, covered = case
    assert metric(y - 100.0, covered) == pytest.approx(metric(y, covered), nan_ok=True)


@pytest.mark.parametrize("metric", ALL)
def test_no_set_or_no_activation_is_no_figure_rather_than_zero(metric: Callable):
    nothing = np.zeros(6)
    assert np.isnan(metric(nothing, np.zeros(6, bool)))
    assert np.isnan(metric(np.zeros(0), np.zeros(0, bool)))


def test_a_constant_neuron_has_no_correlation_however_large_the_constant():
    covered = np.arange(1000) < 10
    assert np.isnan(pearson(np.full(1000, 0.1), covered))
    assert np.isnan(pearson(np.full(1000, 1e8 / 3), covered))


def falls(metric: Callable, change: str) -> float:
    """By which share a figure falls when a perfect set loses half of its tokens or gains as many others."""
    rng = np.random.default_rng(0)
    inside = np.arange(20_000) < 200
    y = np.where(inside, 1.0, 0.02 * rng.random(20_000))
    other = inside.copy()
    other[slice(0, 100) if change == "missing" else slice(200, 400)] = change == "extra"
    return 1 - metric(y, other) / metric(y, inside)


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_pearson_cosine_auprc_f1_and_iou_fall_with_missing_and_with_extra_labels(change: str):
    assert min(falls(metric, change) for metric in (pearson, cosine, average_precision, f1, iou)) > 0.2


def test_recall_passes_over_extra_labels_and_auc_over_missing_ones():
    assert falls(recall, "extra") == 0
    assert falls(auroc, "missing") < 0.01


def test_the_effective_number_counts_parts_that_are_alike_as_fewer_and_leaves_out_losses():
    assert effective_number(np.array([0.3, 0.3, 0.3])) == pytest.approx(3)
    assert effective_number(np.array([0.3, 0.3]), np.eye(2)) == pytest.approx(2)
    assert effective_number(np.array([0.3, -0.2]), np.eye(2)) == pytest.approx(1)
    assert effective_number(np.array([0.3, 0.3]), np.ones((2, 2))) == pytest.approx(1)
    assert effective_number(np.array([0.2, 0.2]), np.array([[1, 0.5], [0.5, 1]])) == pytest.approx(4 / 3)


def test_gains_that_reach_too_little_together_have_no_effective_number():
    assert np.isnan(effective_number(np.array([0.04, -0.2]), np.eye(2), least=0.05))
    assert effective_number(np.array([0.04, -0.2]), np.eye(2), least=0.04) == pytest.approx(1)
    assert np.isnan(effective_number(np.zeros(2)))
    assert np.isnan(effective_number(np.zeros(0)))


def test_average_precision_counts_ties_together_and_tokens_as_often_as_they_stand_for():
    score, y = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(score, y) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.zeros(4), y) == pytest.approx(0.5)
    assert average_precision(score, y, np.array([1.0, 0, 1, 5])) == pytest.approx(1)
    assert np.isnan(average_precision(score, np.zeros(4, bool), np.ones(4)))


def test_the_best_threshold_gives_the_largest_f1_and_lies_between_two_values():
    score, y = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, True, False, True])
    assert best_f1_threshold(score, y, np.array([1.0, 1, 9, 1])) == pytest.approx(0.75)
    assert best_f1_threshold(score, y, np.ones(4)) == -np.inf


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 9))
def test_auroc_and_average_precision_are_those_of_scikit_learn_with_weights_too(case: tuple, seed: int):
    y, covered = case
    counts = np.random.default_rng(seed).integers(1, 9, len(y)).astype(float)
    if covered.any():
        assert average_precision(y, covered) == pytest.approx(average_precision_score(covered, y))
        weighted = average_precision_score(covered, y, sample_weight=counts)
        assert average_precision(y, covered, counts) == pytest.approx(weighted)
    if covered.any() and not covered.all():
        assert auroc(y, covered) == pytest.approx(roc_auc_score(covered, y))
        (drawn,) = auroc_draws(y, covered, counts[None])
        assert drawn == pytest.approx(roc_auc_score(covered, y, sample_weight=counts))
