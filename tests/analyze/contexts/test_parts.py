"""Likeness of parts: whether what a neuron's firings were split into has something in common."""

import numpy as np
import pytest

from analyze.contexts.clusters import Clusters, unit
from analyze.contexts.firings import Firings
from analyze.contexts.parts import likeness

N, D = 400, 12
FIRINGS = Firings(np.arange(N), np.full(N, 1 / N, np.float32))


def space(*directions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Firings of both halves that lie by turns in some directions."""
    rng = np.random.default_rng(seed)
    halves = rng.standard_normal((2, N, D)).astype(np.float32)
    halves[:, np.arange(N), np.array(directions)[np.arange(N) % len(directions)]] += 4
    return halves[0], halves[1]


def split(k: int, both: tuple[np.ndarray, np.ndarray]) -> Clusters:
    return Clusters.of(k, both[0], unit(both[0]), unit(both[1]))


def test_parts_that_share_a_direction_are_alike_from_that_side_alone():
    words, topics = space(0, 1), space(5)
    found = likeness(split(2, words), FIRINGS, FIRINGS, {"words": words, "topics": topics})
    assert found["topics"] == pytest.approx(1, abs=0.05)
    assert abs(found["words"]) < 0.1


def test_parts_of_two_features_are_alike_from_no_side():
    words, topics = space(0, 1), space(5, 6)
    found = likeness(split(2, words), FIRINGS, FIRINGS, {"words": words, "topics": topics})
    assert max(found.values()) < 0.1


def test_noise_is_like_nothing():
    words, noise = space(0, 1), tuple(np.random.default_rng(3).standard_normal((2, N, D)).astype(np.float32))
    assert abs(likeness(split(2, words), FIRINGS, FIRINGS, {"noise": noise})["noise"]) < 0.6


def test_one_part_has_no_likeness():
    words = space(0)
    one = Clusters(np.zeros((1, D), np.float32), np.array([N]), np.zeros(N, int), np.zeros(N, int))
    assert np.isnan(likeness(one, FIRINGS, FIRINGS, {"words": words})["words"])


def test_a_part_of_few_firings_in_a_half_does_not_count():
    words = space(0, 1)
    parts = split(2, words)
    few = Clusters(parts.direction, parts.n_fit, parts.fit, np.where(np.arange(N) < N - 3, 0, 1))
    assert np.isnan(likeness(few, FIRINGS, FIRINGS, {"words": words})["words"])
