"""Hold a LayerNorm's scale at one number, so that the layer becomes linear in what it reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.errors import BadInput
from train.model import Transformer

Norm = Literal["ln1", "ln2", "mlp.ln", "ln_out"]


def norm_module(model: Transformer, layer: int | None, norm: Norm) -> nn.LayerNorm:
    """A LayerNorm of the model: before attention, before the MLP, inside it, or the last one (layer None).

    Raises:
        BadInput: one that the model does not have.
    """
    if norm == "ln_out":
        return model.ln_out
    if layer is None or not 0 <= layer < model.config.n_layers:
        raise BadInput(f"{norm}: needs a layer from 0 to {model.config.n_layers - 1}")
    block = model.block(layer)
    if norm == "ln1":
        return block.ln1
    found = block.mlp.ln if norm == "mlp.ln" and model.config.has_mlp else block.ln2 if model.config.has_mlp else None
    if found is None:
        raise BadInput(f"{norm}: layer {layer} of this model has none")
    return found


@torch.no_grad()
def scales(
    model: Transformer, tokens: Int[Tensor, "batch pos"], layer: int | None, norm: Norm
) -> Float[Tensor, "batch pos"]:
    """1 / sqrt(variance + eps) of a LayerNorm at every token, [batch pos]."""
    module, seen = norm_module(model, layer, norm), []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(_scale(inputs[0], module.eps)))
    try:
        model.final_residual(tokens)
    finally:
        handle.remove()
    return seen[0]


@contextmanager
def frozen_scale(model: Transformer, layer: int | None, norm: Norm, scale: float | None = None) -> Iterator[None]:
    """Inside the block a LayerNorm multiplies by one scale instead of each token's own.

    Args:
        scale: that number, such as the mean of `scales`; None: each token's own, which changes nothing.
    """
    module = norm_module(model, layer, norm)

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        factor = _scale(x, module.eps)[..., None] if scale is None else scale
        return (x - x.mean(-1, keepdim=True)) * factor * module.weight + module.bias

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _scale(x: Tensor, eps: float) -> Tensor:
    return (x.var(-1, unbiased=False) + eps).rsqrt()
