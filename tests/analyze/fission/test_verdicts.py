"""What children are told to be: planted ones on collected activations, so that the truth is known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.activations.store import Activations
from analyze.fission.coactivation import CoactivationMeter, FiringLevelMeter
from analyze.fission.lineage import WeightFigures
from analyze.fission.verdicts import THRESHOLDS, VERDICTS, children_table, clusters_of, parents_table
from tests.analyze.activations.collected import FakeSource, write_data
from train.data.tokens import TokenFile


def real(tmp_path: Path, seed: int) -> Activations:
    """Twelve neurons collected from text: what a token, its predecessor and its position make of them."""
    from analyze.activations.collect import collect_source

    data = tmp_path / "data"
    if not data.exists():
        write_data(data, [5 + (37 * i) % 331 for i in range(60)])
    out = tmp_path / f"s{seed}" / "step-000000000" / "L0.mid"
    return collect_source(FakeSource(12, seed, f"s{seed}"), TokenFile.open(data, "eval"), out, say=lambda _: None)


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Activations, Activations]:
    root = tmp_path_factory.mktemp("verdicts")
    return real(root, 0), real(root, 1)


def told(acts: Activations, parents: torch.Tensor, children: torch.Tensor) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables for children [t, parent, child] of parents [t, parent]."""
    n, k = children.shape[1:]
    is_fit = torch.from_numpy(acts.tokens.is_fit)
    flat = children.flatten(1)
    levels = []
    for values in (flat, parents):
        meter = FiringLevelMeter(values.shape[1], int(is_fit.sum()))
        meter.update(values, is_fit)
        levels.append(meter.levels())
    families = np.arange(n * k).reshape(n, k)
    kin = CoactivationMeter(families, *levels)
    kin.update(flat, parents)
    coactivation = kin.coactivation()
    ones, zeros = torch.ones(n, k, k).double(), torch.zeros(n, k).double()
    weights = WeightFigures(ones, ones, zeros, zeros)
    table = children_table(families, levels[0], coactivation, weights)
    return table, parents_table(table, coactivation, weights, levels[1].dead.numpy())


