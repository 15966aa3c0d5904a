"""A decoder-only transformer: learned positions, pre-LayerNorm, biases, an untied unembedding.

The unembedding has no bias, but where an imported model brings one. Submodules are named as in TransformerLens'
native model, so that opening one there needs no mapping.
"""

import hashlib
import math
from collections.abc import Callable, Collection
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.attention import causal_attention
from train.config import ModelConfig
from train.errors import BadInput
from train.products import Linear, linear, transformed
from train.recompute import Recomputed, tokens_at_once

Hook = Literal["pre", "mid", "post"]
"""Of an MLP neuron: before the activation, after it (before a mid LayerNorm), and what enters W_out."""

EMBEDDING_DEVIATION = {"tok_embed.weight": 0.3, "pos.weight": 0.05}
WRITING_SCALE = 0.3
"""Measured at 0.8 M tokens (gelu_new, d_model 64, rate 6e-3): held-out loss 4.88, against 5.13 with embeddings
of 0.02 and matrices of 1 / fan_in throughout, 5.05 with the larger embeddings alone, 4.94 with 0.1 here."""

Residual = Float[Tensor, "batch pos d_model"]
Neurons = Float[Tensor, "batch pos d_mlp"]


class Attention(nn.Module):
    """Causal multi-head attention."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.n_heads = config.n_heads
        self.q = Linear(config.d_model, config.d_model)
        self.k = Linear(config.d_model, config.d_model)
        self.v = Linear(config.d_model, config.d_model)
        self.o = Linear(config.d_model, config.d_model)

    def forward(self, x: Residual) -> Residual:
        """Mix positions. Shape in and out: [batch pos d_model]."""
        # One product instead of three: copying the small weights costs less than two more passes over x.
        weight = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        bias = torch.cat((self.q.bias, self.k.bias, self.v.bias))
        q, k, v = rearrange(linear(x, weight, bias), "b p (qkv h d) -> qkv b h p d", qkv=3, h=self.n_heads)
        z = causal_attention(q, k, v)
        return self.o(rearrange(z, "b h p d -> b p (h d)"))


class MLP(nn.Module):
    """W_in, the activation, its LayerNorm if it has one, W_out. `fc_in.weight` is [d_mlp d_model].

    After `set_recompute(True)` training never holds the neurons of all tokens: see `train.recompute`.
    """

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        d_mlp = config.widths[layer]
        self._recomputing: Callable[..., tuple[Tensor, Tensor]] | None = None
        self.activation = config.activation
        self.fc_in = Linear(config.d_model, d_mlp)
        self.ln = nn.LayerNorm(d_mlp, eps=config.mlp_ln_eps[layer]) if config.has_mid_ln else None
        self.fc_out = Linear(d_mlp, config.d_model)

    def set_recompute(self, recompute: bool) -> None:
        """Recompute the neurons in the backward pass, a few tokens at a time, or keep them."""
        # torch.compile leaves it out: its backward pass runs a forward pass of its own.
        self._recomputing = torch.compiler.disable(Recomputed.apply) if recompute else None  # type: ignore[assignment]

    def neurons(self, x: Residual, hook: Hook = "post") -> Neurons:
        """The neurons' values at `hook`, [batch pos d_mlp]."""
        pre = self.fc_in(x)
        if hook == "pre":
            return pre
        mid = self.activation.function(pre)
        return mid if hook == "mid" or self.ln is None else self.ln(mid)

    def forward(self, x: Residual) -> Residual:
        """What the layer writes to the residual stream, [batch pos d_model]."""
        return (
            self.fc_out(self.neurons(x))
            if self._recomputing is None or transformed()
            else self._recomputed(x, self._recomputing, with_l1=False)[0]
        )

    def forward_with_l1(self, x: Residual) -> tuple[Residual, Float[Tensor, ""]]:
        """As `forward`, and the mean over tokens of the sum over neurons of |activation| before a mid LayerNorm."""
        if self._recomputing is not None and not transformed():
            written, total = self._recomputed(x, self._recomputing, with_l1=True)
            return written, total / (x.shape[0] * x.shape[1])
        mid = self.neurons(x, "mid")
        post = mid if self.ln is None else self.ln(mid)
        return self.fc_out(post), _l1(mid).mean()

    def _recomputed(
        self, x: Residual, apply: Callable[..., tuple[Tensor, Tensor]], with_l1: bool
    ) -> tuple[Residual, Float[Tensor, ""]]:
        """What the layer writes, and the L1 norms of all tokens added up (0 unless asked for)."""
        norm, activation = self.ln, self.activation.function

        def layer(
            x: Tensor,
            w_in: Tensor,
            b_in: Tensor,
            w_out: Tensor,
            b_out: Tensor,
            ln_weight: Tensor | None = None,
            ln_bias: Tensor | None = None,
        ) -> tuple[Tensor, Tensor]:
            mid = activation(linear(x, w_in, b_in))
            post = mid if norm is None else F.layer_norm(mid, [mid.shape[-1]], ln_weight, ln_bias, norm.eps)
            return linear(post, w_out, b_out), _l1(mid).sum() if with_l1 else x.new_zeros(())

        parameters = (self.fc_in.weight, self.fc_in.bias, self.fc_out.weight, self.fc_out.bias)
        parameters += () if norm is None else (norm.weight, norm.bias)
        at_once = tokens_at_once(len(self.fc_in.weight), x.device.type)
        written, total = apply(layer, at_once, rearrange(x, "b p d -> (b p) d"), *parameters)
        return rearrange(written, "(b p) d -> b p d", b=len(x)), total


