"""The rate as a function of the step, and which parameter takes which."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.config import ModelConfig, OptimConfig
from train.model import Transformer
from train.optim import build_optimizer, decays, learning_rate, set_rate

CONFIG = OptimConfig(lr=6e-3, warmup_tokens=1000, final_lr_share=0.1, weight_decay=0.2, eps=1e-8)


def rates(config: OptimConfig, n_steps: int, tokens_per_step: int) -> list[float]:
    return [learning_rate(config, step, n_steps, tokens_per_step) for step in range(n_steps)]


def test_the_rate_warms_up_in_a_line_and_falls_along_a_cosine():
    found = rates(CONFIG, 200, 100)
    assert found[:10] == pytest.approx([6e-3 * (step + 1) / 10 for step in range(10)])
    assert max(found) == found[9] == found[10] == 6e-3
    assert found[10 + 95] == pytest.approx(6e-3 * (0.1 + 0.9 / 2))
    expected = [6e-3 * (0.1 + 0.45 * (1 + math.cos(math.pi * step / 190))) for step in range(190)]
    assert found[10:] == pytest.approx(expected)
    assert all(later < earlier for earlier, later in pairwise(found[10:]))
    assert learning_rate(CONFIG, 200, 200, 100) == pytest.approx(6e-4)


@given(
    lr=st.floats(1e-6, 1),
    warmup=st.integers(0, 10**7),
    share=st.floats(0, 1),
    n_steps=st.integers(1, 10**6),
    tokens_per_step=st.integers(1, 10**6),
    where=st.floats(0, 1, exclude_max=True),
)
def test_a_rate_is_positive_at_most_the_peak_and_depends_on_its_arguments_alone(
    lr, warmup, share, n_steps, tokens_per_step, where
):
    config, step = OptimConfig(lr=lr, warmup_tokens=warmup, final_lr_share=share), int(where * n_steps)
    rate = learning_rate(config, step, n_steps, tokens_per_step)
    assert 0 < rate <= lr * (1 + 1e-12)
    learning_rate(config, 0, n_steps, tokens_per_step)
    assert learning_rate(config, step, n_steps, tokens_per_step) == rate


def test_the_schedule_is_in_tokens_so_that_the_batch_does_not_move_it():
    small, large = rates(CONFIG, 400, 50), rates(CONFIG, 200, 100)
    assert small[1::2][:9] == pytest.approx(large[:9])
    assert small[20::2] == pytest.approx(large[10:], rel=0.02)


@pytest.mark.parametrize(("n_steps", "longest"), [(1, 1), (5, 1), (100, 10)])
def test_a_warmup_longer_than_the_run_is_a_tenth_of_it(n_steps, longest):
    config = OptimConfig(lr=1.0, warmup_tokens=10**9, final_lr_share=0.1)
    assert learning_rate(config, longest - 1, n_steps, 1) == 1.0
    assert [rate < 1 for rate in rates(config, n_steps, 1)[:longest]] == [True] * (longest - 1) + [False]


def test_without_a_warmup_the_first_step_takes_the_peak():
    assert learning_rate(OptimConfig(lr=0.5, warmup_tokens=0), 0, 100, 10) == 0.5


def model(act: str) -> Transformer:
    return Transformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, n_ctx=4, d_vocab=11, act=act, widths=(12, 24)))


def settings_of(built: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float, float]]:
    """(rate relative to the schedule, decay, epsilon) of every parameter that trains, by name."""
    names = {parameter: name for name, parameter in built.named_parameters()}
    return {
        names[parameter]: (group["lr_scale"], group["weight_decay"], group["eps"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_matrices_decay_and_nothing_else_does():
    built = model("solu_ln")
    found = settings_of(built, build_optimizer(built, CONFIG, {}))
    assert found.keys() == dict(built.named_parameters()).keys()
    matrices = {"attn.q", "attn.k", "attn.v", "attn.o", "mlp.fc_in", "mlp.fc_out"}
    expected = {f"layers.{layer}.{name}.weight" for layer in (0, 1) for name in matrices} | {"head.weight"}
    assert {name for name, (_, decay, _) in found.items() if decay} == expected
    assert set(found.values()) == {(1.0, 0.2, 1e-8), (1.0, 0.0, 1e-8)}
    assert expected == {name for name, parameter in built.named_parameters() if decays(name, parameter)}


@pytest.mark.parametrize("act", ["relu", "gelu", "gelu_new"])
def test_a_widened_layer_has_its_rule_and_the_others_have_none(act):
    """W_out takes lr / k with k times the decay, so that lr x decay stays; W_in and b_in take eps / k."""
    built = model(act)
    found = settings_of(built, build_optimizer(built, CONFIG, {1: 4}))
    mlp = "layers.1.mlp."
    assert found.pop(f"{mlp}fc_out.weight") == (0.25, 0.8, 1e-8)
    assert found.pop(f"{mlp}fc_in.weight") == (1.0, 0.2, 0.25e-8)
    assert found.pop(f"{mlp}fc_in.bias") == (1.0, 0.0, 0.25e-8)
    plain = settings_of(built, build_optimizer(built, CONFIG, {}))
    assert found == {name: plain[name] for name in found}


@pytest.mark.parametrize("act", ["gelu_ln", "solu_ln"])
def test_the_input_of_the_mid_layernorm_is_widened_with_it(act):
    built = model(act)
    found = settings_of(built, build_optimizer(built, CONFIG, {0: 10}))
    for name in ("fc_in.weight", "fc_in.bias", "ln.weight", "ln.bias"):
        assert found[f"layers.0.mlp.{name}"][2] == pytest.approx(1e-9)
    assert found["layers.0.mlp.fc_out.bias"] == (1.0, 0.0, 1e-8)
    assert found["layers.1.mlp.ln.weight"] == (1.0, 0.0, 1e-8)


def test_solu_whose_copies_keep_w_out_takes_the_plain_rate_there():
    built = model("solu")
    found = settings_of(built, build_optimizer(built, CONFIG, {0: 4}))
    assert found["layers.0.mlp.fc_out.weight"] == (1.0, 0.2, 0.25e-8)


def test_a_factor_of_one_changes_nothing():
    built = model("gelu_new")
    one = settings_of(built, build_optimizer(built, CONFIG, {0: 1, 1: 1}))
    assert one == settings_of(built, build_optimizer(built, CONFIG, {}))


def test_frozen_parameters_are_left_out():
    built = model("relu")
    for name, parameter in built.named_parameters():
        parameter.requires_grad_(name.startswith("layers.0.mlp."))
    found = settings_of(built, build_optimizer(built, CONFIG, {}))
    assert found.keys() == {
        f"layers.0.mlp.{name}" for name in ("fc_in.weight", "fc_in.bias", "fc_out.weight", "fc_out.bias")
    }


def test_the_scheduled_rate_reaches_every_group_times_its_scale():
    built = model("relu")
    optimizer = build_optimizer(built, CONFIG, {0: 4})
    set_rate(optimizer, 1e-3)
    set_rate(optimizer, 2e-3)
    assert {(group["lr_scale"], group["lr"]) for group in optimizer.param_groups} == {(1.0, 2e-3), (0.25, 5e-4)}


def test_the_first_step_without_decay_moves_every_weight_by_its_own_rate():
    """Adam's first step is the sign of the gradient: the widened W_out moves a k-th as far."""
    built = model("relu")
    optimizer = build_optimizer(built, OptimConfig(lr=1e-2, weight_decay=0.0), {1: 4})
    set_rate(optimizer, 1e-2)
    before = {name: value.detach().clone() for name, value in built.named_parameters()}
    for parameter in built.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in built.named_parameters():
        moved = (before[name] - value).abs()
        rate = 2.5e-3 if name == "layers.1.mlp.fc_out.weight" else 1e-2
        torch.testing.assert_close(moved, torch.full_like(moved, rate), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("act", ["relu", "gelu_ln", "solu"])
def test_full_rates_treat_a_widened_layer_as_any_other(act):
    built = model(act)
    config = CONFIG.model_copy(update={"widened_rates": "full"})
    found = settings_of(built, build_optimizer(built, config, {0: 4, 1: 10}))
    assert found == settings_of(built, build_optimizer(built, CONFIG, {}))


def test_rates_by_role_multiply_what_tied_copies_take_and_reach_narrow_layers_as_well():
    built = model("gelu_ln")
    config = CONFIG.model_copy(update={"w_in_rate": 3.0, "w_out_rate": 0.5})
    found = settings_of(built, build_optimizer(built, config, {1: 4}))
    rates = {name.removeprefix("layers."): rate for name, (rate, _, _) in found.items()}
    assert rates["0.mlp.fc_in.weight"] == rates["1.mlp.fc_in.weight"] == rates["1.mlp.fc_in.bias"] == 3.0
    assert (rates["0.mlp.fc_out.weight"], rates["1.mlp.fc_out.weight"]) == (0.5, 0.125)
    others = {rate for name, rate in rates.items() if "fc_in" not in name and not name.endswith("fc_out.weight")}
    assert others == {1.0}
