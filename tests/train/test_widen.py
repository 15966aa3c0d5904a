"""The laws of widening."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.activations import ACTIVATIONS
from train.config import ModelConfig
from train.errors import BadInput
from train.lineage import Lineage
from train.loss import NextTokenLoss
from train.model import Transformer
from train.widen import WidenPlan, widen, widened_config

ACTS = sorted(ACTIVATIONS)


def trained_like(act: str, n_layers: int, width: int, seed: int) -> Transformer:
    """A model whose biases and LayerNorms are not at their initial values, as after training."""
    config = ModelConfig(
        n_layers=n_layers, d_model=16, n_heads=2, n_ctx=12, d_vocab=61, act=act, widths=(width,) * n_layers
    )
    model = Transformer(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def rows_of(model: Transformer, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, model.config.d_vocab, (4, 13), generator=torch.Generator().manual_seed(seed))


def relative_l2(new: torch.Tensor, old: torch.Tensor) -> float:
    return float((new - old).norm() / old.norm())


@settings(deadline=None, max_examples=40)
@given(
    act=st.sampled_from(ACTS),
    n_layers=st.integers(1, 2),
    width=st.integers(1, 40),
    factor=st.integers(1, 100),
    noise=st.sampled_from(["none", "zero_sum"]),
    sigma=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
def test_exact_schemes_keep_the_function(act, n_layers, width, factor, noise, sigma, seed):
    model = trained_like(act, n_layers, width, seed)
    plan = WidenPlan(layers=(n_layers - 1,), factor=factor, noise=noise, sigma=sigma, seed=seed)
    tokens = rows_of(model, seed)[:, :-1]
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        narrow = copy.deepcopy(model).to(dtype)
        wide, lineage = widen(narrow, plan)
        with torch.no_grad():
            assert relative_l2(wide(tokens), narrow(tokens)) < tolerance
        assert wide.config.widths[-1] == width * factor
        assert lineage.receipt.exact_promised


@pytest.mark.parametrize("act", ACTS)
def test_widening_by_a_then_b_is_widening_by_a_times_b(act):
    model = trained_like(act, 1, 10, 0).double()
    twice, _ = widen(
        widen(model, WidenPlan(layers=(0,), factor=3, noise="none"))[0],
        WidenPlan(layers=(0,), factor=4, noise="none"),
    )
    once, _ = widen(model, WidenPlan(layers=(0,), factor=12, noise="none"))
    assert twice.config.mlp_ln_eps == pytest.approx(once.config.mlp_ln_eps)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value)


@pytest.mark.parametrize(("act", "kept_wrong"), [("solu_ln", "epsilon"), ("solu", "w_out"), ("relu", "w_out")])
def test_another_rule_than_the_activations_own_is_not_exact(act, kept_wrong):
    """The rules are needed: breaking one moves the function by far more than the tolerance."""
    model = trained_like(act, 1, 32, 0)
    wide, _ = widen(model, WidenPlan(layers=(0,), factor=10, noise="none"))
    with torch.no_grad():
        if kept_wrong == "epsilon":
            wide.mlp(0).ln.eps = model.mlp(0).ln.eps
            # Where the variance before the LayerNorm is near epsilon, as in a trained SoLU layer.
            for each in (model, wide):
                each.mlp(0).fc_in.weight.mul_(0.1)
                each.mlp(0).fc_in.bias.mul_(0.1)
        else:
            wide.mlp(0).fc_out.weight.mul_(10 if act == "relu" else 0.1)
        tokens = rows_of(model)[:, :-1]
        assert relative_l2(wide(tokens), model(tokens)) > 1e-2


@pytest.mark.parametrize("act", ACTS)
def test_the_lineage_names_the_parent_whose_weights_each_neuron_has(act):
    model = trained_like(act, 2, 12, 0)
    wide, lineage = widen(model, WidenPlan(layers=(1,), factor=5, noise="zero_sum", sigma=0.5))
    parents = lineage.parent_of(1)
    assert parents.shape == (60,)
    assert np.array_equal(np.bincount(parents), np.full(12, 5))
    assert torch.equal(wide.mlp(1).fc_in.weight, model.mlp(1).fc_in.weight[torch.from_numpy(parents).long()])
    assert lineage.parent_of(0) is None


def test_zero_sum_noise_sums_to_zero_over_siblings_and_has_the_sigma_it_says():
    model = trained_like("relu", 1, 50, 0).double()
    plain, _ = widen(model, WidenPlan(layers=(0,), factor=8, noise="none"))
    noisy, _ = widen(model, WidenPlan(layers=(0,), factor=8, noise="zero_sum", sigma=0.3))
    noise = (noisy.mlp(0).fc_out.weight - plain.mlp(0).fc_out.weight).unflatten(1, (8, 50))
    assert noise.sum(1).abs().max() < 1e-12
    own = plain.mlp(0).fc_out.weight.square().mean(0).sqrt().view(8, 50)
    assert (noise / own).square().mean().sqrt().item() == pytest.approx(0.3, rel=0.05)


def test_w_in_noise_has_the_sigma_it_says_and_its_receipt_says_that_it_is_not_exact():
    model = trained_like("gelu_new", 1, 50, 0)
    wide, lineage = widen(model, WidenPlan(layers=(0,), factor=4, noise="w_in", sigma=0.1))
    tiled = model.mlp(0).fc_in.weight.repeat(4, 1)
    ratio = (wide.mlp(0).fc_in.weight - tiled).square().mean(1).sqrt() / tiled.square().mean(1).sqrt()
    assert ratio.mean().item() == pytest.approx(0.1, rel=0.1)
    assert not lineage.receipt.exact_promised
    assert lineage.receipt.logits_relative_l2["fp64"] > 1e-4
    assert "not exact" in lineage.receipt.line()


def test_siblings_without_noise_share_their_gradients():
    model = trained_like("gelu_new", 1, 10, 0).double()
    wide, _ = widen(model, WidenPlan(layers=(0,), factor=4, noise="none"))
    rows = rows_of(model)
    for each in (model, wide):
        NextTokenLoss(each)(rows).backward()
    siblings = wide.mlp(0).fc_in.weight.grad.unflatten(0, (4, 10))
    torch.testing.assert_close(siblings[0], siblings[3])
    torch.testing.assert_close(siblings.sum(0), model.mlp(0).fc_in.weight.grad)


def test_the_parent_and_all_that_is_not_widened_stay_as_they_are():
    model = trained_like("solu_ln", 2, 12, 0)
    before = copy.deepcopy(model.state_dict())
    wide, _ = widen(model, WidenPlan(layers=(0,), factor=3, noise="zero_sum", sigma=1.0))
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
        if not name.startswith("layers.0.mlp.") or name.endswith("fc_out.bias"):
            assert torch.equal(wide.state_dict()[name], value)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(BadInput, match=r"layer 2 is not there; the model has layers 0 to 1"):
        widen(trained_like("relu", 2, 4, 0), WidenPlan(layers=(2,), factor=2))


def test_a_lineage_survives_its_file_and_chains_to_earlier_ones(tmp_path):
    model = trained_like("relu", 1, 6, 0)
    once, first = widen(model, WidenPlan(layers=(0,), factor=2))
    first = first.of("aa", None)
    _, second = widen(once, WidenPlan(layers=(0,), factor=3))
    second = second.of("bb", first)
    path = tmp_path / "lineage.safetensors"
    path.write_bytes(second.to_bytes())
    read = Lineage.read(path)
    assert read.plan == second.plan
    assert read.receipt == second.receipt
    assert np.array_equal(read.parent_of(0), second.parent_of(0))
    assert [each.parent_hash for each in read.ancestors] == ["aa"]


def test_a_width_beyond_what_a_model_may_have_is_refused_before_it_is_made():
    config = ModelConfig(n_layers=1, d_model=2, n_heads=1, n_ctx=2, d_vocab=2, act="relu", widths=(2**20,))
    with pytest.raises(BadInput, match="widths"):
        widened_config(config, WidenPlan(layers=(0,), factor=100))
