"""A layer applied to a few tokens at a time, whose values are computed again in the backward pass instead of kept."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

ELEMENTS = 2**23
"""Numbers of a hidden layer that are in memory at a time on a CPU: 32 MB in fp32 for each of the layer's values."""

ELEMENTS_ACCELERATOR = 2**27
"""On an accelerator, where small products leave it idle: 512 MB in fp32."""

FEWEST_TOKENS = 64
"""Fewer would make the products slow where the layer is very wide."""

Layer = Callable[..., tuple[Tensor, Tensor]]
"""Takes tokens [token d_model] and the layer's parameters; gives what it writes [token d_model] and a sum []."""


def tokens_at_once(d_mlp: int, device: str) -> int:
    """How many tokens of a layer of `d_mlp` neurons are in memory at a time."""
    return max(FEWEST_TOKENS, (ELEMENTS if device == "cpu" else ELEMENTS_ACCELERATOR) // d_mlp)


class Recomputed(torch.autograd.Function):
    """`layer(x, *parameters)` without keeping what lies between.

    The backward pass takes the same tokens together as the forward pass, computes the layer again and adds up the
    gradients of its parameters, in their own precision. Where all tokens are taken together, the gradients have the
    bits that keeping the values gives. Otherwise sums over tokens are added up in another order: the gradients of
    weights differ in their last bits (tests/train/test_recompute.py: 1e-6 of the largest in fp32, 1e-14 in fp64).

    A function of our own rather than `torch.utils.checkpoint`: under autocast that would add up the pieces' gradients
    of weights in bf16, before they are converted.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        layer: Layer,
        at_once: int,
        x: Float[Tensor, "token d_model"],
        *parameters: Tensor,
    ) -> tuple[Float[Tensor, "token d_model"], Float[Tensor, ""]]:
        """What the layer writes, and its sum over all tokens."""
        kind = x.device.type
        ctx.layer, ctx.at_once = layer, at_once  # type: ignore[attr-defined]
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))  # type: ignore[attr-defined]
        ctx.save_for_backward(x, *parameters)
        with _autocast(ctx.autocast):  # type: ignore[attr-defined]
            copies = _leaves(parameters, [True] * len(parameters))
            parts = [layer(x[piece], *copies) for piece in _pieces(len(x), at_once)]
        if len(parts) == 1:
            return parts[0]
        return torch.cat([written for written, _ in parts]), torch.stack([total for _, total in parts]).sum()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_written, grad_total = grads
        _, _, needs_x, *needed = ctx.needs_input_grad  # type: ignore[attr-defined]
        copies = _leaves(parameters, needed)
        wanted = [copy for copy, wants in zip(copies, needed) if wants]
        grad_x, sums = torch.empty_like(x) if needs_x else None, []
        with torch.enable_grad(), _autocast(ctx.autocast):  # type: ignore[attr-defined]
            for piece in _pieces(len(x), ctx.at_once):  # type: ignore[attr-defined]
                x_piece = x[piece].detach().requires_grad_(needs_x)
                written, total = ctx.layer(x_piece, *copies)  # type: ignore[attr-defined]
                outputs, given = [written], [grad_written[piece]]
                if total.requires_grad:
                    outputs, given = [written, total], [*given, grad_total]
                made = list(torch.autograd.grad(outputs, [x_piece, *wanted] if needs_x else wanted, given))
                del written, total, outputs
                if grad_x is not None:
                    grad_x[piece] = made.pop(0)
                sums = [sum_.add_(grad) for sum_, grad in zip(sums, made)] if sums else made
        ready = iter(sums)
        return (None, None, grad_x, *(next(ready) if wants else None for wants in needed))


def _pieces(n_tokens: int, at_once: int) -> Iterator[slice]:
    for first in range(0, n_tokens, at_once):
        yield slice(first, min(first + at_once, n_tokens))


def _leaves(parameters: "list[Tensor] | tuple[Tensor, ...]", needed: list[bool]) -> list[Tensor]:
    """The parameters, cut off from the graph around: leaves, each of which autocast converts once for all pieces."""
    return [parameter.detach().requires_grad_(wants) for parameter, wants in zip(parameters, needed)]


def _autocast(state: tuple[str, torch.dtype, bool]) -> torch.autocast:
    """The arithmetic of the forward pass, which autograd does not restore in the backward pass."""
    kind, dtype, enabled = state
    return torch.autocast(kind, dtype=dtype, enabled=enabled)
