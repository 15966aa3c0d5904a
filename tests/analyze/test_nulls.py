"""The Haar rotation: an even draw, the same activations turned, fit for every score."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.nulls import held
from analyze.nulls import can_rotate, haar, rotated
from analyze.scores import score
from analyze.store import TokenSample
from tests.analyze.scoring import activations_of, made_up_data
from tests.analyze.synthetic import sampled_tokens


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenSample, Path]:
    data = made_up_data(tmp_path_factory.mktemp("nulls"))
    return sampled_tokens(data), data


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
    first, again, other = (
        rotated(acts, 0).block(0, 4),
        rotated(acts, 0).block(0, 4),
        rotated(acts, 1).block(0, 4),
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_wide_layer_is_rotated_in_part(made_up: tuple, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(held, "MOST", 3)
    tokens, data = made_up
    acts = activations_of(np.random.default_rng(0).random((len(tokens), 10)), data, tokens)
    chosen = rotated(acts, 0).meta.settings["neurons"]
    assert len(set(chosen)) == 3
    assert rotated(acts, 0).meta.settings["neurons"] == chosen


def test_a_layer_without_two_living_neurons_cannot_be_rotated(made_up: tuple):
    tokens, data = made_up
    values = np.zeros((len(tokens), 3))
    values[:, 0] = np.random.default_rng(0).random(len(tokens))
    acts = activations_of(values, data, tokens)
    assert not can_rotate(acts)
    with pytest.raises(ValueError, match="fewer than two"):
        rotated(acts)


def test_scores_run_on_a_rotation_as_on_a_layer(made_up: tuple):
    tokens, data = made_up
    values = np.maximum(np.random.default_rng(0).standard_normal((len(tokens), 4)), 0)
    table = score(rotated(activations_of(values, data, tokens)), null="rotated")
    assert table["null"].to_list() == ["rotated"] * 4
    assert table["neuron"].to_list() == [0, 1, 2, 3]
