"""A polysem transformer for Hugging Face `transformers`: learned positions, pre-LayerNorm, an untied unembedding.

This file stands alone: `python -m train export --format hf` copies it beside the weights, and
`AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True)` runs it without polysem.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


def solu(x: Tensor) -> Tensor:
    """Softmax linear unit over the layer's neurons (Elhage et al. 2022, "Softmax Linear Units")."""
    return x * F.softmax(x, dim=-1)


def gelu_new(x: Tensor) -> Tensor:
    """GELU's tanh approximation, as in GPT-2."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {
    "relu": F.relu, "gelu": F.gelu, "gelu_new": gelu_new, "gelu_ln": gelu_new, "solu": solu, "solu_ln": solu
}  # fmt: skip
"""By name; those that end in `_ln` have a LayerNorm over the neurons between the activation and the output weights."""


class PolysemConfig(PretrainedConfig):
    """Shape and activation. `widths` and `mlp_ln_eps` have a value for every layer."""

    model_type = "polysem"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "n_ctx",
    }

    def __init__(
        self,
        n_layers: int = 1,
        d_model: int = 64,
        n_heads: int = 4,
        n_ctx: int = 256,
        vocab_size: int = 4096,
        act: str = "gelu_new",
        widths: Any = (256,),
        mlp_ln_eps: Any = (1e-5,),
        unembed_bias: bool = False,
        **others: Any,
    ):
        self.unembed_bias = unembed_bias
        self.n_layers, self.d_model, self.n_heads, self.n_ctx = n_layers, d_model, n_heads, n_ctx
        self.vocab_size, self.act = vocab_size, act
        self.widths, self.mlp_ln_eps = list(widths), list(mlp_ln_eps)
        others = {"tie_word_embeddings": False, "use_cache": False, "bos_token_id": 0, "eos_token_id": 0, **others}
        super().__init__(**others)


class Attention(nn.Module):
    """Causal multi-head attention."""

    def __init__(self, config: PolysemConfig):
        super().__init__()
        self.n_heads = config.n_heads
        self.q = nn.Linear(config.d_model, config.d_model)
        self.k = nn.Linear(config.d_model, config.d_model)
        self.v = nn.Linear(config.d_model, config.d_model)
        self.o = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[batch pos d_model] -> the same; `mask` [batch 1 pos pos] is true where a position may look, None: causal."""
        weight = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        bias = torch.cat((self.q.bias, self.k.bias, self.v.bias))
        batch, n_pos, _ = x.shape
        qkv = F.linear(x, weight, bias).view(batch, n_pos, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        z = F.scaled_dot_product_attention(*qkv, attn_mask=mask, is_causal=mask is None)
        return self.o(z.transpose(1, 2).reshape(batch, n_pos, -1))


class MLP(nn.Module):
    """W_in, the activation, its LayerNorm if it has one, W_out."""

    def __init__(self, config: PolysemConfig, layer: int):
        super().__init__()
        width = config.widths[layer]
        self.activation = ACTIVATIONS[config.act]
        self.fc_in = nn.Linear(config.d_model, width)
        self.ln = nn.LayerNorm(width, eps=config.mlp_ln_eps[layer]) if config.act.endswith("_ln") else None
        self.fc_out = nn.Linear(width, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[batch pos d_model] -> the same."""
        neurons = self.activation(self.fc_in(x))
        return self.fc_out(neurons if self.ln is None else self.ln(neurons))


class Block(nn.Module):
    """Attention, then an MLP unless `act` is "none", each reading a LayerNorm of the residual stream."""

    def __init__(self, config: PolysemConfig, layer: int):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.has_mlp = config.act != "none"
        if self.has_mlp:
            self.ln2 = nn.LayerNorm(config.d_model)
            self.mlp = MLP(config, layer)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[batch pos d_model] -> the same."""
        x = x + self.attn(self.ln1(x), mask)
        return x + self.mlp(self.ln2(x)) if self.has_mlp else x


class PolysemForCausalLM(PreTrainedModel, GenerationMixin):
    """The model with its unembedding. Parameters are named as in polysem's own checkpoints."""

    config_class = PolysemConfig
    base_model_prefix = ""
    _no_split_modules = ["Block"]  # noqa: RUF012

    def __init__(self, config: PolysemConfig):
        super().__init__(config)
        self.tok_embed = nn.Embedding(config.vocab_size, config.d_model)
        self.pos = nn.Embedding(config.n_ctx, config.d_model)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.ln_out = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=config.unembed_bias)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.tok_embed

    def get_output_embeddings(self) -> nn.Module:
        """The unembedding."""
        return self.head

    def prepare_inputs_for_generation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> dict[str, Any]:
        """Read the whole text at every step: there is no cache of keys and values."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        **others: Any,
    ) -> CausalLMOutput:
        """Logits [batch pos vocab_size] of the next token.

        Args:
            input_ids: [batch pos]; a text begins with BOS (id 0), as the tokenizer writes it.
            attention_mask: [batch pos], 0 at padding on either side.
            labels: [batch pos], the input_ids themselves; -100 is left out of the loss.
            output_hidden_states: also give the residual stream before each layer and after the last.

        Raises:
            ValueError: more positions than `n_ctx`.
        """
        n_pos = input_ids.shape[1]
        if n_pos > self.config.n_ctx:
            raise ValueError(f"input_ids: {n_pos} positions where the model has n_ctx = {self.config.n_ctx}")
        mask, place = None, torch.arange(n_pos, device=input_ids.device)
        if attention_mask is not None and not bool(attention_mask.all()):
            there = attention_mask.bool()
            place = (there.long().cumsum(-1) - 1).clamp(min=0)
            causal = torch.ones(n_pos, n_pos, dtype=torch.bool, device=input_ids.device).tril()
            # Padding looks at itself, so that no softmax is over nothing.
            itself = torch.eye(n_pos, dtype=torch.bool, device=input_ids.device)
            mask = ((causal & there[:, None, :]) | itself)[:, None]
        x = self.tok_embed(input_ids) + self.pos(place)
        states = [x]
        for block in self.layers:
            x = block(x, mask)
            states.append(x)
        logits = self.head(self.ln_out(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits, hidden_states=tuple(states) if output_hidden_states else None)  # pyright: ignore[reportArgumentType]
