"""T5 a layer at a time: the arithmetic of one layer on its own weights, so that only these are in memory.

Raffel et al., "Exploring the Limits of Transfer Learning" (2020): RMS norms before each part, no biases, no scaling of
attention scores, and a bias for each head by the distance of two tokens, learned in a stack's first layer and used in
all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from analyze.models.weight_files import RandomWeights, Weights

Residual = Float[Tensor, "batch pos d_model"]


@dataclass(frozen=True)
class Shape:
    """What the arithmetic needs of a T5's config."""

    d_model: int
    d_kv: int
    d_ff: int
    n_heads: int
    n_layers: dict[str, int]
    """By stack."""
    d_vocab: int
    buckets: int
    max_distance: int
    eps: float
    gated: bool
    act: str

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """Of transformers' config."""
        return cls(
            config.d_model,
            config.d_kv,
            config.d_ff,
            config.num_heads,
            {"encoder": config.num_layers, "decoder": config.num_decoder_layers},
            config.vocab_size,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
            config.layer_norm_epsilon,
            bool(config.is_gated_act),
            config.dense_act_fn,
        )

    @property
    def attention_shapes(self) -> dict[str, tuple[int, int]]:
        """Of the four matrices of an attention."""
        inner = self.n_heads * self.d_kv
        return {"q": (inner, self.d_model), "k": (inner, self.d_model), "v": (inner, self.d_model),
                "o": (self.d_model, inner)}  # fmt: skip

    @property
    def mlp_shapes(self) -> dict[str, tuple[int, int]]:
        """Of the matrices of an MLP."""
        into = ("wi_0", "wi_1") if self.gated else ("wi",)
        return {**dict.fromkeys(into, (self.d_ff, self.d_model)), "wo": (self.d_model, self.d_ff)}

    def layer_bytes(self, stack: str) -> int:
        """fp32 weights of one layer."""
        attention = sum(a * b for a, b in self.attention_shapes.values()) * (2 if stack == "decoder" else 1)
        return 4 * (attention + sum(a * b for a, b in self.mlp_shapes.values()))


def norm(x: Residual, weight: Tensor, eps: float) -> Residual:
    """Divided by the root mean square, times a weight."""
    return weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


def distance_buckets(n_query: int, n_key: int, both_sides: bool, buckets: int, far: int) -> Int[Tensor, "query key"]:
    """Which learned bias each pair of positions takes: near distances one each, far ones on a log scale up to `far`."""
    distance = torch.arange(n_key)[None] - torch.arange(n_query)[:, None]
    first = torch.zeros_like(distance)
    if both_sides:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    scaled = torch.log(distance.clamp(min=1).float() / exact) / math.log(far / exact) * (buckets - exact)
    logarithmic = (exact + scaled.long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, logarithmic)


@dataclass(frozen=True)
class Attention:
    """The weights of one attention and the norm before it."""

    norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor

    def write(self, x: Residual, source: Residual | None, bias: Tensor, shape: Shape) -> Residual:
        """What it adds to the residual stream; keys and values of `source`, by default of the same tokens."""
        read = norm(x, self.norm, shape.eps)
        source = read if source is None else source
        q, k, v = (
            rearrange(F.linear(each, weight), "b p (h e) -> b h p e", h=shape.n_heads)
            for each, weight in ((read, self.q), (source, self.k), (source, self.v))
        )
        z = torch.softmax(q @ k.transpose(-1, -2) + bias, dim=-1) @ v
        return F.linear(rearrange(z, "b h p e -> b p (h e)"), self.o)


@dataclass(frozen=True)
class Neurons:
    """The part of an MLP that makes its neurons, and the norm before it."""

    norm: Tensor
    up: Tensor
    gate: Tensor | None
    """The matrix that the activation reads, in a gated MLP."""
    act: Callable[[Tensor], Tensor]
    eps: float

    def read(self, x: Residual) -> Residual:
        """What W_in reads."""
        return norm(x, self.norm, self.eps)

    def values(self, read: Tensor, hook: str = "mid") -> Tensor:
        """What enters W_out; at "gatepos" and "gateneg" the values where the gate is positive, or not, else 0."""
        up = F.linear(read, self.up)
        if self.gate is None:
            return self.act(up)
        gate = F.linear(read, self.gate)
        values = self.act(gate) * up
        if hook == "mid":
            return values
        return torch.where((gate > 0) == (hook == "gatepos"), values, 0.0)


