"""Next-token cross-entropy that never holds all logits at once."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.model import Transformer

CHUNK_ELEMENTS = 2**22
"""Logits held at a time: 16 MB in fp32, which stays near the caches."""


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of x W^T against targets, with the gradients taken while a chunk's logits exist.

    The logits of a whole batch are the largest tensor of a small model (tokens x d_vocab). Here a chunk of
    them turns in place into softmax minus one-hot, is multiplied into the gradients of x and W, and goes.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Float[Tensor, "token d_model"],
        weight: Float[Tensor, "d_vocab d_model"],
        targets: Int[Tensor, " token"],
    ) -> Float[Tensor, ""]:
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        n_tokens, chunk = len(x), max(1, CHUNK_ELEMENTS // len(weight))
        needs_x, needs_weight, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        grad_x = torch.empty_like(x) if needs_x else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        total = torch.zeros((), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
        with torch.autocast(device, enabled=False):
            weight_low = weight.to(low)
            for start in range(0, n_tokens, chunk):
                piece = slice(start, start + chunk)
                x_low, target = x[piece].to(low), targets[piece, None]
                log_p = F.log_softmax((x_low @ weight_low.T).to(total.dtype), dim=-1)
                total -= log_p.gather(1, target).sum()
                if grad_x is None and grad_weight is None:
                    continue
                delta = log_p.exp_()
                delta.scatter_add_(1, target, torch.full_like(target, -1, dtype=delta.dtype))
                delta_low = delta.mul_(1 / n_tokens).to(low)
                if grad_x is not None:
                    grad_x[piece] = delta_low @ weight_low
                if grad_weight is not None:
                    grad_weight += delta_low.T @ x_low
        ctx.save_for_backward(grad_x, grad_weight)  # type: ignore[arg-type]
        return total / n_tokens

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_x, grad_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        (scale,) = grads
        return (
            None if grad_x is None else grad_x * scale,
            None if grad_weight is None else grad_weight * scale,
            None,
        )


class NextTokenLoss(nn.Module):
    """The model with its loss, as one module, so that data-parallel wrappers see one forward pass."""

    def __init__(self, model: Transformer):
        super().__init__()
        self.model = model

    def forward(self, rows: Int[Tensor, "batch pos_and_one"]) -> Float[Tensor, ""]:
        """Mean loss in nats a token: positions 0..n-1 of each row predict positions 1..n."""
        x = self.model.final_residual(rows[:, :-1])
        targets = rearrange(rows[:, 1:], "b p -> (b p)")
        return ChunkedCrossEntropy.apply(rearrange(x, "b p d -> (b p) d"), self.model.head.weight, targets)  # type: ignore[return-value]
