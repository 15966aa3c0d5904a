"""Changes to a forward pass of our own model: ablation, projection, patching, a frozen LayerNorm scale.

    from analyze.interventions import losses, mean_ablation
    change = mean_ablation(layer=0, neurons=[3, 17], means=means)
    losses(model, rows, [change])          # nats at every position, [row pos]

Equal to TransformerLens hooks on `to_bridge(model)`, which a test holds; they work on wide models and inside `torch`
code without a copy of the model.
"""

from analyze.interventions.ablation import head_ablation, mean_ablation, resample_ablation, zero_ablation
from analyze.interventions.base import Change, Site, changed, losses, read_site
from analyze.interventions.frozen_scale import frozen_scale
from analyze.interventions.patching import patch, patch_subspace
from analyze.interventions.projection import keep_subspace, remove_subspace

__all__ = [
    "Change",
    "Site",
    "changed",
    "frozen_scale",
    "head_ablation",
    "keep_subspace",
    "losses",
    "mean_ablation",
    "patch",
    "patch_subspace",
    "read_site",
    "remove_subspace",
    "resample_ablation",
    "zero_ablation",
]
