"""Matrix products in fp32 by the library that is fast on this processor.

torch multiplies fp32 matrices by MKL, which gives processors of other makers than Intel kernels for AVX2. oneDNN,
which torch brings for other operators, uses their AVX-512: on an AMD EPYC of two cores the products of model A reach
160 to 235 GFLOP/s a thread where MKL reaches 80 to 105 (`python benchmarks/products.py`). Both sum in fp32.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Library = Literal["torch", "oneDNN"]

MAKERS = ("AMD", "EPYC", "Ryzen", "Hygon")
"""In a processor's name: MKL gives it slow kernels, oneDNN fast ones. Others keep what torch takes."""


@cache
def library() -> Library:
    """What multiplies fp32 matrices here: torch is asked what it is made of and where it runs, nothing is timed."""
    can = torch.cpu.get_capabilities()
    slow = can.get("architecture") == "x86_64" and any(maker in str(can.get("cpu_name", "")) for maker in MAKERS)
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return "oneDNN" if slow and there and torch.backends.mkl.is_available() and can.get("avx512_f") else "torch"


def transformed() -> bool:
    """Whether this runs inside `torch.func` (vmap, grad, jacrev, jvp, ...), which knows only torch's own operators."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def by_onednn(*matrices: Tensor) -> bool:
    """Whether these are multiplied by oneDNN: in fp32, on a processor, none of them empty, outside `torch.func`."""
    return (
        library() == "oneDNN"
        and not transformed()
        and all(each.dtype == torch.float32 and each.device.type == "cpu" and each.numel() > 0 for each in matrices)
    )


def product(a: Float[Tensor, "rows inner"], b: Float[Tensor, "inner columns"]) -> Float[Tensor, "rows columns"]:
    """a b, of which autograd learns nothing. Strides of the result are those of its fastest way."""
    if not by_onednn(a, b):
        return a @ b
    if a.stride(0) == 1 and len(a) > 1:  # a weight's gradient: the other way around is half as fast again
        return _onednn(b.mT, a).mT
    return _onednn(a, b.mT)


def zeros_for_gradient(weight: Float[Tensor, "out inner"]) -> Float[Tensor, "out inner"]:
    """Zeros to which `add_product` adds a weight's gradient, with the strides that are fastest for it."""
    return weight.new_zeros(weight.shape[::-1]).mT if by_onednn(weight) else torch.zeros_like(weight)


def add_product(total: Float[Tensor, "a c"], a: Float[Tensor, "a b"], b: Float[Tensor, "b c"]) -> None:
    """total += a b, in place. A total of more precision than a and b takes their product rounded."""
    if total.dtype != a.dtype or by_onednn(a, b):
        total += product(a, b)
    else:
        total.addmm_(a, b)


def linear(
    x: Float[Tensor, "*batch inner"], weight: Float[Tensor, "out inner"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "*batch out"]:
    """`torch.nn.functional.linear`, with its gradients. `torch.compile` makes products of its own of it."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type) or not by_onednn(x, weight):
        return F.linear(x, weight, bias)
    apply: Callable[..., Any] = _Linear.apply
    return apply(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """[*batch in_features] to [*batch out_features]."""
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable  # a second derivative is refused, not zero
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad  # type: ignore[attr-defined]
        (grad,) = grads
        flat = grad.reshape(-1, grad.shape[-1])
        return (
            _onednn(grad, weight.mT) if needs_x and not transformed() else grad @ weight if needs_x else None,
            product(flat.mT, x.reshape(-1, x.shape[-1])) if needs_weight else None,
            flat.sum(0) if needs_bias else None,
        )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
