"""Every intervention equals TransformerLens hooks on the bridge, or a pass written out by hand."""

import pytest
import torch
from torch import Tensor

from analyze.interventions import (
    Change,
    changed,
    frozen_scale,
    head_ablation,
    keep_subspace,
    losses,
    mean_ablation,
    patch,
    patch_subspace,
    read_site,
    remove_subspace,
    resample_ablation,
    zero_ablation,
)
from analyze.interventions.frozen_scale import scales
from train.config import ModelConfig
from train.errors import BadInput
from train.lens import to_bridge
from train.model import Transformer

CONFIG = ModelConfig(n_layers=2, d_model=32, n_heads=4, n_ctx=12, d_vocab=40, act="gelu_ln", widths=(24, 48))
TOKENS = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(0))
OTHERS = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(1))


def noisy() -> Transformer:
    """Biases and LayerNorms away from 0 and 1."""
    model = Transformer(CONFIG, seed=2).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    return model


MODEL = noisy()
BRIDGE = to_bridge(MODEL)
BASIS = torch.linalg.qr(torch.randn(32, 3, generator=torch.Generator().manual_seed(4)))[0]
MEANS = torch.randn(48, generator=torch.Generator().manual_seed(5))


def ours(*changes: Change) -> Tensor:
    with torch.no_grad(), changed(MODEL, changes):
        return MODEL(TOKENS)


def theirs(name: str, edit) -> Tensor:
    with torch.no_grad():
        return BRIDGE.run_with_hooks(TOKENS, fwd_hooks=[(name, lambda value, hook: edit(value.clone()))])


def put(value: Tensor, index, replacement) -> Tensor:
    value[..., index] = replacement
    return value


def test_ablations_of_neurons_equal_hooks_on_the_bridge() -> None:
    donors = read_site(MODEL, OTHERS, 1, "post")
    for change, edit in (
        (zero_ablation(1, [2, 7]), lambda v: put(v, [2, 7], 0.0)),
        (mean_ablation(1, [2, 7], MEANS), lambda v: put(v, [2, 7], MEANS[[2, 7]])),
        (resample_ablation(1, [2, 7], donors), lambda v: put(v, [2, 7], donors[..., [2, 7]])),
    ):
        theirs_now = theirs("blocks.1.mlp.hook_post", edit)
        torch.testing.assert_close(ours(change), theirs_now, atol=1e-5, rtol=0)
        assert (ours(change) - ours()).abs().max() > 1e-3


def test_ablation_of_heads_equals_a_hook_on_z() -> None:
    def edit(z: Tensor) -> Tensor:
        z[:, :, [1, 3]] = 0.0
        return z

    torch.testing.assert_close(ours(head_ablation(0, [1, 3])), theirs("blocks.0.attn.hook_z", edit), atol=1e-5, rtol=0)


def test_removing_a_subspace_equals_a_hook_on_the_residual_stream() -> None:
    expected = theirs("blocks.1.hook_resid_pre", lambda v: v - (v @ BASIS) @ BASIS.T)
    torch.testing.assert_close(ours(remove_subspace(1, "resid_pre", BASIS)), expected, atol=1e-5, rtol=0)
    kept = theirs("blocks.1.hook_resid_pre", lambda v: (v @ BASIS) @ BASIS.T)
    torch.testing.assert_close(ours(keep_subspace(1, "resid_pre", BASIS)), kept, atol=1e-5, rtol=0)


def test_keeping_all_and_removing_nothing_change_nothing() -> None:
    everything = torch.eye(32)
    torch.testing.assert_close(ours(keep_subspace(0, "resid_pre", everything, MEANS[:32])), ours(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(remove_subspace(0, "resid_pre", BASIS[:, :0])), ours(), atol=1e-5, rtol=0)


def test_patching_everything_gives_the_other_pass_and_a_whole_basis_is_a_patch() -> None:
    donors = read_site(MODEL, OTHERS, 1, "resid_pre")
    torch.testing.assert_close(ours(patch(1, "resid_pre", donors)), MODEL(OTHERS), atol=1e-5, rtol=0)
    at = [4, 9]
    torch.testing.assert_close(
        ours(patch_subspace(1, "resid_pre", donors, torch.eye(32), at)),
        ours(patch(1, "resid_pre", donors, at)),
        atol=1e-5,
        rtol=0,
    )
    half = ours(patch_subspace(1, "resid_pre", donors, BASIS, at))
    expected = theirs(
        "blocks.1.hook_resid_pre",
        lambda v: v + torch.zeros_like(v).index_add(1, torch.tensor(at), ((donors - v) @ BASIS @ BASIS.T)[:, at]),
    )
    torch.testing.assert_close(half, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layer", "norm"), [(0, "ln1"), (1, "ln2"), (1, "mlp.ln"), (None, "ln_out")])
def test_a_scale_that_is_each_tokens_own_changes_nothing_and_one_for_all_does(layer, norm) -> None:
    plain = ours()
    with torch.no_grad(), frozen_scale(MODEL, layer, norm):
        torch.testing.assert_close(MODEL(TOKENS), plain, atol=1e-4, rtol=0)
    mean = float(scales(MODEL, TOKENS, layer, norm).mean())
    with torch.no_grad(), frozen_scale(MODEL, layer, norm, mean):
        assert (MODEL(TOKENS) - plain).abs().max() > 1e-3
    torch.testing.assert_close(ours(), plain)


def test_sites_are_those_of_the_bridge() -> None:
    with torch.no_grad():
        _, cache = BRIDGE.run_with_cache(TOKENS)
    for site, name in (
        ("resid_pre", "blocks.1.hook_resid_pre"),
        ("attn_out", "blocks.1.hook_attn_out"),
        ("z", "blocks.1.attn.hook_z"),
        ("pre", "blocks.1.mlp.hook_pre"),
        ("post", "blocks.1.mlp.hook_post"),
        ("mlp_out", "blocks.1.hook_mlp_out"),
    ):
        mine = read_site(MODEL, TOKENS, 1, site)
        torch.testing.assert_close(mine, cache[name].view_as(mine), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        read_site(MODEL, TOKENS, 2, "resid_final"), cache["blocks.1.hook_resid_post"], atol=1e-5, rtol=0
    )


def test_losses_are_those_of_the_logits_and_changes_end_with_them() -> None:
    rows = torch.cat([TOKENS, OTHERS])
    plain = losses(MODEL, rows, batch=2)
    logits = MODEL(rows[:, :-1])
    expected = -logits.log_softmax(-1).gather(-1, rows[:, 1:, None])[..., 0]
    torch.testing.assert_close(plain, expected)
    assert (losses(MODEL, rows, [zero_ablation(0, [0, 1, 2])]) - plain).abs().max() > 1e-4
    torch.testing.assert_close(losses(MODEL, rows), plain)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: zero_ablation(5, [0]), "layer 5: not there"),
        (lambda: Change(0, "resid_final", lambda v: v), "resid_final: stands after layer 1"),
        (lambda: remove_subspace(0, "resid_pre", torch.ones(32, 2)), "not orthonormal"),
    ],
)
def test_what_is_not_there_is_refused(make, says: str) -> None:
    with pytest.raises(BadInput, match=says), changed(MODEL, [make()]):
        pass


def test_an_attention_only_model_has_no_neurons_to_ablate() -> None:
    model = Transformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=8, d_vocab=10, act="none"))
    with pytest.raises(BadInput, match="attention-only"), changed(model, [zero_ablation(0, [0])]):
        pass
