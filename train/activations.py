"""The six activations: the function, whether a LayerNorm follows it, and the rule for copying its neurons."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Hidden = Float[Tensor, "*batch d_mlp"]


def solu(x: Hidden) -> Hidden:
    """Softmax linear unit, x * softmax(x) over the layer's neurons (Elhage et al. 2022, "Softmax Linear Units")."""
    return x * F.softmax(x, dim=-1)


def gelu_tanh(x: Hidden) -> Hidden:
    """GELU's tanh approximation, as in GPT-2 and the field's small models."""
    return F.gelu(x, approximate="tanh")


@dataclass(frozen=True)
class Activation:
    """One kind of MLP neuron, and what k equal copies of every neuron in the layer do to it.

    All copies take their parent's W_in column, b_in and mid-LayerNorm weight and bias. To keep the layer's
    function, W_out is divided by k where `w_out_over_k`, and the mid LayerNorm's epsilon by k^2 where
    `eps_over_k2`:

    - relu and the gelus act on each neuron alone, so k copies sum to k times the old output: W_out / k.
      A mid LayerNorm (gelu_ln) sees the same mean and variance, so its epsilon stays.
    - solu's softmax runs over k times as many neurons and returns a / k: W_out stays.
    - solu_ln: a / k enters the LayerNorm, (a - m) / sqrt(v + k^2 eps'), which is the old value at
      eps' = eps / k^2; then k copies sum: W_out / k.
    """

    name: str
    function: Callable[[Hidden], Hidden]
    mid_ln: bool
    w_out_over_k: bool
    eps_over_k2: bool


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("relu", F.relu, mid_ln=False, w_out_over_k=True, eps_over_k2=False),
        Activation("gelu", F.gelu, mid_ln=False, w_out_over_k=True, eps_over_k2=False),
        Activation("gelu_new", gelu_tanh, mid_ln=False, w_out_over_k=True, eps_over_k2=False),
        Activation("gelu_ln", gelu_tanh, mid_ln=True, w_out_over_k=True, eps_over_k2=False),
        Activation("solu", solu, mid_ln=False, w_out_over_k=False, eps_over_k2=False),
        Activation("solu_ln", solu, mid_ln=True, w_out_over_k=True, eps_over_k2=True),
    )
}
