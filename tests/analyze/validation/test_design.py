"""The distribution of planted neurons: fixed, and what it promises of them."""

from collections import Counter

import numpy as np
import pytest
from numpy import ndarray

from analyze.validation.admission import Admitted
from analyze.validation.design import (
    CASES,
    MAIN,
    NEAR,
    PLANTED_HASH,
    UNEQUAL,
    UNLIKE,
    Case,
    Neuron,
    TooFewFeatures,
    draw_neurons,
    planted_activations,
    planted_hash,
)
from analyze.validation.features import Feature


def random_features(n: int = 240, t: int = 20_000) -> Admitted:
    """Independent random sets with shares from 0.06 % to 5 %."""
    rng = np.random.default_rng(0)
    shares = np.exp(rng.uniform(np.log(0.0006), np.log(0.05), n))
    features = tuple(Feature(f"f{index}", f"root {index}", "word", ()) for index in range(n))
    return Admitted(features, rng.random((t, n)) < shares, ())


ADMITTED = random_features()


def test_the_planted_set_is_the_one_fixed_before_scores_were_tuned_and_an_edit_would_make_them_unvalidated():
    assert planted_hash() == PLANTED_HASH


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_neurons_have_as_many_unlike_features_as_the_case_says(case: Case):
    neurons = draw_neurons(case, ADMITTED)
    assert Counter(neuron.k for neuron in neurons) == Counter(case.k)
    for neuron in neurons:
        sets = ADMITTED.tokens[:, list(neuron.features)]
        both = sets.T.astype(float) @ sets
        smaller = np.minimum(np.diag(both)[:, None], np.diag(both))
        np.fill_diagonal(both, 0)
        assert (both <= UNLIKE * smaller).all()
    assert draw_neurons(case, ADMITTED) == neurons


def test_the_density_is_alike_for_every_k_where_the_case_promises_it():
    case = next(case for case in CASES if case.density)
    neurons = draw_neurons(case, ADMITTED)
    total = np.array([ADMITTED.share[list(neuron.features)].sum() for neuron in neurons])
    low, high = case.density or (0, 1)
    assert total.min() >= low * (1 - NEAR)
    assert total.max() <= high * (1 + NEAR)
    mono = np.array([neuron.k == 1 for neuron in neurons])
    assert abs((total[mono][:, None] < total[~mono]).mean() - 0.5) < 0.1


def test_unequal_partners_are_about_ten_times_apart():
    case = next(case for case in CASES if case.unequal)
    for neuron in draw_neurons(case, ADMITTED):
        first, *others = ADMITTED.share[list(neuron.features)]
        assert all(UNEQUAL[0] <= first / other <= UNEQUAL[1] for other in others)


def test_too_few_features_are_reported():
    few = Admitted(ADMITTED.features[:5], ADMITTED.tokens[:, :5], ())
    with pytest.raises(TooFewFeatures, match="symmetric"):
        draw_neurons(MAIN, few)


def test_a_planted_neuron_is_the_sum_of_its_features_above_the_bias():
    neurons = [Neuron((0, 1), (2.0, 1.0)), Neuron((2,), (1.0,))]
    activations = planted_activations(ADMITTED.tokens, neurons, noise=0.0, name="test")
    expected: ndarray = np.maximum(2.0 * ADMITTED.tokens[:, 0] + ADMITTED.tokens[:, 1] - 0.3, 0)
    np.testing.assert_allclose(activations[:, 0], expected, atol=1 / 1024)
    np.testing.assert_allclose(activations[:, 1], 0.7 * ADMITTED.tokens[:, 2], atol=1 / 1024)


def test_noise_has_its_sd_is_apart_for_every_neuron_and_leaves_a_grid_that_offsets_do_not_round():
    neurons = [Neuron((0,), (100.0,)), Neuron((0,), (100.0,))]
    tokens = np.ones((20_000, 1), bool)
    activations = planted_activations(tokens, neurons, noise=0.2, name="test")
    assert activations.std(axis=0) == pytest.approx([0.2, 0.2], rel=0.03)
    assert abs(np.corrcoef(activations.T)[0, 1]) < 0.03
    np.testing.assert_array_equal((activations - np.float32(0.25)) + np.float32(0.25), activations)
    alone = planted_activations(tokens, neurons[:1], noise=0.2, name="test")
    np.testing.assert_array_equal(alone[:, 0], activations[:, 0])
