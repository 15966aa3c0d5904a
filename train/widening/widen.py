"""Widen MLPs of a transformer, and measure how well the function is kept."""

import copy
import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from train.config import ModelConfig, WidenPlan
from train.configfile import validate
from train.errors import BadInput, PolysemError
from train.lineage import Lineage, Receipt
from train.loss import NextTokenLoss
from train.model import Transformer
from train.widening.schemes import MLPWeights, parents_of, require_lone_neurons, widen_mlp

EXACT_TOLERANCE = 1e-5
"""Largest relative L2 error of logits in fp32 of a scheme that promises exactness."""

LARGE_SIGMA = 10.0
"""Up to it, rounding of zero-sum noise stays below a tenth of the tolerance."""

RECEIPT_ROWS = 8

PARAMETERS = {
    "w_in": "fc_in.weight",
    "w_out": "fc_out.weight",
    "b_in": "fc_in.bias",
    "ln_weight": "ln.weight",
    "ln_bias": "ln.bias",
}
"""Field of MLPWeights -> parameter of an MLP; those of the LayerNorm where there is one."""


def widened_config(config: ModelConfig, plan: WidenPlan) -> ModelConfig:
    """The config after widening: widths times k, and solu_ln's epsilon over k^2, in the plan's layers.

    Raises:
        BadInput: a layer that is not there, a width beyond what a model may have, or fresh neurons where they would
            change what the others write.
    """
    k = plan.factor
    if not config.has_mlp:
        raise BadInput("widen: act = 'none': this model is attention-only, it has no MLPs to widen")
    if plan.copies == "fresh":
        require_lone_neurons(config.act)
    widths, eps = list(config.widths), list(config.mlp_ln_eps)
    for layer in plan.layers_in(config.n_layers):
        widths[layer] *= k
        if config.activation.eps_over_k2:
            eps[layer] /= k**2
    values = config.model_dump() | {"widths": tuple(widths), "mlp_ln_eps": tuple(eps)}
    return validate(ModelConfig, values, "widen")


def widen(
    model: Transformer, plan: WidenPlan, rows: Int[Tensor, "batch pos_and_one"] | None = None
) -> tuple[Transformer, Lineage]:
    """Widen MLPs as the plan says: copies by the activation's exact rule, shares, noise; or fresh neurons.

    Child c x d_mlp + n is copy c of neuron n; `train.widening.schemes` says what happens to the tensors. b_out and
    everything outside the plan's layers stay bit-identical.

    Args:
        model: not changed.
        plan: layers, factor, copies, split, noise, sigma, seed.
        rows: token rows for the receipt; default: seeded random tokens.

    Returns:
        The widened model and its lineage, with a receipt in fp32 and fp64.

    Raises:
        BadInput: a layer that is not there, fresh neurons where they would change what the others write, or noise so
            large that fp32 cannot cancel it.
        PolysemError: a scheme that promises exactness is not exact: a defect.
    """
    config = widened_config(model.config, plan)
    plan = plan.model_copy(update={"layers": plan.layers_in(config.n_layers)})
    wide = Transformer(config, seed=None)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    parents: dict[int, Int[np.ndarray, " d_mlp"]] = {}
    noisy = "fc_in" if plan.noise in ("w_in", "antithetic") else "fc_out"
    for layer in plan.layers_in(config.n_layers):
        prefix, noise = f"widen/{plan.seed}/layers.{layer}.mlp.", f"{noisy}.weight"
        widened = widen_mlp(weights_of(model, layer), config.act, plan, prefix, noise)
        tensors = {key: getattr(widened, name) for name, key in PARAMETERS.items()}
        state |= {f"layers.{layer}.mlp.{key}": value for key, value in tensors.items() if value is not None}
        parents[layer] = parents_of(model.config.widths[layer], plan.factor, plan.copies)
    wide.to(model.head.weight.dtype).load_state_dict(state, strict=True)
    wide.train(model.training)
    receipt = measure(model, wide, plan, rows)
    if receipt.exact_promised and not receipt.logits_relative_l2["fp32"] <= EXACT_TOLERANCE:
        if plan.noise == "zero_sum" and plan.sigma > LARGE_SIGMA:
            raise BadInput(f"widen.sigma: {plan.sigma} is too large for fp32 to cancel ({receipt.line()}); lower it")
        raise PolysemError(f"widening was to be exact and is not ({receipt.line()}); refused")
    return wide, Lineage(plan=plan, parents=parents, receipt=receipt)


def weights_of(model: Transformer, layer: int) -> MLPWeights:
    """The tensors of a layer's MLP that widening changes, not copied."""
    mlp = model.mlp(layer)
    parameters = dict(mlp.named_parameters())
    tensors = {name: parameters[key].detach() for name, key in PARAMETERS.items() if key in parameters}
    return MLPWeights(**tensors, ln_eps=None if mlp.ln is None else mlp.ln.eps)


@torch.no_grad()
def measure(
    parent: Transformer, wide: Transformer, plan: WidenPlan, rows: Int[Tensor, "batch pos_and_one"] | None = None
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
        exact_promised=plan.keeps_the_function,
        logits_relative_l2=l2,
        logits_max_error=worst,
        loss_parent=losses[0],
        loss_widened=losses[1],
    )


def _mean_loss(model: Transformer, rows: Int[Tensor, "batch pos_and_one"]) -> Float[Tensor, ""]:
    loss = NextTokenLoss(model)
    return torch.stack([loss(row) for row in rows.split(1)]).mean()
