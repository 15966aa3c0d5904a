"""Estimates, intervals and tests over seeds."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analyze.statistics import (
    benjamini_hochberg,
    cliffs_delta,
    cluster_bootstrap,
    holm,
    mean_interval,
    minimum_seeds,
    paired_interval,
    sign_flip_if_enough,
    sign_flip_p,
    two_share_z,
    wilson,
)


def test_t_interval_agrees_with_scipy():
    x = [0.31, 0.27, 0.44, 0.39, 0.30]
    ours = mean_interval(x)
    low, high = stats.t.interval(0.95, len(x) - 1, loc=np.mean(x), scale=stats.sem(x))
    assert (ours.mean, ours.low, ours.high) == pytest.approx((np.mean(x), low, high))
    assert ours.n == 5


def test_t_interval_of_two_seeds_is_as_wide_as_the_table_of_t_says():
    ours = mean_interval([0.0, 2.0])
    assert ours.high - ours.mean == pytest.approx(12.706, abs=1e-3)


def test_one_seed_has_a_mean_and_no_interval():
    ours = mean_interval([0.4])
    assert ours.mean == 0.4
    assert np.isnan(ours.low)
    assert np.isnan(ours.high)
    assert not ours.has_interval
    assert ours.n == 1


def test_no_value_gives_nan_rather_than_an_error():
    assert np.isnan(mean_interval([]).mean)
    assert mean_interval([float("nan")]).n == 0


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_t_interval_covers_the_truth_in_95_of_100_studies(n):
    rng = np.random.default_rng(0)
    covered = []
    for row in rng.normal(3.0, 2.0, (2000, n)):
        ours = mean_interval(list(row))
        covered.append(ours.low <= 3.0 <= ours.high)
    assert 0.935 <= np.mean(covered) <= 0.965


def test_pairing_takes_out_what_seeds_share():
    rng = np.random.default_rng(1)
    seed_effect = rng.normal(0, 10, 8)
    a, b = seed_effect + 1.0 + rng.normal(0, 0.1, 8), seed_effect
    ours = paired_interval(list(a), list(b))
    assert ours.high - ours.low < 0.3
    t = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((t.low, t.high))


def test_a_pair_without_a_partner_is_left_out():
    assert paired_interval([1.0, float("nan"), 3.0], [0.0, 5.0, 1.0]).n == 2
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired_interval([1.0], [1.0, 2.0])


@pytest.mark.parametrize("n", [1, 3, 6, 9])
def test_sign_flip_p_equals_counting_all_assignments(n):
    d = np.random.default_rng(n).normal(0.4, 1.0, n)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product([1, -1], repeat=n)]
    assert sign_flip_p(list(d)) == pytest.approx(np.mean(np.array(sums) >= abs(d.sum()) - 1e-12))


def test_sign_flip_p_agrees_with_scipys_permutation_test():
    d = np.random.default_rng(5).normal(0.5, 1.0, 8)
    theirs = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(list(d)) == pytest.approx(theirs.pvalue)


def test_sign_flip_p_of_like_signs_is_the_smallest_possible():
    assert sign_flip_p([1.0] * 6) == pytest.approx(2 / 64)
    assert sign_flip_p([0.0] * 4) == 1.0


def test_sign_flip_rejects_five_in_a_hundred_where_nothing_differs():
    rng = np.random.default_rng(2)
    p = np.array([sign_flip_p(list(row)) for row in rng.normal(size=(2000, 7))])
    assert np.mean(p <= 0.05) == pytest.approx(3 / 64, abs=0.015)


def test_six_seeds_are_needed_for_one_primary_and_eight_for_four():
    assert minimum_seeds() == 6
    assert minimum_seeds(4) == 8
    assert 2 / 2**5 > 0.05 >= 2 / 2**6


def test_no_test_is_made_below_six_seeds():
    assert sign_flip_if_enough([1.0] * 5) is None
    assert sign_flip_if_enough([1.0] * 5 + [float("nan")]) is None
    assert sign_flip_if_enough([1.0] * 6) == pytest.approx(2 / 64)


@pytest.mark.parametrize("bad", [[], [float("nan")], [1.0] * 23])
def test_sign_flip_refuses_what_it_cannot_count(bad):
    with pytest.raises(ValueError, match="sign-flip"):
        sign_flip_p(bad)


@pytest.mark.parametrize(("successes", "trials"), [(21, 60), (36, 60), (0, 10), (10, 10), (3, 7)])
def test_wilson_agrees_with_scipy(successes, trials):
    theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_of_no_trial_is_nan():
    assert all(np.isnan(wilson(0, 0)))


def test_two_share_z_matches_a_hand_value():
    assert two_share_z((30, 20), (100, 100)) == pytest.approx(0.1 / np.sqrt(0.25 * 0.75 * 0.02))
    assert np.isnan(two_share_z((0, 0), (10, 10)))
    assert np.isnan(two_share_z((0, 0), (10, 0)))


def test_resampling_clusters_is_wider_than_resampling_their_members():
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=40), 25)
    clustered = cluster_bootstrap(values, np.repeat(np.arange(40), 25))
    naive = cluster_bootstrap(values, np.arange(1000))
    assert clustered.mean == pytest.approx(values.mean())
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)
    assert clustered.n == 40


def test_cluster_bootstrap_is_a_function_of_its_seed():
    values, clusters = np.arange(30.0), np.arange(30) // 3
    assert cluster_bootstrap(values, clusters) == cluster_bootstrap(values, clusters)
    assert cluster_bootstrap(values, clusters, seed=1) != cluster_bootstrap(values, clusters)


def test_cluster_bootstrap_covers_a_known_mean():
    rng = np.random.default_rng(4)
    covered = []
    for trial in range(200):
        values = np.repeat(rng.normal(size=50), 2)
        ours = cluster_bootstrap(values, np.repeat(np.arange(50), 2), draws=300, seed=trial)
        covered.append(ours.low <= 0 <= ours.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_one_cluster_has_no_interval():
    ours = cluster_bootstrap(np.ones(4), np.zeros(4, dtype=np.int64))
    assert not ours.has_interval
    assert ours.mean == 1


def test_holm_matches_hand_values_and_skips_what_was_not_tested():
    adjusted = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    assert adjusted[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(adjusted[1])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_benjamini_hochberg_agrees_with_scipy():
    p = np.random.default_rng(6).uniform(size=20) ** 2
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_cliffs_delta_counts_pairs():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5])
    pairs = np.sign(a[:, None] - b[None, :])
    assert cliffs_delta(a, b) == pytest.approx(pairs.mean())
    assert cliffs_delta(np.array([5.0]), b) == 1.0
    assert np.isnan(cliffs_delta(np.array([]), b))
