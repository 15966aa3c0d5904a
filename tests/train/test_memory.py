"""Memory is told beforehand: what widening and training need, against what is free."""

import pytest
import torch

from tests.train.fixtures import small_run
from train import load
from train.config import ModelConfig, WidenPlan
from train.errors import EnvironmentProblem
from train.memory import Need, to_train, to_widen
from train.training_run import run
from train.widening.command import widen_checkpoint
from train.widening.widen import widened_config

GB = 10**9
NARROW = ModelConfig(n_layers=1, d_model=64, n_heads=4, n_ctx=256, d_vocab=4096, act="gelu_new", widths=(256,))
HUNDREDFOLD = widened_config(NARROW, WidenPlan(layers=(0,), factor=100))


def test_a_hundredfold_layer_of_256_neurons_trains_in_a_gigabyte():
    need = to_train(HUNDREDFOLD, 2 * 64 * 25_600, tokens_per_pass=8 * 256, l1=False)
    assert 0.6 * GB < need.weights + need.activations < 1.5 * GB


def test_evaluation_takes_rows_of_its_own_and_fewer_of_a_very_wide_model():
    few, many = (to_train(HUNDREDFOLD, 1000, tokens_per_pass=tokens, l1=False) for tokens in (256, 32 * 256))
    assert few.n_tokens == 16 * 256
    assert many.n_tokens == 32 * 256
    wider = widened_config(HUNDREDFOLD, WidenPlan(layers=(0,), factor=10))
    wider_need = to_train(wider, 1000, tokens_per_pass=256, l1=False)
    assert wider_need.n_tokens == 2 * 256
    assert wider_need.activations < 2 * few.activations


def test_the_memory_needed_grows_with_width_tokens_and_the_penalty():
    base = to_train(HUNDREDFOLD, 1000, 4096, l1=False)
    assert to_train(HUNDREDFOLD, 1000, 8192, l1=False).activations == 2 * base.activations
    assert to_train(HUNDREDFOLD, 1000, 4096, l1=True).activations > base.activations
    assert to_train(HUNDREDFOLD, 2000, 4096, l1=False).weights == base.weights + 12_000
    assert to_widen(NARROW, HUNDREDFOLD).weights > 8 * (NARROW.n_params + HUNDREDFOLD.n_params)


def test_a_need_that_does_not_fit_is_refused_with_both_figures_and_a_remedy():
    need = Need(weights=2 * GB, activations=3 * GB, n_tokens=4096)
    need.require("it", 5 * GB, "lower x")
    expected = (
        r"it needs about 5\.0 GB of memory \(weights 2\.0, activations of 4,096 tokens 3\.0\), 4\.9 GB are free; "
    )
    with pytest.raises(EnvironmentProblem, match=f"{expected}lower x"):
        need.require("it", 4_900_000_000, "lower x")


@pytest.mark.parametrize("free", [1000, 60_000])
def test_a_widened_run_that_would_not_fit_is_refused_before_anything_is_written(
    finished, data, tmp_path, monkeypatch, free
):
    monkeypatch.setattr("train.training_run.free_memory", lambda device=None: free)
    plan = {"layers": [0], "factor": 100}
    with pytest.raises(EnvironmentProblem, match=r"GB are free; .*lower widen\.factor"):
        run(small_run(data, start=str(finished), widen=plan), tmp_path / "x100-s0")
    assert not [path for path in (tmp_path / "x100-s0").iterdir() if not path.name.startswith(".")]


def test_a_run_from_scratch_that_would_not_fit_is_refused_and_one_that_is_done_is_found(finished, data, monkeypatch):
    monkeypatch.setattr("train.training_run.free_memory", lambda device=None: 1000)
    assert run(small_run(data), finished).found
    with pytest.raises(EnvironmentProblem, match=r"raise train\.accumulate or lower model\.mlp_ratio"):
        run(small_run(data, seed=1), finished.with_name("gelu-s1"))


def test_widening_by_hand_is_refused_where_it_would_not_fit(finished, data, tmp_path, monkeypatch):
    monkeypatch.setattr("train.widening.command.free_memory", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match=r"widening needs about .* lower the factor"):
        widen_checkpoint(finished, WidenPlan(layers=(0,), factor=2), data, tmp_path / "x2")
    assert not (tmp_path / "x2").exists()
    assert load(finished).step == 20


def test_the_estimate_is_not_below_what_a_pass_was_measured_to_hold():
    """Tensors that autograd keeps for the backward pass, counted; the peak adds at least a gradient a neuron."""
    from train.loss import TrainingLoss
    from train.model import Transformer

    for act in ("relu", "gelu_new", "gelu_ln", "solu", "solu_ln"):
        config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=32, d_vocab=16, act=act, widths=(4000,))
        model = Transformer(config, 0)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            TrainingLoss(model)(torch.zeros(8, 33, dtype=torch.long))
        weights = sum(parameter.numel() * 4 for parameter in model.parameters())
        held = sum(kept.values()) + 4 * 8 * 32 * 4000
        need = to_train(config, 0, tokens_per_pass=8 * 32, l1=False)
        assert held - weights < need.activations < 4 * held
