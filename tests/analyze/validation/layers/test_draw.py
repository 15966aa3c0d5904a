"""Which features planted neurons get: equal firing rates, k of two and three mostly, alike kinds."""

from collections import Counter

import numpy as np
import pytest
from numpy import ndarray

from analyze.validation.design import Neuron, TooFewFeatures
from analyze.validation.layers.base import Features, PlantedFeature
from analyze.validation.layers.draw import CALIPER, alike_pairs, draw, numbers_of_features, pairs

RNG = np.random.default_rng


def made_up_features(n: int = 240, t: int = 20_000) -> Features:
    """Independent random sets; frequent ones are of kind `b` mostly, rare ones of kind `a`."""
    rng = RNG(0)
    shares = np.exp(rng.uniform(np.log(0.0008), np.log(0.045), n))
    kinds = ["a" if rng.random() < 0.3 + 0.5 * (share < 0.006) else "b" for share in shares]
    named = tuple(PlantedFeature(f"f{index}", f"family {index}", kind, "tuning") for index, kind in enumerate(kinds))
    return Features(named, rng.random((t, n)) < shares)


FEATURES = made_up_features()


def rates(neurons: list[Neuron]) -> ndarray:
    """The share of tokens with any of a neuron's features."""
    return np.array([FEATURES.tokens[:, list(neuron.features)].any(axis=1).mean() for neuron in neurons])


def test_neurons_of_one_and_of_several_features_are_paired_by_equal_firing_rate():
    drawn = draw("density matched", FEATURES, rates, RNG(1), n=100)
    k = np.array([neuron.k for neuron in drawn.neurons])
    half = len(k) // 2
    assert (k[:half] == 1).all()
    assert (k[half:] > 1).all()
    rate = rates(drawn.neurons)
    assert np.abs(np.log(rate[:half] / rate[half:])).max() <= CALIPER
    assert 80 <= half <= 100


def test_k_is_two_or_three_mostly_where_density_is_matched():
    drawn = draw("density matched", FEATURES, rates, RNG(1), n=100)
    count = Counter(neuron.k for neuron in drawn.neurons)
    assert count[2] + count[3] > 0.6 * (len(drawn.neurons) - count[1])
    assert max(count) >= 4


def test_kinds_go_with_the_number_of_features_no_more_than_chance_leaves_them():
    drawn = draw("density matched", FEATURES, rates, RNG(1), n=150)
    share = [[], []]
    for neuron in drawn.neurons:
        share[int(neuron.k > 1)].append(np.mean([FEATURES.kinds[index] == "a" for index in neuron.features]))
    assert abs(np.mean(share[0]) - np.mean(share[1])) < 0.05


def test_in_the_symmetric_design_features_are_drawn_alike_so_that_more_features_fire_more_often():
    drawn = draw("symmetric", FEATURES, rates, RNG(1), n=100)
    k = np.array([neuron.k for neuron in drawn.neurons])
    rate = rates(drawn.neurons)
    assert (k == 1).sum() == 100
    assert np.median(rate[k > 3]) > 2 * np.median(rate[k == 1])


def test_the_same_seed_draws_the_same_neurons():
    first, second = (draw("density matched", FEATURES, rates, RNG(3), n=60) for _ in range(2))
    assert first.neurons == second.neurons
    np.testing.assert_array_equal(first.index, second.index)


def test_pairs_are_of_like_rate_and_use_each_neuron_once():
    one, several = np.array([0.01, 0.02, 0.5]), np.array([0.0205, 0.0101, 0.1])
    rows, columns = pairs(one, several)
    assert sorted(zip(rows.tolist(), columns.tolist())) == [(0, 1), (1, 0)]


def test_of_many_pairs_those_are_kept_whose_kinds_are_spread_alike():
    apart = np.array([[1.0, -1.0], [0.0, 0.0], [1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])
    kept = alike_pairs(apart, 3)
    assert len(kept) == 3
    assert np.abs(apart[kept].sum(axis=0)).max() == 0
    assert alike_pairs(apart, 9).tolist() == [0, 1, 2, 3, 4]


def test_numbers_of_features_follow_their_weights():
    assert Counter(numbers_of_features({2: 0.5, 3: 0.3, 4: 0.2}, 100)) == {2: 50, 3: 30, 4: 20}


def test_too_few_features_are_told():
    with pytest.raises(TooFewFeatures):
        draw("symmetric", FEATURES.chosen(np.arange(240) < 3), rates, RNG(0), n=50)
    with pytest.raises(TooFewFeatures):
        draw("density matched", FEATURES.chosen(np.arange(240) < 5), rates, RNG(0), n=50)