class LayerReader:
    """Reads the layers of one stack from weights, one at a time."""

    def __init__(self, weights: Weights, shape: Shape, stack: str) -> None:
        from transformers.activations import ACT2FN

        self.weights, self.shape, self.stack = weights, shape, stack
        self._act = ACT2FN[shape.act]

    def _attention(self, layer: int, part: int, name: str) -> Attention:
        prefix = f"{self.stack}.block.{layer}.layer.{part}."
        own = {key: self.weights.tensor(f"{prefix}{name}.{key}.weight", dimensions)
               for key, dimensions in self.shape.attention_shapes.items()}  # fmt: skip
        return Attention(self.weights.tensor(f"{prefix}layer_norm.weight", (self.shape.d_model,)), **own)

    def self_attention(self, layer: int) -> Attention:
        """A layer's attention among its own tokens."""
        return self._attention(layer, 0, "SelfAttention")

    def cross_attention(self, layer: int) -> Attention:
        """A decoder layer's attention to the encoder's output."""
        return self._attention(layer, 1, "EncDecAttention")

    def neurons(self, layer: int) -> Neurons:
        """A layer's MLP up to its neurons."""
        prefix, shape = self._mlp(layer), self.shape
        matrix = shape.mlp_shapes["wo"][::-1]
        names = ("wi_1", "wi_0") if shape.gated else ("wi", None)
        up, gate = (
            None if name is None else self.weights.tensor(f"{prefix}DenseReluDense.{name}.weight", matrix)
            for name in names
        )
        assert up is not None
        before = self.weights.tensor(f"{prefix}layer_norm.weight", (shape.d_model,))
        return Neurons(before, up, gate, self._act, shape.eps)

    def w_out(self, layer: int) -> Tensor:
        """A layer's W_out, [d_model d_ff]."""
        return self.weights.tensor(f"{self._mlp(layer)}DenseReluDense.wo.weight", self.shape.mlp_shapes["wo"])

    def _mlp(self, layer: int) -> str:
        return f"{self.stack}.block.{layer}.layer.{2 if self.stack == 'decoder' else 1}."

    def final_norm(self) -> Tensor:
        """The weight of the norm behind the last layer."""
        return self.weights.tensor(f"{self.stack}.final_layer_norm.weight", (self.shape.d_model,))

    def bias(self, n_pos: int) -> Float[Tensor, "head pos pos"]:
        """Of each head and pair of positions; -inf where a decoder must not look."""
        shape = self.shape
        name = f"{self.stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        learned = self.weights.tensor(name, (shape.buckets, shape.n_heads))
        both = self.stack == "encoder"
        buckets = distance_buckets(n_pos, n_pos, both, shape.buckets, shape.max_distance)
        bias = rearrange(learned[buckets], "q k h -> h q k")
        ahead = torch.ones(n_pos, n_pos, dtype=torch.bool).triu(1)
        return bias if both else bias.masked_fill(ahead, -torch.inf)


def untrained_weights(shape: Shape, seed: int = 0) -> RandomWeights:
    """T5's own initialisation (transformers' `_init_weights` at factor 1), by (seed, name)."""
    d = shape.d_model**-0.5
    inner = (shape.n_heads * shape.d_kv) ** -0.5
    attention = {"q": (shape.d_model * shape.d_kv) ** -0.5, "k": d, "v": d, "o": inner}
    mlp = {name: shape.d_ff**-0.5 if name == "wo" else d for name in shape.mlp_shapes}
    deviations = {"shared.weight": 1.0}
    for stack, n_layers in shape.n_layers.items():
        deviations[f"{stack}.final_layer_norm.weight"] = 0.0
        deviations[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = d
        for layer in range(n_layers):
            prefix = f"{stack}.block.{layer}.layer."
            names = ["SelfAttention", "EncDecAttention"] if stack == "decoder" else ["SelfAttention"]
            for part, name in enumerate(names):
                deviations |= {f"{prefix}{part}.{name}.{key}.weight": value for key, value in attention.items()}
            part = len(names)
            deviations |= {f"{prefix}{part}.DenseReluDense.{key}.weight": value for key, value in mlp.items()}
            deviations |= {f"{prefix}{each}.layer_norm.weight": 0.0 for each in range(part + 1)}
    return RandomWeights(seed, deviations)
