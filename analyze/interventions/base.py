"""Where a forward pass can be read and changed, and how a change is put in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.errors import BadInput
from train.model import Transformer

Site = Literal["resid_pre", "attn_input", "z", "attn_out", "mlp_input", "pre", "post", "mlp_out", "resid_final"]
"""resid_pre: the residual stream before a layer. attn_input, mlp_input: what attention and MLP read, after their
LayerNorm. z: what each head gathers, [batch pos head d_head]. attn_out, mlp_out: what they write. pre, post: neurons of
the MLP before the activation, and as they enter W_out. resid_final: the residual stream before the last LayerNorm (its
layer is the number of layers)."""

Values = Float[Tensor, "batch pos *width"]


@dataclass(frozen=True)
class Change:
    """An edit of what stands at one site."""

    layer: int
    site: Site
    edit: Callable[[Tensor], Tensor]
    """Values at the site, [batch pos width] (z: [batch pos head d_head]), to what stands there instead."""


def _module(model: Transformer, layer: int, site: Site) -> tuple[nn.Module, bool]:
    """The module at whose input (True) or output (False) a site stands.

    Raises:
        BadInput: a layer or a site that the model does not have.
    """
    if site == "resid_final":
        if layer != model.config.n_layers:
            raise BadInput(f"resid_final: stands after layer {model.config.n_layers - 1}; its layer is the next number")
        return model.ln_out, True
    if not 0 <= layer < model.config.n_layers:
        raise BadInput(f"layer {layer}: not there; this model has layers 0 to {model.config.n_layers - 1}")
    block = model.block(layer)
    if site in ("mlp_input", "pre", "post", "mlp_out"):
        mlp = model.mlp(layer)
        return {
            "mlp_input": (mlp, True),
            "pre": (mlp.fc_in, False),
            "post": (mlp.fc_out, True),
            "mlp_out": (mlp, False),
        }[site]
    return {
        "resid_pre": (block, True),
        "attn_input": (block.attn, True),
        "z": (block.attn.o, True),
        "attn_out": (block.attn, False),
    }[site]


@contextmanager
def changed(model: Transformer, changes: Sequence[Change]) -> Iterator[None]:
    """Inside the block every forward pass of the model is changed; changes of one site apply in order.

    Raises:
        BadInput: a layer or a site that the model does not have.
    """
    with ExitStack() as stack:
        for change in changes:
            module, at_input = _module(model, change.layer, change.site)
            heads = model.config.n_heads if change.site == "z" else None
            if at_input:
                handle = module.register_forward_pre_hook(_before(change.edit, heads))
            else:
                handle = module.register_forward_hook(_after(change.edit))
            stack.callback(handle.remove)
        yield


def _before(edit: Callable[[Tensor], Tensor], heads: int | None) -> Callable:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_edited(edit, inputs[0], heads), *inputs[1:])

    return hook


def _after(edit: Callable[[Tensor], Tensor]) -> Callable:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return edit(output)

    return hook


def _edited(edit: Callable[[Tensor], Tensor], values: Tensor, heads: int | None) -> Tensor:
    if heads is None:
        return edit(values)
    split = rearrange(values, "b p (h d) -> b p h d", h=heads)
    return rearrange(edit(split), "b p h d -> b p (h d)")


class _Enough(Exception):
    """The forward pass has come as far as it was needed."""


@torch.no_grad()
def read_site(model: Transformer, tokens: Int[Tensor, "batch pos"], layer: int, site: Site) -> Tensor:
    """What stands at a site, [batch pos width] (z: [batch pos head d_head]); the pass stops there.

    Raises:
        BadInput: a layer or a site that the model does not have.
    """
    seen: list[Tensor] = []

    def keep(values: Tensor) -> Tensor:
        seen.append(values.detach().clone())
        raise _Enough

    with changed(model, [Change(layer, site, keep)]), suppress(_Enough):
        model.final_residual(tokens)
    return seen[0]


@torch.no_grad()
def losses(
    model: Transformer, rows: Int[Tensor, "row pos"], changes: Sequence[Change] = (), batch: int = 16
) -> Float[Tensor, "row target"]:
    """The next-token loss at every position, in nats, [row pos - 1], with changes in place.

    A change that is made for the whole of `rows` (resampled or patched values) must come in one batch.
    """
    found = []
    with changed(model, changes):
        for chunk in rows.split(batch):
            logits = model(chunk[:, :-1])
            each = F.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten(), reduction="none")
            found.append(each.view(len(chunk), -1))
    return torch.cat(found)
