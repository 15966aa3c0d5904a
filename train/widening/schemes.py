"""What widening does to the tensors of an MLP: copies, shares, noise, fresh neurons; for transformers and toys.

Every function computes in fp64 and returns the dtype that it was given, and treats each entry of leading axes, such as
a toy's instances, independently. k copies of n neurons stand as [copy 0 of all, copy 1 of all, ...], so that child
c x n + i is copy c of neuron i.
"""

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from train.activations import ACTIVATIONS
from train.config import Copies, Noise, Split, WidenPlan
from train.errors import BadInput
from train.lineage import FRESH


@dataclass(frozen=True)
class MLPWeights:
    """One MLP between its input and its output: W_out LN(f(W_in x + b_in)), the LayerNorm where there is one.

    b_out is left out: no widening changes it.
    """

    w_in: Float[Tensor, "*instance n_hidden n_in"]
    w_out: Float[Tensor, "*instance n_out n_hidden"]
    b_in: Float[Tensor, "*instance n_hidden"] | None = None
    ln_weight: Float[Tensor, "*instance n_hidden"] | None = None
    ln_bias: Float[Tensor, "*instance n_hidden"] | None = None
    ln_eps: float | None = None
    """Epsilon of the mid LayerNorm; None where there is none."""

    @property
    def n_hidden(self) -> int:
        """Number of neurons."""
        return self.w_in.shape[-2]

    def __call__(self, x: Float[Tensor, "*instance sample n_in"], act: str) -> Float[Tensor, "*instance sample n_out"]:
        """What the MLP writes for inputs `x`, without b_out."""
        hidden = x @ self.w_in.mT
        if self.b_in is not None:
            hidden = hidden + self.b_in.unsqueeze(-2)
        hidden = ACTIVATIONS[act].function(hidden)
        if self.ln_eps is not None:
            hidden = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:], eps=self.ln_eps)
            hidden = hidden if self.ln_weight is None else hidden * self.ln_weight.unsqueeze(-2)
            hidden = hidden if self.ln_bias is None else hidden + self.ln_bias.unsqueeze(-2)
        return hidden @ self.w_out.mT


def generator_of(name: str) -> torch.Generator:
    """A generator whose draws depend on `name` alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def parents_of(n_hidden: int, k: int, copies: Copies = "tiled") -> Int[np.ndarray, " n_children"]:
    """The parent of each of k x n_hidden children; FRESH for new neurons."""
    parents = np.tile(np.arange(n_hidden, dtype=np.int32), k)
    if copies == "fresh":
        parents[n_hidden:] = FRESH
    return parents


def widen_mlp(
    mlp: MLPWeights, act: str, plan: WidenPlan, prefix: str, noise: str, deviation: float | None = None
) -> MLPWeights:
    """Widen as a plan says; the generators' names are `prefix` and then "fresh", "shares" or `noise`."""
    if plan.copies == "fresh":
        return fresh_neurons(mlp, act, plan.factor, generator_of(f"{prefix}fresh"), deviation)
    shares = generator_of(f"{prefix}shares")
    wide = copy_neurons(mlp, act, plan.factor, plan.split, plan.concentration, shares)
    return add_noise(wide, plan.factor, plan.noise, plan.sigma, generator_of(f"{prefix}{noise}"))


def copy_neurons(
    mlp: MLPWeights,
    act: str,
    k: int,
    split: Split = "equal",
    concentration: float = 1.0,
    generator: torch.Generator | None = None,
) -> MLPWeights:
    """Copy every neuron k times so that the function stays.

    Children take their parent's W_in, b_in and mid-LayerNorm weight and bias. Child c of neuron n takes
    W_out[n] x alpha[n, c], where the alphas of siblings sum to 1: siblings have equal activations, so any such shares
    keep the sum. Two activations add to that (derived in `train.activations`): plain solu's softmax over k
    times as many neurons already divides by k, so W_out is multiplied by k; solu_ln's LayerNorm undoes that
    division if its epsilon is divided by k^2.

    Args:
        mlp: not changed.
        act: a key of `train.activations.ACTIVATIONS`.
        k: copies of every neuron, at least 1.
        split: `equal` (1 / k each) or `dirichlet`: shares drawn per neuron (random split as in Net2Net, Chen et al.
            2016, section 2.2, made continuous).
        concentration: of the Dirichlet distribution, the same for every sibling.
        generator: of the shares; needed by `dirichlet`.
    """
    rule = ACTIVATIONS[act]
    shares = _shares(mlp, k, split, concentration, generator)
    scale = 1 if rule.w_out_over_k else k
    w_out = mlp.w_out.double().unsqueeze(-2) * (scale * shares).unsqueeze(-3)
    eps = mlp.ln_eps
    return MLPWeights(
        w_in=repeat(mlp.w_in, "... n i -> ... (k n) i", k=k),
        w_out=rearrange(w_out, "... o k n -> ... o (k n)").to(mlp.w_out.dtype),
        b_in=_tiled(mlp.b_in, k),
        ln_weight=_tiled(mlp.ln_weight, k),
        ln_bias=_tiled(mlp.ln_bias, k),
        ln_eps=eps / k**2 if eps is not None and rule.eps_over_k2 else eps,
    )


