"""Adam's moments of a model, made into those of its widened child."""

import torch
from einops import repeat
from torch import Tensor

from train.activations import ACTIVATIONS
from train.config import WidenPlan

NEURON_AXIS = {"fc_in.weight": 0, "fc_in.bias": 0, "ln.weight": 0, "ln.bias": 0, "fc_out.weight": 1}
"""Which axis of an MLP's parameter runs over neurons; b_out has none."""

SIZE_OF_GRADIENT = {"exp_avg": 1, "exp_avg_sq": 2}
"""The power of the gradient that a moment grows with."""


def transplanted(moments: dict[str, Tensor], plan: WidenPlan, act: str, n_layers: int) -> dict[str, Tensor]:
    """The moments that the widened copy would have gathered, from those of the narrow model.

    With an equal split and no noise, the gradient of W_in, b_in and the mid LayerNorm is a k-th of the parent's in each
    of k copies, so their first moment is m / k and their second v / k^2; W_out's gradient is the parent's, but a k-th
    of it under plain solu, whose activations are divided and not W_out. With Dirichlet shares or noise this is the
    average over siblings, no more. Fresh neurons have gathered nothing: theirs are 0.

    Args:
        moments: `<parameter>/exp_avg`, `/exp_avg_sq` and `/step` by parameter name, as a checkpoint holds them.
        plan: of the widening.
        act: activation of the model.
        n_layers: of the model.
    """
    axes = {
        f"layers.{layer}.mlp.{name}": (axis, name)
        for layer in plan.layers_in(n_layers)
        for name, axis in NEURON_AXIS.items()
    }
    moved: dict[str, Tensor] = {}
    for key, value in moments.items():
        parameter, moment = key.rsplit("/", 1)
        if parameter not in axes or moment not in SIZE_OF_GRADIENT:
            moved[key] = value
            continue
        axis, name = axes[parameter]
        if plan.copies == "fresh":
            silent = torch.zeros_like(value).repeat_interleave(plan.factor - 1, axis)
            moved[key] = torch.cat((value, silent), axis)
            continue
        divided = name != "fc_out.weight" or not ACTIVATIONS[act].w_out_over_k
        pattern = "n ... -> (k n) ..." if axis == 0 else "d n -> d (k n)"
        copied = repeat(value, pattern, k=plan.factor)
        moved[key] = copied / plan.factor ** SIZE_OF_GRADIENT[moment] if divided else copied
    return moved
