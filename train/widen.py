"""Widen an MLP: copy each of its neurons k times so that the function stays, then add noise."""

import copy
import hashlib
import math

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor

from train.activations import ACTIVATIONS
from train.config import ModelConfig, WidenPlan
from train.configfile import validate
from train.errors import BadInput, PolysemError
from train.lineage import Lineage, Receipt
from train.loss import NextTokenLoss
from train.model import Transformer

__all__ = ["Lineage", "Receipt", "WidenPlan", "measure", "widen", "widened_config"]

EXACT_TOLERANCE = 1e-5
"""Largest relative L2 error of logits in fp32 that a scheme which promises exactness may have."""

RECEIPT_ROWS = 8


def widened_config(config: ModelConfig, plan: WidenPlan) -> ModelConfig:
    """The config after widening: widths times k, and solu_ln's epsilon over k^2, in the plan's layers.

    Raises:
        BadInput: a layer that is not there, or a width beyond what a model may have.
    """
    for layer in plan.layers:
        if not 0 <= layer < config.n_layers:
            raise BadInput(f"widen.layers: layer {layer} is not there; the model has layers 0 to {config.n_layers - 1}")
    k = plan.factor
    widths, eps = list(config.widths), list(config.mlp_ln_eps)
    for layer in plan.layers:
        widths[layer] *= k
        if ACTIVATIONS[config.act].eps_over_k2:
            eps[layer] /= k**2
    values = config.model_dump() | {"widths": tuple(widths), "mlp_ln_eps": tuple(eps)}
    return validate(ModelConfig, values, "widen")


def widen(
    model: Transformer, plan: WidenPlan, rows: Int[Tensor, "batch pos_and_one"] | None = None
) -> tuple[Transformer, Lineage]:
    """Copy each neuron of the plan's layers `factor` times by its activation's exact rule, then add noise.

    Child c x d_mlp + n is copy c of neuron n: W_in column, b_in and mid-LayerNorm weight and bias are the
    parent's, b_out stays; W_out and epsilon follow `train.activations`. Noise, with sigma relative to the
    root mean square of the child's own weights after copying:

    - `none`: the control; siblings receive equal gradients and never part.
    - `zero_sum`: Gaussian noise on W_out whose sum over siblings is zero, so the function stays exact.
    - `w_in`: Gaussian noise on W_in; not exact, the receipt says by how much.

    Args:
        model: left as it is.
        plan: layers, factor, noise, sigma, seed.
        rows: token rows for the receipt; seeded random tokens where none are given.

    Returns:
        The widened model and its lineage, with a receipt in fp32 and fp64.

    Raises:
        BadInput: a layer that is not there.
        PolysemError: a scheme that promises exactness missed 1e-5 in fp32 (a defect, or weights too large for it).
    """
    config = widened_config(model.config, plan)
    wide = Transformer(config, seed=None)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    parents: dict[int, Int[np.ndarray, " d_mlp"]] = {}
    for layer in plan.layers:
        _copy_neurons(state, f"layers.{layer}.mlp", plan.factor, ACTIVATIONS[config.act].w_out_over_k)
        _add_noise(state, layer, plan)
        parents[layer] = np.tile(np.arange(model.config.widths[layer], dtype=np.int32), plan.factor)
    wide.to(model.head.weight.dtype).load_state_dict(state, strict=True)
    wide.train(model.training)
    receipt = measure(model, wide, plan, rows)
    if receipt.exact_promised and not receipt.logits_relative_l2["fp32"] <= EXACT_TOLERANCE:
        raise PolysemError(f"widening was to be exact and is not ({receipt.line()}); refused")
    return wide, Lineage(plan=plan, parents=parents, receipt=receipt)


def _copy_neurons(state: dict[str, Tensor], mlp: str, k: int, w_out_over_k: bool) -> None:
    for name in ("fc_in.weight", "fc_in.bias", "ln.weight", "ln.bias"):
        key = f"{mlp}.{name}"
        if key in state:
            state[key] = repeat(state[key], "n ... -> (k n) ...", k=k)
    w_out = repeat(state[f"{mlp}.fc_out.weight"], "d n -> d (k n)", k=k)
    state[f"{mlp}.fc_out.weight"] = w_out / k if w_out_over_k else w_out


def _add_noise(state: dict[str, Tensor], layer: int, plan: WidenPlan) -> None:
    if plan.noise == "none" or plan.sigma == 0 or plan.factor == 1:
        return
    key = f"layers.{layer}.mlp.{'fc_out' if plan.noise == 'zero_sum' else 'fc_in'}.weight"
    weight = state[key]
    digest = hashlib.sha256(f"widen/{plan.seed}/{key}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    # fp64, so that the noise of siblings sums to zero far below fp32's resolution.
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    if plan.noise == "zero_sum":
        k = plan.factor
        siblings = noise.unflatten(1, (k, -1))
        # Centring k draws shrinks their variance by (k - 1) / k; the factor restores sigma.
        siblings = (siblings - siblings.mean(1, keepdim=True)) * math.sqrt(k / (k - 1))
        noise = siblings.flatten(1, 2) * weight.double().square().mean(0, keepdim=True).sqrt()
    else:
        noise = noise * weight.double().square().mean(1, keepdim=True).sqrt()
    state[key] = (weight.double() + plan.sigma * noise).to(weight.dtype)


@torch.no_grad()
def measure(
    parent: Transformer,
    wide: Transformer,
    plan: WidenPlan,
    rows: Int[Tensor, "batch pos_and_one"] | None = None,
) -> Receipt:
    """Compare a widened model with its parent on `rows`, in fp32 and fp64."""
    what = "evaluation rows"
    if rows is None:
        what = "seeded random tokens"
        generator = torch.Generator().manual_seed(plan.seed)
        shape = (RECEIPT_ROWS, min(parent.config.n_ctx, 256) + 1)
        rows = torch.randint(0, parent.config.d_vocab, shape, generator=generator)
    l2: dict[str, float] = {}
    worst: dict[str, float] = {}
    losses: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for name, dtype in (("fp32", torch.float32), ("fp64", torch.float64)):
        pair = [copy.deepcopy(model).to(dtype) for model in (parent, wide)]
        difference = reference = largest = 0.0
        for row in rows.split(1):  # one row at a time bounds the memory of a 100 x layer in fp64
            old, new = (model(row[:, :-1]) for model in pair)
            difference += float((new - old).square().sum())
            reference += float(old.square().sum())
            largest = max(largest, float((new - old).abs().max()))
        l2[name], worst[name] = math.sqrt(difference / reference), largest
        for model, loss in zip(pair, losses, strict=True):
            loss[name] = float(_mean_loss(model, rows))
    return Receipt(
        rows=f"{len(rows)} {what}",
        n_tokens=rows[:, 1:].numel(),
        exact_promised=plan.noise != "w_in" or plan.sigma == 0 or plan.factor == 1,
        logits_relative_l2=l2,
        logits_max_error=worst,
        loss_parent=losses[0],
        loss_widened=losses[1],
    )


def _mean_loss(model: Transformer, rows: Int[Tensor, "batch pos_and_one"]) -> Float[Tensor, ""]:
    loss = NextTokenLoss(model)
    return torch.stack([loss(row) for row in rows.split(1)]).mean()
