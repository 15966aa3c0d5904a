"""Training in bf16: its loss, attention and gradients beside plain fp32 ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.attention import causal_attention
from train.config import ModelConfig
from train.loss import NextTokenLoss
from train.model import Transformer


def off(found: Tensor, expected: Tensor) -> float:
    """How far, relative to the norm of what is expected."""
    return float(((found.float() - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize("pos", [1, 127, 128, 129, 300])
def test_short_attention_and_its_gradients_are_the_librarys(pos: int):
    generator = torch.Generator().manual_seed(pos)
    q, k, v, grad = torch.randn(4, 2, 3, pos, 8, generator=generator).unbind()
    whole = [each.clone().requires_grad_() for each in (q, k, v)]
    expected = F.scaled_dot_product_attention(whole[0], whole[1], whole[2], is_causal=True)
    rounded = [each.to(torch.bfloat16).requires_grad_() for each in (q, k, v)]
    found = causal_attention(*rounded)
    assert found.dtype == torch.bfloat16
    assert off(found, expected) < 0.01
    theirs = torch.autograd.grad(expected, whole, grad)
    ours = torch.autograd.grad(found, rounded, grad.to(torch.bfloat16))
    for name, one, other in zip("qkv", ours, theirs, strict=True):
        # A single position weighs itself alone: no gradient reaches queries and keys.
        assert (pos == 1 and name != "v") or off(one, other) < 0.015, name


@pytest.mark.parametrize("act", ["relu", "gelu_new", "solu_ln"])
def test_the_loss_and_gradients_in_bf16_are_as_near_to_fp32_as_the_librarys(act: str):
    config = ModelConfig(n_layers=1, d_model=32, n_heads=2, n_ctx=48, d_vocab=300, act=act)  # type: ignore[arg-type]
    model = Transformer(config, 0)
    rows = torch.randint(0, 300, (8, 49), generator=torch.Generator().manual_seed(1))
    parameters = list(model.parameters())
    exact = NextTokenLoss(model)(rows)
    expected = torch.autograd.grad(exact, parameters)
    with torch.autocast("cpu", torch.bfloat16):
        ours = NextTokenLoss(model)(rows)
        theirs = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    assert ours.item() == pytest.approx(exact.item(), abs=2e-3)
    gradients = torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters)
    names = [name for name, _ in model.named_parameters()]
    for name, found, plain, right in zip(names, *gradients, expected, strict=True):
        if name == "layers.0.attn.k.bias":
            continue  # its gradient is zero but for rounding
        assert off(found, right) < max(0.02, 1.3 * off(plain, right)), name
    found, right = (torch.cat([gradient.flatten() for gradient in each]) for each in (gradients[0], expected))
    assert torch.cosine_similarity(found, right, 0) > 0.9995


def test_a_token_that_the_model_holds_impossible_has_a_finite_loss_in_bf16():
    model = Transformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=4, d_vocab=5, act="relu"), 0)
    with torch.no_grad():
        model.head.weight.mul_(1e4)
    with torch.autocast("cpu", torch.bfloat16):
        assert NextTokenLoss(model)(torch.tensor([[0, 1, 2, 3, 4]])).isfinite()
