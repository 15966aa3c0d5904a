"""Toys as a second truth: a score that sees how many features move a neuron is right about trained toys."""

import numpy as np
import pytest
from numpy import ndarray

from analyze.scores.base import ReadsToys
from analyze.validation.toys import KnownToy, judge_toys, known_toys
from train.errors import BadInput


class Counts:
    """The largest share of a neuron's mean response to single features."""

    def toy(self, y: ndarray, features: ndarray) -> ndarray:
        """Of differences between the means with and without each feature."""
        apart = np.stack([np.abs(y[on].mean(axis=0) - y[~on].mean(axis=0)) for on in features.T])
        return apart.max(axis=0) / apart.sum(axis=0)


class Nothing:
    """The same for every neuron."""

    def toy(self, y: ndarray, features: ndarray) -> ndarray:
        """Ones."""
        return np.ones(y.shape[1])


def laid(rng: np.random.Generator) -> KnownToy:
    """Six neurons of one feature and six of three, 2,000 samples of ten features."""
    features = rng.random((2000, 10)) < 0.2
    chosen = [rng.choice(10, 1 if index < 6 else 3, replace=False) for index in range(12)]
    y = np.stack([features[:, one].sum(axis=1) for one in chosen], axis=1) + 0.1 * rng.standard_normal((2000, 12))
    return KnownToy("laid", y, features, np.arange(12) < 6)


def instances(n: int = 3) -> list[list[KnownToy]]:
    rng = np.random.default_rng(0)
    return [[laid(rng) for _ in range(4)] for _ in range(n)]


def test_a_score_that_sees_single_features_is_right_and_one_that_sees_nothing_is_at_one_half():
    assert isinstance(Counts(), ReadsToys)
    right = judge_toys(Counts(), instances())
    assert right is not None
    assert right.auroc == pytest.approx(1.0)
    assert (right.n_neurons, right.n_instances) == (144, 3)
    blind = judge_toys(Nothing(), instances())
    assert blind is not None
    assert (blind.low, blind.auroc, blind.high) == (0.5, 0.5, 0.5)
    assert judge_toys(Counts(), []) is None


def test_instances_of_one_kind_of_neuron_and_directories_without_toys_are_not_measured_on(tmp_path):
    with pytest.raises(BadInput):
        list(known_toys([tmp_path]))
