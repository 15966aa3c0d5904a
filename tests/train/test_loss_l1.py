"""The L1 penalty: what it is, where it applies, and that it costs nothing where it is off."""

import pytest
import torch

from tests.train.fixtures import small_run
from train import load
from train.activations import ACTIVATIONS
from train.config import ModelConfig, WidenPlan
from train.loss import NextTokenLoss, TrainingLoss
from train.model import Transformer
from train.tracking import read_metrics
from train.training_run import run
from train.widening.widen import widen


def small_model(act: str) -> Transformer:
    return Transformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, n_ctx=6, d_vocab=11, act=act, widths=(12, 24)))


ROWS = torch.randint(0, 11, (3, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_the_penalty_is_the_mean_over_tokens_of_the_summed_size_of_mid_activations(act):
    model = small_model(act)
    lowered, loss, l1 = TrainingLoss(model, 0.01)(ROWS)
    sizes = [model.mlp_activations(ROWS[:, :-1], layer, "mid").abs().sum(-1).mean() for layer in (0, 1)]
    torch.testing.assert_close(l1, sum(sizes).detach())
    torch.testing.assert_close(loss, NextTokenLoss(model)(ROWS).detach())
    torch.testing.assert_close(lowered, loss + 0.01 * l1)
    assert lowered.requires_grad
    assert not loss.requires_grad
    assert not l1.requires_grad


def test_only_layers_whose_mlp_trains_are_penalised():
    model = small_model("gelu_new")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("layers.1.mlp."))
    _, _, l1 = TrainingLoss(model, 0.01)(ROWS)
    torch.testing.assert_close(l1, model.mlp_activations(ROWS[:, :-1], 1, "mid").abs().sum(-1).mean().detach())


def test_without_a_coefficient_the_loss_is_the_next_tokens_bit_for_bit():
    model = small_model("solu_ln")
    lowered, loss, l1 = TrainingLoss(model)(ROWS)
    assert torch.equal(lowered, NextTokenLoss(model)(ROWS))
    assert torch.equal(loss, lowered)
    assert l1 == 0


@pytest.mark.parametrize(("act", "ratio"), [("relu", 4), ("gelu_ln", 4), ("solu", 1), ("solu_ln", 1)])
def test_k_copies_weigh_k_times_as_much_unless_the_activation_divides(act, ratio):
    model = small_model(act).double()
    wide, _ = widen(model, WidenPlan(layers="all", factor=4, noise="none"))
    penalties = [TrainingLoss(each, 1.0)(ROWS)[2] for each in (model, wide)]
    torch.testing.assert_close(penalties[1], ratio * penalties[0])


def test_a_run_with_l1_logs_it_apart_and_ends_with_smaller_activations(finished, data, tmp_path):
    arm = {"start": str(finished), "trainable": "layers.0.mlp.*"}
    plain = run(small_run(data, **arm), tmp_path / "plain-s0")
    sparse = run(small_run(data, **arm, optim__l1=0.1, train__accumulate=2), tmp_path / "sparse-s0")
    lines = [
        [line for line in read_metrics(each.directory / "metrics.jsonl") if line["kind"] == "train"]
        for each in (plain, sparse)
    ]
    assert not any("l1" in line for line in lines[0])
    assert all(line["l1"] > 0 for line in lines[1])
    assert lines[1][-1]["l1"] < 0.8 * lines[1][0]["l1"]
    # The first step's next-token loss is the same with and without the penalty.
    assert lines[0][0]["loss"] == pytest.approx(lines[1][0]["loss"], rel=1e-5)
    rows = ROWS[:, :-1]
    sizes = [load(each.directory).model().mlp_activations(rows, 0, "mid").abs().sum() for each in (plain, sparse)]
    assert sizes[1] < sizes[0]
