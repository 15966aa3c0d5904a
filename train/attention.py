"""Causal attention: the library's, but for short contexts in bf16 on a CPU, where plain products are faster."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from train.products import transformed

SHORT = 512
"""Positions up to which attention in bf16 on a CPU holds its weights whole, a layer's batch x heads x positions^2."""

BLOCK = 128
"""Queries of a block: their products leave out the keys after the block."""

Heads = Float[Tensor, "batch head pos d_head"]


def causal_attention(q: Heads, k: Heads, v: Heads) -> Heads:
    """softmax(q k^T / sqrt(d_head)) v over the positions up to each query's own, [batch head pos d_head]."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] <= SHORT and not transformed():
        return ShortAttention.apply(q, k, v)  # type: ignore[no-any-return]
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class ShortAttention(torch.autograd.Function):
    """Attention by plain products, a block of queries at a time, with the weights kept for the gradient.

    The library's fused kernel computes the weights again in its backward pass, by small products. On one thread of a
    processor with AVX512-BF16, 16 x 256 tokens and 4 heads of 32 took it 32 ms forward and backward, and 11 this way;
    in fp32 the fused kernel is as fast.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, q: Heads, k: Heads, v: Heads) -> Heads:
        shape, scale = q.shape, q.shape[-1] ** -0.5
        with torch.autocast("cpu", enabled=False):
            q, k, v = (each.reshape(-1, *shape[-2:]) for each in (q, k, v))
            mask = torch.full((shape[-2], shape[-2]), -torch.inf, dtype=q.dtype).triu_(1)
            out, weights = torch.empty_like(q), []
            for start in range(0, shape[-2], BLOCK):
                stop = min(start + BLOCK, shape[-2])
                scores = torch.baddbmm(mask[start:stop, :stop], q[:, start:stop], k[:, :stop].mT, alpha=scale)
                weights.append(scores.softmax(-1))
                torch.bmm(weights[-1], v[:, :stop], out=out[:, start:stop])
        ctx.save_for_backward(q, k, v, *weights)
        return out.view(shape)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        (grad,) = grads
        shape, scale = grad.shape, grad.shape[-1] ** -0.5
        grad = grad.reshape(q.shape)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for index, weight in enumerate(weights):
            start = index * BLOCK
            stop = start + weight.shape[1]
            piece, query = grad[:, start:stop], q[:, start:stop]
            grad_v[:, :stop] += torch.bmm(weight.mT, piece)
            of_weights = torch.bmm(piece, v[:, :stop].mT)
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weight, -1, weight.dtype)
            torch.bmm(of_scores, k[:, :stop], out=grad_q[:, start:stop])
            grad_k[:, :stop] += torch.bmm(of_scores.mT, query)
        return grad_q.mul_(scale).view(shape), grad_k.mul_(scale).view(shape), grad_v.view(shape)
