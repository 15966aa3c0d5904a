"""Next-token cross-entropy that never needs all logits at once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.model import Transformer
from train.products import add_product, product, transformed, zeros_for_gradient

CHUNK_ELEMENTS = 2**21
"""Logits of a chunk on a CPU: 8 MB in fp32. Measured with 4096 words on 2 threads: the loss takes 50 ms a step of
model A, 54 ms at 2**19."""

CHUNK_ELEMENTS_ACCELERATOR = 2**26
"""On an accelerator: 256 MB, so that few kernels are launched."""

MIN_CHUNK_TOKENS = 64
"""Fewer tokens would make the products slow where the vocabulary is large."""


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of x W^T against targets, with gradients taken chunk by chunk.

    The logits of a whole batch are the largest tensor of a small model (tokens x d_vocab). Here a chunk of them turns
    into softmax minus one-hot, in place in fp32, is multiplied into the gradients of x and W, and is freed.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Float[Tensor, "token d_model"],
        weight: Float[Tensor, "d_vocab d_model"],
        targets: Int[Tensor, " token"],
        token_losses: Float[Tensor, " token"] | None = None,
    ) -> Float[Tensor, ""]:
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        n_tokens = len(x)
        elements = CHUNK_ELEMENTS if device == "cpu" else CHUNK_ELEMENTS_ACCELERATOR
        chunk = max(MIN_CHUNK_TOKENS, elements // len(weight))
        needs_x, needs_weight, *_ = ctx.needs_input_grad  # type: ignore[attr-defined]
        grad_x = torch.empty_like(x) if needs_x else None
        grad_weight = zeros_for_gradient(weight) if needs_weight else None
        total = torch.zeros((), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
        with torch.autocast(device, enabled=False):
            weight_low, rounded = weight.to(low), low in (torch.bfloat16, torch.float16)
            index = torch.arange(min(chunk, n_tokens), device=x.device)
            for start in range(0, n_tokens, chunk):
                piece = slice(start, start + chunk)
                x_low, target = x[piece].to(low), targets[piece, None]
                logits = product(x_low, weight_low.T)
                softmax, losses = (_rounded_softmax if rounded else _softmax)(logits, target)
                total += losses.sum()
                if token_losses is not None:
                    token_losses[piece] = losses[:, 0]
                if grad_x is None and grad_weight is None:
                    continue
                # softmax - one_hot, by an index: scatter_ and scatter_add_ copy 16-bit values to fp32 and back.
                softmax[index[: len(target)], target[:, 0]] = (softmax.gather(1, target) - 1)[:, 0]
                if grad_x is not None:
                    grad_x[piece] = product(softmax, weight_low)
                if grad_weight is not None:
                    add_product(grad_weight, softmax.T, x_low)
        ctx.save_for_backward(grad_x, grad_weight)  # type: ignore[arg-type]
        ctx.n_tokens = n_tokens  # type: ignore[attr-defined]
        return total / n_tokens

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_x, grad_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = grads[0] / ctx.n_tokens  # type: ignore[attr-defined]
        return (
            None if grad_x is None else grad_x * scale,
            None if grad_weight is None else grad_weight * scale,
            None,
            None,
        )


def _softmax(
    logits: Float[Tensor, "token d_vocab"], target: Int[Tensor, "token 1"]
) -> tuple[Float[Tensor, "token d_vocab"], Float[Tensor, "token 1"]]:
    """The softmax, in the logits' memory, and the losses.

    The library's kernel makes its passes over a word's logits while they are in the nearest cache. A loss comes from
    the largest probability, not from the target's own, which may be too small for a float.
    """
    behind = logits.amax(1, keepdim=True) - logits.gather(1, target)
    softmax = torch.ops.aten._softmax.out(logits, 1, False, out=logits)
    return softmax, behind - softmax.amax(1, keepdim=True).log()


def _rounded_softmax(
    logits: Float[Tensor, "token d_vocab"], target: Int[Tensor, "token 1"]
) -> tuple[Float[Tensor, "token d_vocab"], Float[Tensor, "token 1"]]:
    """The same of 16-bit logits, and the losses in fp32.

    The library's kernel reads and writes 16 bits and computes in fp32, in one pass instead of five. A probability is
    rounded to 8 bits, as the logits were, which moves a token's loss by at most 0.004, either way. No loss is above
    87.3 nats, where floats end.
    """
    softmax = logits.softmax(1)
    right = softmax.gather(1, target).float()
    return softmax, -right.clamp_min(torch.finfo(torch.float32).tiny).log()


class NextTokenLoss(nn.Module):
    """The model and its loss as a single module, so that data-parallel wrappers see one forward pass."""

    def __init__(self, model: Transformer):
        super().__init__()
        self.model = model
        # torch.compile would unroll the loop over chunks: minutes of compiling, and no product is faster.
        self.cross_entropy: Callable[..., Tensor] = torch.compiler.disable(ChunkedCrossEntropy.apply)  # type: ignore[assignment]

    def forward(self, rows: Int[Tensor, "batch pos_and_one"]) -> Float[Tensor, ""]:
        """Mean loss in nats a token: positions 0..n-1 of each row predict positions 1..n."""
        return self.of_residual(self.model.final_residual(rows[:, :-1]), rows)

    def with_token_losses(
        self, rows: Int[Tensor, "batch pos_and_one"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch pos"]]:
        """What `forward` gives, to the bit, and the loss of each position. Without gradients."""
        x = self.model.final_residual(rows[:, :-1])
        losses = torch.empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        return self.of_residual(x, rows, losses.view(-1)), losses

    def of_residual(
        self,
        x: Float[Tensor, "batch pos d_model"],
        rows: Int[Tensor, "batch pos_and_one"],
        token_losses: Float[Tensor, " token"] | None = None,
    ) -> Float[Tensor, ""]:
        """The same, from what the unembedding reads. `token_losses` takes the loss of each token."""
        flat, weight, targets = _matrices(self.model, x, rows[:, 1:])
        if transformed() and token_losses is None:  # gradients of each row, say, where torch wants operators of its own
            return F.cross_entropy(F.linear(flat, weight), targets)
        return self.cross_entropy(flat, weight, targets, token_losses)


class TrainingLoss(nn.Module):
    """What training lowers: the next-token loss plus `l1` times the L1 norm of MLP activations.

    The penalty is the sum over neurons of |activation|, before a mid LayerNorm, mean over tokens, summed over the
    layers whose W_in trains. It is a sum, so k copies of a neuron that is divided only in W_out weigh k times as much.

    Args:
        model: which of its parameters train is read once, here.
        l1: coefficient; at 0 the penalty is not computed.
    """

    def __init__(self, model: Transformer, l1: float = 0.0):
        super().__init__()
        self.next_token = NextTokenLoss(model)
        self.l1 = l1
        layers = range(model.config.n_layers) if model.config.has_mlp else ()
        self.layers = [layer for layer in layers if model.mlp(layer).fc_in.weight.requires_grad]

    def forward(self, rows: Int[Tensor, "batch pos_and_one"]) -> tuple[Float[Tensor, ""], ...]:
        """The sum that is lowered; then, without gradient, the next-token loss in nats a token and the bare penalty."""
        if self.l1 == 0:
            loss = self.next_token(rows)
            return loss, loss.detach(), torch.zeros((), device=loss.device)
        x, penalty = self.next_token.model.final_residual_with_l1(rows[:, :-1], self.layers)
        loss = self.next_token.of_residual(x, rows)
        return loss + self.l1 * penalty, loss.detach(), penalty.detach()


@torch.no_grad()
def losses_of_tokens(
    model: Transformer, x: Float[Tensor, "batch pos d_model"], targets: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos"]:
    """Each token's cross-entropy, nats, from what the unembedding reads."""
    losses = torch.empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    ChunkedCrossEntropy.apply(*_matrices(model, x, targets), losses.view(-1))
    return losses


def _matrices(
    model: Transformer, x: Float[Tensor, "batch pos d_model"], targets: Int[Tensor, "batch pos"]
) -> tuple[Float[Tensor, "token inner"], Float[Tensor, "d_vocab inner"], Int[Tensor, " token"]]:
    """What a cross-entropy multiplies, and what it looks up."""
    flat, weight, bias = rearrange(x, "b p d -> (b p) d"), model.head.weight, model.head.bias
    if bias is not None:  # as the weight of one more input that is always 1
        flat, weight = F.pad(flat, (0, 1), value=1.0), torch.cat((weight, bias[:, None]), dim=1)
    # A function of autograd does not know that nobody wants gradients: it would take the weight's all the same.
    return flat, weight if torch.is_grad_enabled() else weight.detach(), rearrange(targets, "b p -> (b p)")
