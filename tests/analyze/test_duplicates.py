from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analyze import duplicates
from analyze.duplicates import distinct, duplicate_clusters
from analyze.sample import HeldSample
from analyze.store import DEAD, Activations, TokenSample
from tests.analyze.collected import collected


def of(values: torch.Tensor, dead: tuple[int, ...] = ()) -> Any:
    """The parts of an Activations that duplicates are told from."""
    t, n = values.shape
    status = np.zeros(n, dtype=np.int8)
    status[list(dead)] = DEAD
    zeros = np.zeros(t, dtype=np.int32)
    tokens = TokenSample(zeros, zeros, zeros, zeros, np.arange(t, dtype=np.int64), zeros.astype(bool))
    sample = HeldSample(values)
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


def test_dead_neurons_are_no_ones_duplicates() -> None:
    x = noise(5_000, 2)
    values = torch.cat([x, x, torch.zeros(5_000, 2)], dim=1)
    assert duplicate_clusters(of(values, dead=(3, 4))).tolist() == [0, 1, 0, 2, 3, 4]


def test_pairs_that_a_first_pass_leaves_apart_are_tested_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 and 1 are copies that the sketch likes less than the paths over 2, which fail on all tokens."""
    values = noise(20_000, 3)
    values[:, 1] = values[:, 0]
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    monkeypatch.setattr(duplicates, "candidates", lambda *_: (pairs, np.array([0.91, 0.99, 0.99])))
    assert duplicate_clusters(of(values)).tolist() == [0, 0, 1]


def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(9_000, 20)
    values = torch.cat([x, x[:, 5:9]], dim=1)
    whole = duplicate_clusters(of(values))
    monkeypatch.setattr(duplicates, "PIECE_BYTES", 100_000)
    monkeypatch.setattr(duplicates, "SLAB", 3)
    assert np.array_equal(duplicate_clusters(of(values)), whole)
    assert whole[20:].tolist() == [5, 6, 7, 8]


def test_distinct_counts_each_cluster_once() -> None:
    clusters = np.array([0, 1, 0, 2, 2])
    assert distinct(clusters, np.array([True, False, True, True, False])) == 2
    assert distinct(clusters, np.array([0, 1, 3, 4])) == 3
    assert distinct(clusters, np.array([], dtype=int)) == 0


def test_collected_neurons_have_clusters(tmp_path: Path) -> None:
    assert duplicate_clusters(collected(tmp_path)).tolist() == list(range(6))
