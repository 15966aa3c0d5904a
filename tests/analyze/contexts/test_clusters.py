"""Clusters of firings, and what transfers between them."""

import numpy as np
import pytest

from analyze.contexts.clusters import Clusters, chance_above, k_means, nearest, transfer, unit
from analyze.metrics import auroc


def two_heaps(n: int = 60, d: int = 8, seed: int = 0) -> np.ndarray:
    """n points around each of two directions, float32."""
    rng = np.random.default_rng(seed)
    centres = np.eye(d)[[0, 1]] * 5
    return (np.repeat(centres, n, axis=0) + rng.standard_normal((2 * n, d)) * 0.3).astype(np.float32)


def test_k_means_parts_two_heaps():
    _, cluster = k_means(unit(two_heaps()), 2)
    assert len(set(cluster[:60])) == len(set(cluster[60:])) == 1
    assert cluster[0] != cluster[60]


def test_k_means_is_the_same_every_time_and_survives_points_that_are_all_equal():
    points = unit(two_heaps())
    assert np.array_equal(k_means(points, 4)[1], k_means(points, 4)[1])
    centres, cluster = k_means(np.ones((20, 3), np.float32), 4)
    assert np.isfinite(centres).all()
    assert set(cluster) <= set(range(4))


def test_clusters_of_few_firings_are_left_out():
    points = np.vstack([two_heaps(), -5 * np.eye(8, dtype=np.float32)[[5]]])
    clusters = Clusters.of(3, points, unit(points), unit(points))
    assert len(clusters.n_fit) == 2
    assert sum(clusters.n_fit) == 120
    assert clusters.fit[-1] == -1, "a firing of a cluster that was left out"
    assert np.bincount(clusters.fit[:-1]).tolist() == clusters.n_fit.tolist()


def test_the_share_of_random_tokens_below_is_the_auroc():
    rng = np.random.default_rng(0)
    above, below = rng.standard_normal((50, 1)) + 1, rng.standard_normal(200)
    values = np.concatenate([above[:, 0], below])
    expected = auroc(values, np.arange(250) < 50)
    assert chance_above(above, np.sort(below)[None]).mean() == pytest.approx(expected)


def test_values_that_random_tokens_share_count_half_of_those():
    rng = np.random.default_rng(2)
    values = rng.integers(0, 6, (40, 3)).astype(np.float32)
    below = np.sort(rng.integers(1, 5, (3, 90)).astype(np.float32), axis=1)
    counted = (below[None] < values[:, :, None]).mean(axis=2) + (below[None] == values[:, :, None]).mean(axis=2) / 2
    assert chance_above(values, below) == pytest.approx(counted, abs=1e-12)


def test_a_probe_of_one_heap_does_not_find_another_but_its_own():
    """Two directions at right angles: one's probe leaves the other's firings among random tokens."""
    rng = np.random.default_rng(1)
    fit, held_out = two_heaps(), two_heaps(seed=2)
    clusters = Clusters.of(2, fit, unit(fit), unit(held_out))
    chance = np.sort(clusters.direction @ rng.standard_normal((8, 500)).astype(np.float32), axis=1)
    two = transfer(clusters, chance_above(held_out @ clusters.direction.T, chance))
    assert two.own > 0.99
    assert two.across < 0.8
    shifted = held_out + 3 * np.ones(8, np.float32)
    one = transfer(clusters, chance_above(shifted @ clusters.direction.T, chance))
    assert one.across > two.across
    assert two.least <= two.across


def test_nothing_transfers_from_a_single_cluster():
    points = two_heaps()
    clusters = Clusters.of(1, points, unit(points), unit(points))
    assert np.isnan(transfer(clusters, np.ones((120, 1))).across)
    assert nearest(points, points[:1]).max() == 0
