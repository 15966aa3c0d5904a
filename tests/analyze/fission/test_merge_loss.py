"""What a split was worth: the loss that comes back when siblings are merged, by hand and by laws."""

import copy

import numpy as np
import pytest
import torch

from analyze.fission.merge_loss import measure_splits, merged, n_noticeable
from tests.train.widening.test_training import ACTS, K, N, rows, trained_like, widened
from train.config import WidenPlan

FAMILIES = np.arange(K * N).reshape(K, N).T.copy()
"""Copies are tiled: copy c of neuron p is neuron c N + p."""


def reads() -> torch.Tensor:
    return torch.cat([rows(step) for step in range(3)])


def wide_model(act: str, **plan: object):
    return widened(trained_like(act), WidenPlan.model_validate({"layers": (0,), "factor": K, **plan}))


def loss_of(model, tokens: torch.Tensor) -> torch.Tensor:
    logits = model(tokens[:, :-1])
    right = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return right.view(len(tokens), -1).mean(1).detach()


@pytest.mark.parametrize("act", ACTS)
def test_merging_splits_of_pure_zero_sum_noise_on_w_out_costs_nothing(act):
    model = wide_model(act, noise="zero_sum", sigma=1.0)
    table, loss, together = measure_splits(model, 0, FAMILIES, reads())
    assert np.abs(table["recovered"].to_numpy()).max() < 1e-12
    assert together == pytest.approx(loss, abs=1e-12)
    assert n_noticeable(table) == 0


@pytest.mark.parametrize("act", ["relu", "gelu", "gelu_ln", "solu_ln"])
def test_it_is_the_loss_with_the_children_replaced_by_their_mean(act):
    model = wide_model(act, noise="w_in", sigma=1.0)
    table, loss, together = measure_splits(model, 0, FAMILIES, reads())
    assert loss == pytest.approx(float(loss_of(model, reads()).mean()))
    for parent in (0, N - 1):
        by_hand = copy.deepcopy(model)
        mlp, own = by_hand.mlp(0), torch.from_numpy(FAMILIES[parent])
        with torch.no_grad():
            for weights in (mlp.fc_in.weight, mlp.fc_in.bias, mlp.fc_out.weight.T):
                weights[own] = weights[own].mean(0)
        gain = loss_of(by_hand, reads()) - loss_of(model, reads())
        row = table.row(parent, named=True)
        assert row["recovered"] == pytest.approx(float(gain.mean()), abs=1e-12)
        assert row["recovered_se"] == pytest.approx(float(gain.std() / len(gain) ** 0.5), abs=1e-12)
        assert abs(row["recovered"]) > 1e-6
    assert together != pytest.approx(loss, abs=1e-6)


def test_the_model_is_as_it_was_afterwards_and_after_an_error():
    model = wide_model("solu_ln", noise="w_in", sigma=1.0)
    before = copy.deepcopy(model.state_dict())
    measure_splits(model, 0, FAMILIES, reads())
    with torch.no_grad(), pytest.raises(RuntimeError), merged(model, 0, torch.from_numpy(FAMILIES)):
        raise RuntimeError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_single_row_has_no_standard_error():
    model = wide_model("relu", noise="w_in", sigma=1.0)
    table, _, _ = measure_splits(model, 0, FAMILIES, reads()[:1])
    assert table["recovered_se"].null_count() == N
    assert n_noticeable(table) == 0
