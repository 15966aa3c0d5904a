"""Nulls keep what they promise: the rotation lengths, shifts and random sets each distribution, W_in rotated rates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations.collect import collect
from analyze.activations.store import Activations, TokenSample, open_activations
from analyze.nulls import w_in
from analyze.nulls.random_sets import random_cover, random_sets
from analyze.nulls.rotation import haar, rotated
from analyze.nulls.shifted import LEAST_SHIFT, shifted, shifts
from analyze.nulls.w_in import w_in_rotated
from analyze.scores.table import score_table
from tests.analyze.scores.scoring import activations_of
from tests.train.fixtures import small_data, small_run
from train.checkpoint import load
from train.errors import BadInput
from train.training_run import run


@pytest.fixture(scope="module")
def made_up(made_up: tuple) -> tuple[TokenSample, Path]:
    return made_up[1:]


def test_a_haar_matrix_is_orthogonal_and_follows_its_seed():
    turn = haar(40, seed=3)
    torch.testing.assert_close(turn @ turn.T, torch.eye(40, dtype=torch.float64))
    assert torch.equal(turn, haar(40, seed=3))
    assert not torch.equal(turn, haar(40, seed=4))


def test_a_haar_matrix_is_evenly_distributed_whatever_qr_makes_of_signs():
    # Without the correction of signs the diagonal is negative far more often than not.
    diagonals = torch.stack([haar(4, seed).diagonal() for seed in range(400)])
    assert (diagonals > 0).double().mean(dim=0).tolist() == pytest.approx([0.5] * 4, abs=0.1)


def test_the_rotation_keeps_lengths_and_leaves_dead_neurons_out(made_up: tuple):
    tokens, data = made_up
    values = np.random.default_rng(0).standard_normal((len(tokens), 6))
    values[:, 2] = 0
    acts = activations_of(values, data, tokens)
    turned = rotated(acts, seed=1)
    assert turned.n_neurons == 5
    assert turned.meta.settings["neurons"] == [0, 1, 3, 4, 5]
    after = turned.block(0, 5)
    torch.testing.assert_close(
        after.norm(dim=1).double(), torch.from_numpy(np.linalg.norm(values, axis=1)), rtol=0.02, atol=0.02
    )
    before = torch.from_numpy(np.delete(values, 2, axis=1))
    torch.testing.assert_close(after.double(), before @ haar(5, seed=1), rtol=0.05, atol=0.05)


def test_moments_and_examples_are_those_of_the_turned_activations(made_up: tuple):
    tokens, data = made_up
    values = np.random.default_rng(0).standard_exponential((len(tokens), 4))
    turned = rotated(activations_of(values, data, tokens))
    after = turned.block(0, 4).numpy()
    same = activations_of(after, data, tokens)
    np.testing.assert_allclose(turned.moments.mean, same.moments.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(turned.moments.median, same.moments.median)
    np.testing.assert_array_equal(turned.moments.status, same.moments.status)
    assert turned.examples.equals(same.examples)


def test_the_same_seed_gives_the_same_null_and_another_seed_another(made_up: tuple):
    tokens, data = made_up
    acts = activations_of(np.random.default_rng(0).random((len(tokens), 4)), data, tokens)
    first, again, other = (rotated(acts, 0).block(0, 4), rotated(acts, 0).block(0, 4), rotated(acts, 1).block(0, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_wide_layer_is_rotated_in_part(made_up: tuple):
    tokens, data = made_up
    acts = activations_of(np.random.default_rng(0).random((len(tokens), 10)), data, tokens)
    chosen = rotated(acts, 0, most=3).meta.settings["neurons"]
    assert len(set(chosen)) == 3
    assert rotated(acts, 0, most=3).meta.settings["neurons"] == chosen


def test_a_layer_without_two_living_neurons_cannot_be_rotated(made_up: tuple):
    tokens, data = made_up
    values = np.zeros((len(tokens), 3))
    values[:, 0] = np.random.default_rng(0).random(len(tokens))
    acts = activations_of(values, data, tokens)
    assert rotated(acts) is None


def test_scores_run_on_a_rotation_as_on_a_layer(made_up: tuple):
    tokens, data = made_up
    values = np.maximum(np.random.default_rng(0).standard_normal((len(tokens), 4)), 0)
    table = score_table(rotated(activations_of(values, data, tokens)), null="rotated")
    assert table["null"].to_list() == ["rotated"] * 4
    assert table["neuron"].to_list() == [0, 1, 2, 3]


def sparse(tokens: TokenSample, data: Path, n: int = 5) -> Activations:
    values = np.maximum(np.random.default_rng(0).standard_normal((len(tokens), n)) - np.linspace(0, 2, n), 0)
    return activations_of(values, data, tokens)


def test_a_shift_moves_each_neuron_by_an_offset_of_its_own_and_changes_nothing_else(made_up: tuple):
    tokens, data = made_up
    acts = sparse(tokens, data)
    null = shifted(acts, seed=2)
    assert null is not None
    before, after = acts.block(0, 5).bfloat16().float(), null.block(0, 5)
    offsets = null.meta.settings["shifts"]
    assert len(set(offsets)) == 5
    assert all(LEAST_SHIFT <= offset <= len(tokens) - LEAST_SHIFT for offset in offsets)
    for neuron, offset in enumerate(offsets):
        # Its own values in their own order, round the end: distribution and autocorrelation are the neuron's.
        assert torch.equal(after[:, neuron], before[:, neuron].roll(offset))
        assert not torch.equal(after[:, neuron], before[:, neuron])
    np.testing.assert_array_equal(null.moments.median, acts.moments.median)
    np.testing.assert_allclose(null.moments.firing_rate, acts.moments.firing_rate, rtol=0.25)


def test_a_shift_cuts_the_tie_to_the_text(made_up: tuple):
    tokens, data = made_up
    values = (tokens.ids == np.bincount(tokens.ids).argmax())[:, None].astype(np.float64)
    null = shifted(activations_of(values, data, tokens))
    assert null is not None
    after = null.block(0, 1).numpy()[:, 0]
    assert np.corrcoef(values[:, 0], values[:, 0])[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(values[:, 0], after)[0, 1]) < 0.1


def test_offsets_depend_on_the_neuron_and_the_seed_alone_and_are_spread_evenly():
    many = shifts(np.arange(4000), 0, 50_000)
    np.testing.assert_array_equal(shifts(np.array([7, 1900]), 0, 50_000), many[[7, 1900]])
    assert not np.array_equal(shifts(np.arange(4000), 1, 50_000), many)
    assert (many.min() >= LEAST_SHIFT, many.max() <= 50_000 - LEAST_SHIFT) == (True, True)
    assert np.histogram(many, bins=4)[0].min() > 900


def test_a_sample_too_short_to_shift_has_no_such_null(made_up: tuple):
    tokens, data = made_up
    few = TokenSample(**{name: array[: 2 * LEAST_SHIFT] for name, array in vars(tokens).items()})
    assert shifted(activations_of(np.ones((len(few), 2)) * np.arange(len(few))[:, None], data, few)) is None


def test_random_sets_keep_each_neurons_values_and_how_many_fire(made_up: tuple):
    tokens, data = made_up
    acts = sparse(tokens, data)
    null = random_sets(acts, seed=1)
    assert null is not None
    before, after = acts.block(0, 5).bfloat16().float(), null.block(0, 5)
    assert torch.equal(before.sort(dim=0).values, after.sort(dim=0).values)
    threshold = torch.from_numpy(acts.moments.threshold)
    assert torch.equal((after > threshold).sum(dim=0), (before > threshold).sum(dim=0))
    for neuron in range(5):
        fires = (after[:, neuron] > threshold[neuron]).numpy()
        counts = np.bincount(tokens.ids)
        inside = np.bincount(tokens.ids[fires], minlength=len(counts))
        split = (inside > 0) & (inside < counts)
        assert split.sum() <= 1  # ids are taken whole, but for the last
        assert 0 < fires.sum() < len(fires)


@pytest.mark.parametrize("size", [0, 1, 37, 100])
def test_a_random_cover_has_exactly_the_size_that_is_asked_for(size: int):
    counts = np.array([60, 25, 10, 5])
    at = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts))
    covers = [random_cover(at, counts, size, np.random.default_rng(seed)) for seed in range(8)]
    assert [int(cover.sum()) for cover in covers] == [size] * 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    data = small_data(root)
    for act in ("relu", "gelu_ln", "solu_ln"):
        run(small_run(data, model__act=act), root / act)
        collect(root / act, data, root / "results", say=lambda _: None)
    collect(root / "relu", data, root / "some", max_neurons=5, say=lambda _: None)
    return root


def of(trained: Path, act: str, hook: str = "mid", results: str = "results") -> Activations:
    return open_activations(next((trained / results / act).rglob(f"L0.{hook}")))


@pytest.mark.parametrize(
    ("act", "hook", "close"),
    [
        ("relu", "mid", 0.02),
        ("gelu_ln", "mid", 0.02),
        ("gelu_ln", "post", 0.05),
        ("solu_ln", "mid", 0.1),
        # Of 16 neurons under one softmax and one LayerNorm not every set of rates can be had.
        ("solu_ln", "post", 0.3),
    ],
)
def test_rotated_w_in_fires_as_often_as_the_neurons_do(trained: Path, act: str, hook: str, close: float):
    acts = of(trained, act, hook)
    null = w_in_rotated(acts, seed=1)
    assert null is not None
    wanted = acts.moments.firing_rate[null.meta.settings["neurons"]]
    error = np.abs(np.log(null.moments.firing_rate / wanted))
    assert np.median(error) < close
    assert null.meta.settings["rate_error"] == pytest.approx(np.median(error))
    # A rotation after the activation does not: it is no such null.
    turned = rotated(acts, seed=1)
    other = np.abs(np.log(np.maximum(np.sort(turned.moments.firing_rate), 2e-4) / np.sort(wanted)))
    assert np.median(other) > np.median(error)


@pytest.mark.parametrize(("act", "results"), [("relu", "results"), ("relu", "some")])
def test_its_values_are_those_of_a_network_whose_w_in_is_rotated(trained: Path, act: str, results: str):
    acts = of(trained, act, results=results)
    null = w_in_rotated(acts, seed=1)
    assert null is not None
    alive = np.array(null.meta.settings["neurons"])
    whole = of(trained, act).block(0, 16)
    place = [int((whole == neuron[:, None]).all(dim=0).nonzero()[0, 0]) for neuron in acts.block(0, acts.n_neurons).T]
    mlp = load(trained / act).model().mlp(0)
    inputs = w_in.mlp_inputs(load(trained / act).model(), acts)
    mine = torch.tensor(place)[torch.from_numpy(alive)]
    # The inputs are the layer's own: they give the collected activations.
    pre = inputs @ mlp.fc_in.weight[mine].T
    torch.testing.assert_close(
        (pre + mlp.fc_in.bias[mine]).relu(),
        acts.block(0, acts.n_neurons)[:, torch.from_numpy(alive)],
        rtol=0.01,
        atol=0.01,
    )
    turned = pre.detach() @ haar(len(alive), 1).float()
    after = null.block(0, null.n_neurons)
    for one, value in zip(turned.T, after.T):
        fires = value > 0
        bias = (value - one)[fires]
        assert float(bias.std()) < 0.02
        assert not (~fires).any() or float((one + bias.mean())[~fires].max()) < 0.02


def test_a_layernorm_is_taken_over_the_turned_neurons_and_those_that_stay(trained: Path):
    acts = of(trained, "solu_ln", "post")
    null = w_in_rotated(acts, seed=1, most_coupled=10)
    assert null is not None
    assert null.n_neurons == 10
    wanted = acts.moments.firing_rate[null.meta.settings["neurons"]]
    assert np.median(np.abs(np.log(null.moments.firing_rate / wanted))) < 0.1


def test_w_in_cannot_be_rotated_without_the_checkpoint(trained: Path, tmp_path: Path):
    acts = of(trained, "relu")
    gone = replace(acts, meta=replace(acts.meta, checkpoint_dir=str(tmp_path / "gone")), directory=None)
    with pytest.raises(BadInput, match=r"w_in_rotated reads the checkpoint .*--checkpoints.*--nulls"):
        w_in_rotated(gone)
    assert w_in_rotated(replace(gone, meta=replace(acts.meta, checkpoint_dir=""))) is None


def test_w_in_rotated_follows_its_seed(trained: Path):
    acts = of(trained, "solu_ln")
    nulls = [w_in_rotated(acts, seed) for seed in (1, 1, 2)]
    values = [null.block(0, null.n_neurons) for null in nulls if null is not None]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize("null", [rotated, shifted, random_sets, w_in_rotated])
def test_nulls_of_a_wide_layer_are_made_of_a_part_of_it(trained: Path, null):
    acts = of(trained, "relu")
    made = null(acts, 0, most=3)
    assert made.n_neurons == len(made.meta.settings["neurons"]) == made.block(0, 3).shape[1] == 3
