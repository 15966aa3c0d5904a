"""The activations: each one's function, and everything else that differs between them. A new one is an entry here."""

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
    """One kind of MLP neuron: what it computes, what it costs, and how its neurons are copied.

    Widening gives all k copies their parent's W_in column, b_in and mid-LayerNorm weight and bias. To keep the
    layer's function, it divides W_out by k where `w_out_over_k`, and the mid LayerNorm's epsilon by k^2 where
    `eps_over_k2`:

    - relu and the gelus act on each neuron alone, so k copies sum to k times the old output: W_out / k.
      A mid LayerNorm (gelu_ln) sees the same mean and variance, so its epsilon stays.
    - solu's softmax runs over k times as many neurons and returns a / k: W_out stays.
    - solu_ln: a / k enters the LayerNorm, (a - m) / sqrt(v + k^2 eps'), which is the old value at
      eps' = eps / k^2; then k copies sum: W_out / k.
    """

    name: str
    function: Callable[[Hidden], Hidden]
    lens_name: str
    """The activation of TransformerLens' native model that has the same parameters; the bridge gets our function."""
    elementwise: bool = True
    """Whether a neuron's value depends on its own pre-activation alone; else a softmax over the layer couples them."""
    mid_ln: bool = False
    """Whether a LayerNorm over the layer's neurons stands between the activation and W_out."""
    w_out_over_k: bool = True
    eps_over_k2: bool = False
    values_held: int = 3
    """Values a token and neuron that the training of one layer holds at its peak, rounded up: with 25,600 neurons and
    512 and 2,048 tokens it held 2.8 to 3.0 for relu and the gelus, 3.8 for gelu_ln, 4.8 for solu and solu_ln."""
    values_saved: int = 2
    """How many of these are kept from the forward to the backward pass, those of all layers together."""
    gpu_bytes: tuple[int, int] | None = None
    """Bytes saved and held a token and neuron by a GPU's autocast, whose softmax and LayerNorm compute in fp32; by the
    kernels that autograd runs, not measured. None: 2 bytes a value."""

    @property
    def neurons_are_alone(self) -> bool:
        """Whether what one neuron writes depends on no other, so that silent new neurons change nothing."""
        return self.elementwise and not self.mid_ln

    def mid_ln_eps(self, d_model: int, d_mlp: int) -> float:
        """Default epsilon of the mid LayerNorm: 1e-5, times (4 d_model / d_mlp)^2 where copying divides it by k^2.

        SoLU's output falls as 1 / d_mlp, so at 100 x d_model a fixed 1e-5 would swallow the signal and a wide SoLU
        model would test epsilon rather than width.
        """
        return 1e-5 * (4 * d_model / d_mlp) ** 2 if self.eps_over_k2 else 1e-5


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("relu", F.relu, "relu", values_saved=1),
        Activation("gelu", F.gelu, "gelu"),
        Activation("gelu_new", gelu_tanh, "gelu_new"),
        Activation("gelu_ln", gelu_tanh, "solu_ln", mid_ln=True, values_held=4, values_saved=3, gpu_bytes=(8, 16)),
        Activation(
            "solu",
            solu,
            "solu",
            elementwise=False,
            w_out_over_k=False,
            values_held=5,
            values_saved=3,
            gpu_bytes=(8, 20),
        ),
        Activation(
            "solu_ln",
            solu,
            "solu_ln",
            elementwise=False,
            mid_ln=True,
            eps_over_k2=True,
            values_held=5,
            values_saved=4,
            gpu_bytes=(12, 22),
        ),
    )
}
"""By the name that a RUN.toml gives: `gelu` is the erf form, `gelu_new` the tanh form of GPT-2, `_ln` adds the mid
LayerNorm."""