def _shares(
    mlp: MLPWeights, k: int, split: Split, concentration: float, generator: torch.Generator | None
) -> Float[Tensor, "*instance k n_hidden"]:
    """alpha, fp64: of each neuron's W_out, the share of each of its k copies; sums to 1 over k."""
    instances, n = mlp.w_in.shape[:-2], mlp.n_hidden
    if split == "equal":
        return torch.full((*instances, k, n), 1 / k, dtype=torch.float64, device=mlp.w_in.device)
    if generator is None:
        raise BadInput("split: a Dirichlet split needs a generator")
    # NumPy's sampler is public and takes any concentration; torch's does neither.
    seed = int(torch.randint(2**62, (), generator=generator))
    shares = np.random.default_rng(seed).dirichlet(np.full(k, concentration), size=(*instances, n))
    return rearrange(torch.from_numpy(shares), "... n k -> ... k n").to(mlp.w_in.device)


def _tiled(values: Float[Tensor, "*instance n_hidden"] | None, k: int) -> Float[Tensor, "*instance n_wide"] | None:
    return None if values is None else repeat(values, "... n -> ... (k n)", k=k)


def fresh_neurons(
    mlp: MLPWeights, act: str, k: int, generator: torch.Generator, deviation: float | None = None
) -> MLPWeights:
    """Append (k - 1) x n_hidden new neurons to the old ones: W_in drawn, W_out 0, b_in 0.

    Exact where neurons act alone (relu and the gelus without a mid LayerNorm). The control for copying: the same width
    without the parent's features.

    Args:
        mlp: left as it is.
        act: a key of `train.activations.ACTIVATIONS`.
        k: the width's factor.
        generator: of the new W_in.
        deviation: standard deviation of the new W_in; default 1 / sqrt(n_in), the fan-in rule.

    Raises:
        BadInput: an activation whose neurons do not act alone.
    """
    require_lone_neurons(act)
    *instances, n, n_in = mlp.w_in.shape
    n_new = (k - 1) * n
    drawn = torch.randn((*instances, n_new, n_in), generator=generator, dtype=torch.float64)
    drawn = drawn * (1 / math.sqrt(n_in) if deviation is None else deviation)
    b_in = None if mlp.b_in is None else torch.cat((mlp.b_in, mlp.b_in.new_zeros(*instances, n_new)), -1)
    silent = mlp.w_out.new_zeros(*mlp.w_out.shape[:-1], n_new)
    return replace(
        mlp, w_in=torch.cat((mlp.w_in, drawn.to(mlp.w_in)), -2), w_out=torch.cat((mlp.w_out, silent), -1), b_in=b_in
    )


def require_lone_neurons(act: str) -> None:
    """Refuse fresh neurons where they would change what the others write.

    Raises:
        BadInput: a softmax over the layer's neurons, or a mid LayerNorm.
    """
    activation = ACTIVATIONS[act]
    if activation.neurons_are_alone:
        return
    effect = f"shift the mean and variance of {act}'s mid LayerNorm"
    if not activation.elementwise:
        effect = f"enter {act}'s softmax and shrink all others"
    raise BadInput(f"widen.copies: fresh neurons {effect}; tiled copies are exact")


def add_noise(mlp: MLPWeights, k: int, noise: Noise, sigma: float, generator: torch.Generator) -> MLPWeights:
    """Break the symmetry among siblings.

    Noise is Gaussian; sigma is relative to the root mean square of the child's own weights, W_in or W_out, as they
    stand after copying (under `zero_sum` of the siblings' weights together, which is the same for an equal split).

    - `none`: nothing; siblings of an equal split receive equal gradients and never part.
    - `zero_sum`: on W_out, its sum over siblings is zero: exact.
    - `w_in`: on W_in, independent: not exact.
    - `antithetic`: on W_in in pairs of siblings, +e on one and -e on the other; an odd k leaves the last copy clean.
      Its first order cancels (as in HyperCloning's +-noise, Samragh et al. 2024): nearly exact.
    - `w_out`: on W_out, independent: not exact.

    Args:
        mlp: k copies of every neuron, as `copy_neurons` leaves them; stays as it is.
        k: copies of every neuron; one copy takes no noise.
        noise: one of the above.
        sigma: at least 0.
        generator: of the noise.
    """
    if noise == "none" or sigma == 0 or k == 1:
        return mlp
    on_w_in = noise in ("w_in", "antithetic")
    weight = mlp.w_in if on_w_in else mlp.w_out
    # fp64, so that the noise of siblings sums to zero far below fp32's resolution.
    draws = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)
    if noise == "zero_sum":
        siblings = rearrange(draws, "... o (k n) -> k ... o n", k=k)
        # Centring k draws shrinks their variance by (k - 1) / k; the factor restores sigma.
        siblings = (siblings - siblings.mean(0)) * math.sqrt(k / (k - 1))
        draws = rearrange(siblings, "k ... o n -> ... o (k n)")
    elif noise == "antithetic":
        siblings = rearrange(draws, "... (k n) i -> k ... n i", k=k)
        pairs = k // 2
        clean = torch.zeros_like(siblings[2 * pairs :])
        signed = torch.stack((siblings[:pairs], -siblings[:pairs]), 1).flatten(0, 1)
        draws = rearrange(torch.cat((signed, clean)), "k ... n i -> ... (k n) i")
    size = weight.double().square().mean(-1 if on_w_in else -2, keepdim=True).sqrt()
    if noise == "zero_sum":
        # One size for all siblings, else noise on unequal shares would not sum to zero.
        siblings = rearrange(size, "... 1 (k n) -> k ... 1 n", k=k)
        size = repeat(siblings.square().mean(0).sqrt(), "... 1 n -> ... 1 (k n)", k=k)
    noisy = (weight.double() + sigma * size * draws).to(weight.dtype)
    return replace(mlp, w_in=noisy) if on_w_in else replace(mlp, w_out=noisy)
