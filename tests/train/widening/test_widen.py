"""The laws of widening."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.activations import ACTIVATIONS
from train.config import ModelConfig, WidenPlan
from train.configfile import validate
from train.errors import BadInput
from train.lineage import Lineage
from train.loss import NextTokenLoss
from train.model import Transformer
from train.widening.widen import widen, widened_config

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


@settings(deadline=None, max_examples=25)
@given(
    act=st.sampled_from(ACTS),
    n_layers=st.integers(1, 2),
    width=st.integers(1, 40),
    factor=st.integers(1, 100),
    layers=st.sampled_from(["last", "all"]),
    split=st.sampled_from(["equal", "dirichlet"]),
    concentration=st.floats(0.01, 100),
    noise=st.sampled_from(["none", "zero_sum"]),
    sigma=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
def test_exact_schemes_keep_the_function(
    act, n_layers, width, factor, layers, split, concentration, noise, sigma, seed
):
    model = trained_like(act, n_layers, width, seed)
    plan = WidenPlan(
        layers="all" if layers == "all" else (n_layers - 1,),
        factor=factor,
        split=split,
        concentration=concentration,
        noise=noise,
        sigma=sigma,
        exact=True,
        seed=seed,
    )
    tokens = rows_of(model, seed)[:, :-1]
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        narrow = copy.deepcopy(model).to(dtype)
        wide, lineage = widen(narrow, plan)
        with torch.no_grad():
            assert relative_l2(wide(tokens), narrow(tokens)) < tolerance
        assert wide.config.widths[-1] == width * factor
        assert wide.config.widths[0] == width * (factor if layers == "all" or n_layers == 1 else 1)
        assert lineage.receipt.exact_promised


@pytest.mark.parametrize("act", ACTS)
def test_widening_by_a_then_b_is_widening_by_a_times_b(act):
    model = trained_like(act, 1, 10, 0).double()
    twice, _ = widen(
        widen(model, WidenPlan(layers=(0,), factor=3, noise="none"))[0], WidenPlan(layers=(0,), factor=4, noise="none")
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


def test_the_parent_and_everything_else_stay_unchanged():
    model = trained_like("solu_ln", 2, 12, 0)
    before = copy.deepcopy(model.state_dict())
    wide, _ = widen(model, WidenPlan(layers=(0,), factor=3, noise="zero_sum", sigma=1.0))
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
        if not name.startswith("layers.0.mlp.") or name.endswith("fc_out.bias"):
            assert torch.equal(wide.state_dict()[name], value)


def test_a_missing_layer_is_named():
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


@pytest.mark.parametrize("act", ["relu", "gelu", "gelu_new"])
def test_fresh_neurons_keep_the_function_and_have_no_parent(act):
    model = trained_like(act, 2, 12, 0)
    wide, lineage = widen(model, WidenPlan(layers=(0,), factor=3, copies="fresh", noise="none", exact=True))
    tokens = rows_of(model)[:, :-1]
    with torch.no_grad():
        assert relative_l2(wide(tokens), model(tokens)) < 1e-6
    assert lineage.parent_of(0).tolist() == [*range(12), *[-1] * 24]
    assert torch.equal(wide.mlp(0).fc_in.weight[:12], model.mlp(0).fc_in.weight)
    assert not wide.mlp(0).fc_out.weight[:, 12:].any()
    again, _ = widen(model, WidenPlan(layers=(0,), factor=3, copies="fresh", noise="none", seed=1))
    assert not torch.equal(again.mlp(0).fc_in.weight, wide.mlp(0).fc_in.weight)


@pytest.mark.parametrize("act", ["gelu_ln", "solu", "solu_ln"])
def test_fresh_neurons_are_refused_with_the_reason(act):
    with pytest.raises(BadInput, match=r"widen\.copies: fresh neurons .*tiled copies are exact"):
        widen(trained_like(act, 1, 4, 0), WidenPlan(layers=(0,), factor=2, copies="fresh", noise="none"))


@pytest.mark.parametrize("noise", ["w_in", "antithetic", "w_out"])
@pytest.mark.parametrize("act", ACTS)
def test_schemes_that_are_not_exact_say_so_with_the_figure(act, noise):
    model = trained_like(act, 1, 30, 0)
    _, lineage = widen(model, WidenPlan(layers=(0,), factor=5, noise=noise, sigma=0.3))
    assert not lineage.receipt.exact_promised
    assert lineage.receipt.logits_relative_l2["fp64"] > 1e-6


def test_noise_too_large_for_fp32_to_cancel_is_refused_with_an_explanation():
    with pytest.raises(BadInput, match=r"widen\.sigma: 1000000\.0 is too large for fp32 to cancel"):
        widen(trained_like("relu", 1, 30, 0), WidenPlan(layers=(0,), factor=5, sigma=1e6))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": "zerosum"}, r"noise: Input should be 'none', .*, got 'zerosum'; did you mean 'zero_sum'\?"),
        ({"split": "dirichlt"}, r"split: Input should be .*, got 'dirichlt'; did you mean 'dirichlet'\?"),
        ({"copies": "new"}, r"copies: Input should be 'tiled' or 'fresh', got 'new'"),
        ({"layers": "every"}, r'layers: give a list of layers such as \[0\], or "all", got \'every\''),
        ({"layers": []}, "layers: give a list"),
        ({"layers": [0.5]}, "layers: give a list"),
        ({"layers": [True]}, "layers: give a list"),
        ({"factor": 2.5}, "factor: Input should be a valid integer"),
        ({"factor": 0}, "factor: .* greater than or equal to 1"),
        ({"factor": 101}, "factor: .* less than or equal to 100"),
        ({"sigma": -0.1}, "sigma: .* greater than or equal to 0"),
        ({"concentration": 0.0}, "concentration"),
        ({"exact": True, "noise": "w_in"}, "exact: noise on W_in changes when each copy fires"),
        ({"exact": True, "noise": "antithetic"}, "exact: pairs .* cancel to first order only"),
        ({"exact": True, "noise": "w_out"}, "exact: independent noise on W_out does not cancel"),
        ({"copies": "fresh"}, 'copies: fresh neurons have no siblings .* noise = "none"'),
        ({"copies": "fresh", "noise": "none", "split": "dirichlet"}, "copies: fresh neurons have no siblings"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_line_that_names_the_key(values, message):
    with pytest.raises(BadInput, match=f"^run.toml: {message}") as refusal:
        validate(WidenPlan, {"layers": [0], "factor": 2} | values, "run.toml")
    assert "\n" not in str(refusal.value)


def test_exactness_may_be_asked_for_where_inexact_noise_comes_to_nothing():
    assert WidenPlan(layers=(0,), factor=2, noise="w_in", sigma=0, exact=True).keeps_the_function
    assert WidenPlan(layers=(0,), factor=1, noise="w_in", exact=True).keeps_the_function


def test_a_line_of_descent_leads_to_the_first_ancestor_layer_by_layer(tmp_path):
    model = trained_like("relu", 3, 6, 0)
    steps = [
        WidenPlan(layers=(0, 1), factor=2),
        WidenPlan(layers=(0,), factor=3, noise="w_in"),
        WidenPlan(layers=(0, 2), factor=2, copies="fresh", noise="none"),
    ]
    earlier = None
    for index, plan in enumerate(steps):
        model, lineage = widen(model, plan)
        earlier = lineage.of(f"hash{index}", earlier)
    path = tmp_path / "lineage.safetensors"
    path.write_bytes(earlier.to_bytes())
    last = Lineage.read(path)
    assert last.factors == {0: 12, 1: 2, 2: 2}
    assert last.copies == {0: 6, 1: 2}
    assert [each.parent_hash for each in last.widenings] == ["hash0", "hash1", "hash2"]
    assert last.parent_of(0).tolist() == [*range(36), *[-1] * 36]
    assert last.root_of(0).tolist() == [*list(range(6)) * 6, *[-1] * 36]
    assert last.parent_of(1) is None
    assert last.root_of(1).tolist() == list(range(6)) * 2
    assert last.root_of(2).tolist() == [*range(6), *[-1] * 6]


def test_the_root_of_a_first_widening_is_its_parent():
    _, lineage = widen(trained_like("relu", 2, 6, 0), WidenPlan(layers="all", factor=2))
    assert lineage.plan.layers == (0, 1)
    for layer in (0, 1):
        assert np.array_equal(lineage.root_of(layer), lineage.of("aa", None).parent_of(layer))
    assert lineage.root_of(2) is None


def test_a_width_beyond_what_a_model_may_have_is_refused_before_it_is_made():
    config = ModelConfig(n_layers=1, d_model=2, n_heads=1, n_ctx=2, d_vocab=2, act="relu", widths=(2**20,))
    with pytest.raises(BadInput, match="widths"):
        widened_config(config, WidenPlan(layers=(0,), factor=100))
