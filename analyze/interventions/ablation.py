"""Take neurons or heads away: set them to zero, to their mean, or to what they are on other text."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.interventions.base import Change

Indices = Sequence[int] | Tensor


def zero_ablation(layer: int, neurons: Indices) -> Change:
    """Neurons as they enter W_out become 0. It leaves the distribution that the model knows; prefer the mean."""
    index = _index(neurons)
    return Change(layer, "post", lambda values: _with(values, index, values.new_zeros(len(index))))


def mean_ablation(layer: int, neurons: Indices, means: Float[Tensor, " d_mlp"]) -> Change:
    """Neurons as they enter W_out become their mean.

    Args:
        means: of every neuron of the layer, over text, at `post`.
    """
    index = _index(neurons)
    return Change(layer, "post", lambda values: _with(values, index, means[index].to(values)))


def resample_ablation(layer: int, neurons: Indices, donors: Float[Tensor, "batch pos d_mlp"]) -> Change:
    """Neurons as they enter W_out become what they are on other rows of the same shape."""
    index = _index(neurons)
    return Change(layer, "post", lambda values: _with(values, index, donors[: len(values), :, index].to(values)))


def head_ablation(layer: int, heads: Indices, means: Float[Tensor, "head d_head"] | None = None) -> Change:
    """What heads gather becomes their mean over text, or 0 where no mean is given."""
    index = _index(heads)

    def edit(z: Tensor) -> Tensor:
        z = z.clone()
        z[:, :, index] = 0.0 if means is None else means[index].to(z)
        return z

    return Change(layer, "z", edit)


def _index(chosen: Indices) -> Tensor:
    return torch.as_tensor(chosen, dtype=torch.long)


def _with(values: Tensor, index: Tensor, replacement: Tensor) -> Tensor:
    values = values.clone()
    values[..., index] = replacement
    return values
