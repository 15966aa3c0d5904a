"""What twins share, and what the model computes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.activations import ACTIVATIONS
from train.config import ModelConfig
from train.errors import BadInput
from train.loss import NextTokenLoss
from train.model import Transformer


def make(act="gelu_new", n_layers=1, widths=(), seed=0, d_model=16) -> Transformer:
    config = ModelConfig(
        n_layers=n_layers, d_model=d_model, n_heads=2, n_ctx=12, d_vocab=61, act=act, widths=tuple(widths)
    )
    return Transformer(config, seed)


def random_tokens(batch=3, pos=12, d_vocab=61):
    return torch.randint(0, d_vocab, (batch, pos), generator=torch.Generator().manual_seed(1))


def test_twins_that_differ_in_activation_share_every_initial_weight():
    relu, solu = make("relu").state_dict(), make("solu_ln").state_dict()
    assert set(solu) - set(relu) == {"layers.0.mlp.ln.weight", "layers.0.mlp.ln.bias"}
    assert all(torch.equal(relu[name], solu[name]) for name in relu)


def test_a_deeper_twin_shares_its_first_layer_and_a_wide_one_all_but_its_mlp():
    one, two, wide = make(n_layers=1), make(n_layers=2), make(widths=(160,))
    deep, broad = two.state_dict(), wide.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(deep[name], value)
        assert torch.equal(broad[name], value) == (".mlp." not in name or name.endswith("fc_out.bias"))


def test_another_seed_gives_other_weights():
    assert not torch.equal(make(seed=0).head.weight, make(seed=1).head.weight)


def test_no_position_sees_a_later_token():
    model, tokens = make(n_layers=2), random_tokens()
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 61
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[:, :7], model(changed)[:, :7])
        assert not torch.allclose(model(tokens)[:, 7:], model(changed)[:, 7:])


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_mlp_activations_are_what_the_forward_pass_uses(act):
    model, tokens = make(act, n_layers=2, widths=(24, 40)), random_tokens()
    seen = []
    model.mlp(1).fc_out.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    with torch.no_grad():
        model(tokens)
        post = model.mlp_activations(tokens, 1, "post")
        torch.testing.assert_close(post, seen[0], rtol=0, atol=0)
        pre, mid = (model.mlp_activations(tokens, 1, hook) for hook in ("pre", "mid"))
        torch.testing.assert_close(ACTIVATIONS[act].function(pre), mid, rtol=0, atol=0)
        assert torch.equal(mid, post) != ACTIVATIONS[act].mid_ln


@pytest.mark.parametrize("layer", [0, 1])
def test_the_mlps_input_is_what_the_forward_pass_gives_it(layer):
    model, tokens = make(n_layers=2), random_tokens()
    seen = []
    model.mlp(layer).register_forward_hook(lambda module, args, output: seen.append(args[0]))
    with torch.no_grad():
        model(tokens)
        assert torch.equal(model.mlp_input(tokens, layer), seen[0])
    with pytest.raises(BadInput, match="layer 2: not there; this model has layers 0 to 1"):
        model.mlp_input(tokens, 2)


def test_a_layer_or_hook_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="layer 2: not there; this model has layers 0 to 0"):
        make().mlp_activations(random_tokens(), 2)
    with pytest.raises(BadInput, match="13 positions where the model has n_ctx = 12"):
        make()(random_tokens(pos=13))


def test_the_wide_solu_trap_is_avoided_by_its_epsilon():
    """At 100 x a fixed epsilon of 1e-5 swallows SoLU before its LayerNorm; the scaled one does not."""
    tokens = torch.randint(0, 61, (8, 12), generator=torch.Generator().manual_seed(0))
    rms = {}
    for eps in (ACTIVATIONS["solu_ln"].mid_ln_eps(64, 6400), 1e-5):
        config = ModelConfig(
            n_layers=1, d_model=64, n_heads=4, n_ctx=12, d_vocab=61, act="solu_ln", widths=(6400,), mlp_ln_eps=(eps,)
        )
        with torch.no_grad():
            rms[eps] = float(Transformer(config, 0).mlp_activations(tokens, 0, "post").square().mean().sqrt())
    scaled, fixed = rms.values()
    assert scaled > 0.9
    assert fixed < 0.25


@settings(deadline=None, max_examples=20)
@given(batch=st.integers(1, 4), d_vocab=st.integers(2, 300), chunk=st.integers(1, 5000), seed=st.integers(0, 99))
def test_the_chunked_loss_and_its_gradients_are_cross_entropys(batch, d_vocab, chunk, seed):
    config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=9, d_vocab=d_vocab, act="gelu")
    model = Transformer(config, seed).double()
    rows = torch.randint(0, d_vocab, (batch, 10), generator=torch.Generator().manual_seed(seed))
    whole = torch.nn.functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    expected = torch.autograd.grad(whole, list(model.parameters()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loss.CHUNK_ELEMENTS", chunk)
        patch.setattr("train.loss.MIN_CHUNK_TOKENS", 1)
        loss = NextTokenLoss(model)(rows)
        found = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(loss, whole)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_frozen_head_costs_no_gradient_and_changes_no_other():
    rows = random_tokens(pos=13)
    free, frozen = make(), make()
    frozen.head.weight.requires_grad_(False)
    for model in (free, frozen):
        NextTokenLoss(model)(rows).backward()
    assert frozen.head.weight.grad is None
    assert torch.equal(free.mlp(0).fc_in.weight.grad, frozen.mlp(0).fc_in.weight.grad)


def test_parameters_are_counted_by_arithmetic_as_they_are():
    for act in ("relu", "solu_ln"):
        model = make(act, n_layers=2, widths=(24, 1600))
        assert model.config.n_params == sum(p.numel() for p in model.parameters())


def test_the_golden_loss_of_a_tiny_model_in_fp64_on_one_thread():
    """Any refactor that changes what the model or its loss computes shows here."""
    model = make("solu_ln", n_layers=2, widths=(24, 40)).double()
    rows = random_tokens(pos=13)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(5):
            loss = NextTokenLoss(model)(rows)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        torch.set_num_threads(threads)
    assert losses == pytest.approx(GOLDEN, rel=1e-9)


GOLDEN = [4.157707987841994, 3.764915532803163, 3.4970098016998654, 3.3036585363325046, 3.1308598987774072]


def test_a_loss_whose_gradient_nobody_wants_takes_none_and_is_the_same():
    model = Transformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=16, d_vocab=40, act="relu"), 0)
    rows = torch.randint(0, 40, (3, 17), generator=torch.Generator().manual_seed(0))
    module = NextTokenLoss(model)
    asked: list[bool] = []
    plain = module.cross_entropy
    module.cross_entropy = lambda x, weight, *rest: (
        asked.extend([x.requires_grad, weight.requires_grad]) or plain(x, weight, *rest)
    )
    with_gradient = module(rows)
    with torch.no_grad():
        without = module(rows)
    assert asked == [True, True, False, False]
    assert torch.equal(without, with_gradient.detach())