def _l1(mid: Neurons | Float[Tensor, "token d_mlp"]) -> Float[Tensor, "*token"]:
    # In autocast's bf16 the sum over many neurons would round.
    return mid.abs().sum(-1, dtype=torch.promote_types(mid.dtype, torch.float32))


class Block(nn.Module):
    """Attention, then an MLP if there are any, each reading a LayerNorm of the residual stream and adding to it."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.has_mlp = config.has_mlp
        if self.has_mlp:
            self.ln2 = nn.LayerNorm(config.d_model)
            self.mlp = MLP(config, layer)

    def forward(self, x: Residual) -> Residual:
        """One layer. Shape in and out: [batch pos d_model]."""
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x)) if self.has_mlp else x


class Transformer(nn.Module):
    """The model. Initial weights are a function of (seed, parameter name) alone.

    So variants that differ in activation share every initial weight, a 2-layer model shares its first layer
    with the 1-layer one, and a wide model shares everything but its MLP. Matrices are normal with variance
    1 / fan_in (the standard rule, for wide MLPs too); those that write (attn.o, fc_out, head) are smaller by
    0.3, so that a token's own embedding (deviation 0.3) leads the residual stream at first and bigrams are
    learned soon. Positions have deviation 0.05, biases are 0, LayerNorm weights 1.

    Args:
        config: shape and activation.
        seed: of the initial weights; None leaves them unset, for weights that are loaded next.
        device: "meta" gives a model without memory, of shapes alone; it takes no seed.
    """

    def __init__(self, config: ModelConfig, seed: int | None = 0, device: str = "cpu"):
        super().__init__()
        self.config = config
        # Built without memory or randomness: initialise() or a loaded state fills every parameter.
        with torch.device("meta"):
            # An nn.Embedding that draws its own weights would import torch._dynamo here: half a second.
            self.tok_embed = nn.Embedding.from_pretrained(torch.empty(config.d_vocab, config.d_model), freeze=False)
            self.pos = nn.Embedding.from_pretrained(torch.empty(config.n_ctx, config.d_model), freeze=False)
            self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
            self.ln_out = nn.LayerNorm(config.d_model)
            self.head = Linear(config.d_model, config.d_vocab, bias=config.unembed_bias)
        if device != "meta":
            # to_empty() would do the same, and import sympy, which takes longer than a small model does.
            self._apply(lambda unset: torch.empty(unset.shape, dtype=unset.dtype, device=device))
        if seed is not None:
            initialise(self, seed)

    def embed(self, tokens: Int[Tensor, "batch pos"]) -> Residual:
        """The residual stream before layer 0, [batch pos d_model].

        Raises:
            BadInput: more positions than n_ctx.
        """
        n_pos = tokens.shape[1]
        if n_pos > self.config.n_ctx:
            raise BadInput(f"tokens: {n_pos} positions where the model has n_ctx = {self.config.n_ctx}")
        return self.tok_embed(tokens) + self.pos.weight[:n_pos]

    def final_residual(self, tokens: Int[Tensor, "batch pos"]) -> Residual:
        """What the unembedding reads: the last residual stream after ln_out, [batch pos d_model]."""
        x = self.embed(tokens)
        for block in self.layers:
            x = block(x)
        return self.ln_out(x)

    def final_residual_with_l1(
        self, tokens: Int[Tensor, "batch pos"], layers: Collection[int]
    ) -> tuple[Residual, Float[Tensor, ""]]:
        """As `final_residual`, and the sum over `layers` of `MLP.forward_with_l1`'s second value."""
        x = self.embed(tokens)
        penalty = x.new_zeros(())
        for layer in range(self.config.n_layers):
            block = self.block(layer)
            if layer not in layers:
                x = block(x)
                continue
            x = x + block.attn(block.ln1(x))
            written, l1 = block.mlp.forward_with_l1(block.ln2(x))
            x, penalty = x + written, penalty + l1
        return self.ln_out(x), penalty

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits of the next token at every position, [batch pos d_vocab]."""
        return self.head(self.final_residual(tokens))

    def residual_mid(self, tokens: Int[Tensor, "batch pos"], layer: int) -> Residual:
        """The residual stream between a layer's attention and its MLP, [batch pos d_model]; the pass stops there.

        Raises:
            BadInput: a layer that is not there.
        """
        if not 0 <= layer < self.config.n_layers:
            raise BadInput(f"layer {layer}: not there; this model has layers 0 to {self.config.n_layers - 1}")
        x = self.embed(tokens)
        for earlier in self.layers[:layer]:
            x = earlier(x)
        block = self.block(layer)
        return x + block.attn(block.ln1(x))

    def mlp_input(self, tokens: Int[Tensor, "batch pos"], layer: int) -> Residual:
        """What a layer's MLP reads: the residual stream after ln2, [batch pos d_model]; the pass stops there.

        Raises:
            BadInput: a layer that is not there, or one without an MLP.
        """
        x = self.residual_mid(tokens, layer)
        self.mlp(layer)
        return self.block(layer).ln2(x)

    def mlp_activations(self, tokens: Int[Tensor, "batch pos"], layer: int, hook: Hook = "post") -> Neurons:
        """Neuron values of one layer, [batch pos d_mlp]; the forward pass stops there.

        Raises:
            BadInput: a layer or hook that is not there.
        """
        if hook not in ("pre", "mid", "post"):
            raise BadInput(f"hook {hook!r}: not there; an MLP has pre, mid, post")
        read = self.mlp_input(tokens, layer)
        return self.mlp(layer).neurons(read, hook)

    def set_recompute(self, recompute: bool) -> None:
        """Have every MLP recompute its neurons in the backward pass, a few tokens at a time, or keep them."""
        for layer in range(self.config.n_layers if self.config.has_mlp else 0):
            self.mlp(layer).set_recompute(recompute)

    def block(self, layer: int) -> Block:
        """One layer, typed."""
        block = self.layers[layer]
        assert isinstance(block, Block)
        return block

    def mlp(self, layer: int) -> MLP:
        """The MLP of a layer, typed.

        Raises:
            BadInput: the model is attention-only.
        """
        if not self.config.has_mlp:
            raise BadInput(f"layer {layer}: act = 'none': this model is attention-only, it has no MLPs")
        return self.block(layer).mlp


@torch.no_grad()
def initialise(model: Transformer, seed: int) -> None:
    """Set every parameter from (seed, its name); see Transformer for the rule."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "ln" in name.split(".")[-2]:
            parameter.fill_(1.0)
        else:
            digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            if name in EMBEDDING_DEVIATION:
                deviation = EMBEDDING_DEVIATION[name]
            else:
                writes = name.endswith(("attn.o.weight", "mlp.fc_out.weight")) or name == "head.weight"
                deviation = (WRITING_SCALE if writes else 1.0) / math.sqrt(parameter.shape[1])
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