@pytest.fixture(scope="module")
def planted(acts: tuple[Activations, Activations]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of every parent: itself scaled, itself again, itself on even tokens, a stranger, silence, itself on odd ones."""
    own, stranger = acts[0].block(0, 12), acts[1].block(0, 12)
    even = torch.from_numpy(acts[0].tokens.ids % 2 == 0)[:, None]
    kinds = [0.1 * own, own, own * even, stranger, torch.zeros_like(own), own.clamp(min=0) * ~even]
    return told(acts[0], own, torch.stack(kinds, -1))


def test_planted_children_get_the_right_verdicts(planted: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    children, _ = planted
    expected = ["same", "duplicate", "specialised", "new", "dead", "specialised"]
    wrong = children.with_columns(expected=pl.Series(expected * 12)).filter(pl.col("verdict") != pl.col("expected"))
    assert not wrong.height, wrong


def test_the_evidence_is_what_was_planted(planted: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    children, _ = planted
    copy, again, even, stranger, silent, _ = (children.filter(pl.col("copy") == index) for index in range(6))
    assert copy["overlap"].min() > 0.99
    assert copy["inside"].min() > 0.999
    assert copy["cover"].min() > 0.99
    assert copy["correlation"].min() > 0.999
    assert again["duplicate_of"].to_list() == copy["neuron"].to_list()
    assert copy["duplicate_of"].null_count() == 12
    assert even["inside"].min() > 0.85
    assert even["overlap"].min() < even["inside"].min()  # a lower level of its own reaches below its parent's
    assert 0.2 < even["cover"].mean() < 0.8
    assert stranger["excess"].abs().max() < 0.3
    assert abs(stranger["related"].mean() - 1 / 12) < 0.25  # chance: one in as many as there are parents
    assert silent["overlap"].null_count() == silent["correlation"].null_count() == 12
    assert silent["n_fires"].sum() == 0


def test_a_parent_counts_its_children_by_verdict(planted: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    children, parents = planted
    assert parents["parent"].to_list() == list(range(12))
    for name, count in {"same": 1, "specialised": 2, "new": 1, "duplicate": 1, "dead": 1}.items():
        assert parents[name].to_list() == [count] * 12
    assert parents["n_alive"].to_list() == [5] * 12
    assert parents["n_clusters"].to_list() == [4] * 12
    assert parents.select(VERDICTS).sum_horizontal().to_list() == [6] * 12
    assert children.height == 72


def test_scale_of_a_child_changes_no_verdict(acts: tuple[Activations, Activations]) -> None:
    own, other = acts[0].block(0, 12), acts[1].block(0, 12)
    kinds = torch.stack([own, other, own.clamp(min=0) * (other > 0)], -1)
    scaled = kinds * torch.tensor([1e-3, 1e3, 2.0])
    first, second = (told(acts[0], own, each.bfloat16().float())[0]["verdict"].to_list() for each in (kinds, scaled))
    assert first == second


@pytest.mark.parametrize(
    ("part", "verdict"), [(1.0, "same"), (0.9, "same"), (0.5, "specialised"), (0.1, "specialised")]
)
def test_a_child_on_a_part_of_its_parents_tokens_is_the_same_while_it_covers_most(
    acts: tuple[Activations, Activations], part: float, verdict: str
) -> None:
    own = acts[0].block(0, 12).clamp(min=0)
    gate = torch.rand(own.shape[0], 1, generator=torch.Generator().manual_seed(0)) < part
    children, _ = told(acts[0], own, (own * gate)[..., None])
    assert set(children["verdict"]) == {verdict}


@pytest.mark.parametrize(("own_part", "verdict"), [(0.95, "same"), (0.5, "new")])
def test_a_child_that_fires_elsewhere_as_well_is_new(
    acts: tuple[Activations, Activations], own_part: float, verdict: str
) -> None:
    """A share of its firing tokens are its parent's, the others none of them."""
    level = torch.from_numpy(acts[0].moments.threshold).float()
    own = acts[0].block(0, 12)
    fires = own > level
    generator = torch.Generator().manual_seed(0)
    elsewhere = fires.double().mean(0) * (1 - own_part) / own_part / (1 - fires.double().mean(0))
    child = (fires | (torch.rand(own.shape, generator=generator) < elsewhere)).float()
    children, _ = told(acts[0], own, child[..., None])
    assert children["overlap"].mean() == pytest.approx(own_part, abs=0.05)
    assert children["cover"].min() > 0.99
    assert children["verdict"].value_counts(sort=True)["verdict"][0] == verdict


def test_firing_almost_always_does_not_relate_two_neurons(acts: tuple[Activations, Activations]) -> None:
    """Both fire on nine tokens of ten, so that nine tenths of either lie within the other."""
    generator = torch.Generator().manual_seed(0)
    t = len(acts[0].tokens)
    parents = (torch.rand(t, 8, generator=generator) < 0.9).float()
    children = (torch.rand(t, 8, 2, generator=generator) < 0.9).float()
    table, _ = told(acts[0], parents, children)
    assert table["overlap"].min() > 0.8
    assert set(table["verdict"]) == {"new"}
    copies, _ = told(acts[0], parents, parents[..., None])
    assert set(copies["verdict"]) == {"same"}


def test_children_of_a_dead_parent_are_dead_or_new(acts: tuple[Activations, Activations]) -> None:
    own = acts[0].block(0, 3)
    parents = own.clone()
    parents[:, 1] = 0
    children, table = told(acts[0], parents, torch.stack([own, torch.zeros_like(own)], -1))
    assert children.filter(pl.col("parent") == 1)["verdict"].to_list() == ["new", "dead"]
    assert table["parent_dead"].to_list() == [False, True, False]


def test_a_single_parent_is_compared_with_its_own_firing_rate(acts: tuple[Activations, Activations]) -> None:
    own = acts[0].block(0, 1)
    children, _ = told(acts[0], own, torch.stack([own, acts[1].block(0, 1)], -1))
    assert children["verdict"].to_list() == ["same", "new"]
    assert children["null_inside"].to_list() == pytest.approx([acts[0].moments.firing_rate[0]] * 2)


def test_siblings_are_joined_transitively_and_the_dead_are_not() -> None:
    correlation = np.eye(4)[None].copy()
    for a, b, r in ((0, 2, 0.5), (2, 3, -0.97), (0, 3, 0.96), (0, 1, 0.99)):
        correlation[0, a, b] = correlation[0, b, a] = r
    alive = np.array([[True, False, True, True]])
    assert clusters_of(correlation, alive).tolist() == [[0, 1, 0, 0]]


def test_every_verdict_and_threshold_is_explained() -> None:
    for word in (*VERDICTS, "0.95", "0.8", "0.5", "0.1"):
        assert word in THRESHOLDS
