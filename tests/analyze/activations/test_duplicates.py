from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analyze.activations import duplicates
from analyze.activations.duplicates import SearchSettings, distinct, duplicate_clusters
from analyze.activations.sample import MemorySample
from analyze.activations.store import DEAD, Activations, TokenSample
from tests.analyze.activations.collected import collected


def of(values: torch.Tensor, dead: tuple[int, ...] = ()) -> Any:
    """The parts of an Activations that duplicates are told from."""
    t, n = values.shape
    status = np.zeros(n, dtype=np.int8)
    status[list(dead)] = DEAD
    zeros = np.zeros(t, dtype=np.int32)
    tokens = TokenSample(zeros, zeros, zeros, zeros, np.arange(t, dtype=np.int64), zeros.astype(bool))
    sample = MemorySample(values)
    acts = object.__new__(Activations)
    parts = {"meta": SimpleNamespace(n_neurons=n), "tokens": tokens, "sample": sample}
    for name, part in {**parts, "moments": SimpleNamespace(status=status)}.items():
        object.__setattr__(acts, name, part)
    return acts


def noise(t: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(t, n, generator=torch.Generator().manual_seed(seed))


def test_unrelated_neurons_are_clusters_of_their_own() -> None:
    assert duplicate_clusters(of(noise(20_000, 40))).tolist() == list(range(40))


def test_copies_of_any_scale_sign_and_offset_share_a_cluster() -> None:
    x = noise(20_000, 4)
    values = torch.cat([x, 100 * x[:, :2], -0.01 * x[:, 2:3] + 5], dim=1)
    assert duplicate_clusters(of(values)).tolist() == [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize(("correlation", "same"), [(0.96, True), (0.94, False)])
def test_the_bound_is_on_all_tokens(correlation: float, same: bool) -> None:
    x = noise(60_000, 2)
    values = torch.stack([x[:, 0], correlation * x[:, 0] + (1 - correlation**2) ** 0.5 * x[:, 1]], dim=1)
    clusters = duplicate_clusters(of(values))
    assert (clusters[0] == clusters[1]) == same


def test_clusters_are_joined_transitively() -> None:
    x = noise(30_000, 2)
    angle = 0.25  # neighbours correlate at .969, the ends at .878
    turned = [np.cos(k * angle) * x[:, 0] + np.sin(k * angle) * x[:, 1] for k in range(3)]
    assert duplicate_clusters(of(torch.stack(turned, dim=1))).tolist() == [0, 0, 0]


def test_copies_that_fire_on_a_few_tokens_are_found() -> None:
    values = torch.zeros(100_000, 3)
    values[[11, 40_000, 77_777], :2] = torch.tensor([1.0, 2.0, 3.0])[:, None]
    values[[12, 40_001, 77_778], 2] = 1.0
    assert duplicate_clusters(of(values)).tolist() == [0, 0, 1]


def test_dead_neurons_are_not_duplicates() -> None:
    x = noise(5_000, 2)
    values = torch.cat([x, x, torch.zeros(5_000, 2)], dim=1)
    assert duplicate_clusters(of(values, dead=(3, 4))).tolist() == [0, 1, 0, 2, 3, 4]


def test_pairs_that_the_forest_separates_are_tested_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 and 1 are copies that the sketch likes less than the paths over 2, which fail on all tokens."""
    values = noise(20_000, 3)
    values[:, 1] = values[:, 0]
    pairs, likeness = np.array([[0, 1], [0, 2], [1, 2]]), np.array([0.94, 0.99, 0.99], dtype=np.float32)
    for n_batches in (1, 3):
        batches = list(zip(np.array_split(pairs, n_batches), np.array_split(likeness, n_batches)))
        monkeypatch.setattr(duplicates, "candidates", lambda *_, batches=batches: iter(batches))
        assert duplicate_clusters(of(values)).tolist() == [0, 0, 1]


def families(t: int, n: int, k: int, sparse: float, seed: int) -> torch.Tensor:
    """n parents and k - 1 noisy copies of each, correlating with it at 0.9 to 1; a share `sparse` of tokens fires."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(t, n, generator=generator) * (torch.rand(t, n, generator=generator) < sparse)
    other = torch.randn(t, n * (k - 1), generator=generator) * (
        torch.rand(t, n * (k - 1), generator=generator) < sparse
    )
    correlation = 0.9 + 0.1 * torch.rand(n * (k - 1), generator=generator)
    scale = 10 ** torch.randn(n * k, generator=generator)
    copies = base.repeat(1, k - 1) * correlation + other * (1 - correlation**2).sqrt()
    return torch.cat([base, copies], 1) * scale * torch.sign(torch.randn(n * k, generator=generator))


@pytest.mark.parametrize("sparse", [1.0, 0.05, 0.002])
def test_planted_duplicates_are_those_that_a_test_of_all_pairs_finds(sparse: float) -> None:
    """Recall is told by pairs: of those that correlate above 0.95 on all tokens, how many share a cluster."""
    found = wanted = 0
    for seed in range(3):
        values = families(20_000, 40, 8, sparse, seed)
        exact = np.abs(np.corrcoef(values.double().numpy().T)) > duplicates.DUPLICATE
        labels = duplicate_clusters(of(values))
        together = labels[:, None] == labels[None, :]
        truth = duplicates.components(len(exact), np.argwhere(np.triu(exact, 1)))
        assert not (together & (truth[:, None] != truth[None, :])).any()  # nothing is joined that should not be
        pairs = np.triu(exact, 1)
        found, wanted = found + int((together & pairs).sum()), wanted + int(pairs.sum())
    assert wanted > 500
    assert found / wanted > 0.99


def test_correlations_are_exact_in_blocks_and_alone() -> None:
    values = families(5_000, 60, 10, 0.3, 0)
    acts = of(values)
    mean, norm, _ = duplicates.sketched(acts)
    rng = np.random.default_rng(0)
    inside = [(a, a + 60 * c) for a in range(60) for c in range(1, 10)]
    across = [tuple(sorted(rng.choice(600, 2, replace=False))) for _ in range(300)]
    pairs = np.array(inside + across)
    expected = np.corrcoef(values.double().numpy().T)[pairs[:, 0], pairs[:, 1]]
    assert np.allclose(duplicates.correlations(acts, pairs, mean, norm), expected, atol=1e-5)
    assert duplicates.correlations(acts, pairs[:0], mean, norm).shape == (0,)


def test_a_layer_of_copies_alone_is_one_cluster() -> None:
    """Its pairs are more than one batch."""
    values = noise(3_000, 1) * torch.linspace(-2, 3, 300)
    values[:, 120] = noise(3_000, 1, seed=5)[:, 0]
    labels = duplicate_clusters(of(values), SearchSettings(pairs=1000, slab=50))
    assert labels.max() == 1
    assert np.flatnonzero(labels == 1).tolist() == [120]


def test_batches_do_not_change_the_result() -> None:
    x = noise(9_000, 20)
    values = torch.cat([x, x[:, 5:9]], dim=1)
    whole = duplicate_clusters(of(values))
    small = SearchSettings(read_bytes=100_000, slab=3)
    assert np.array_equal(duplicate_clusters(of(values), small), whole)
    assert whole[20:].tolist() == [5, 6, 7, 8]


def test_distinct_counts_each_cluster_once() -> None:
    clusters = np.array([0, 1, 0, 2, 2])
    assert distinct(clusters, np.array([True, False, True, True, False])) == 2
    assert distinct(clusters, np.array([0, 1, 3, 4])) == 3
    assert distinct(clusters, np.array([], dtype=int)) == 0


def test_collected_neurons_have_clusters(tmp_path: Path) -> None:
    assert duplicate_clusters(collected(tmp_path)).tolist() == list(range(6))
