"""The door to TransformerLens: the only file in train/ that imports it."""

import copy
from typing import TYPE_CHECKING, Any

import torch

from train.config import ModelConfig
from train.data.tokenizer import BOS_ID
from train.model import Transformer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge


def to_bridge(model: Transformer, tokenizer: "Tokenizer | None" = None) -> "TransformerBridge":
    """A TransformerLens bridge around a copy of the model, with logits equal to 1e-5.

    Weights are not processed: folding the mid LayerNorm into W_out would change what `hook_post` means. Layers
    may differ in width; stacked views such as `bridge.W_in` fail for those, `blocks[i].mlp.W_in` works.

    Args:
        model: any Transformer; its weights are copied.
        tokenizer: for `bridge.to_tokens("text")`; not needed for token ids.
    """
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformer_lens.model_bridge.sources.native.model import NativeBlock, NativeMLP, NativeModel

    config = model.config
    cfg = TransformerBridgeConfig(
        d_model=config.d_model,
        d_head=config.d_head,
        n_layers=config.n_layers,
        n_ctx=config.n_ctx,
        n_heads=config.n_heads,
        d_vocab=config.d_vocab,
        d_mlp=max(config.widths) or None,
        act_fn=config.activation.lens_name if config.has_mlp else "relu",
        attn_only=not config.has_mlp,
        normalization_type="LN",
        architecture="TransformerLensNative",
        init_weights=False,
    )
    native = NativeModel(cfg)
    for layer, block in enumerate(native.layers):
        assert isinstance(block, NativeBlock)
        if not config.has_mlp:
            continue
        block.mlp = NativeMLP(_layer_config(cfg, config, layer))
        block.mlp.act = config.activation.function
    if config.unembed_bias:
        native.head = torch.nn.Linear(config.d_model, config.d_vocab)
    parameter = next(model.parameters())
    native = native.to(device=parameter.device, dtype=parameter.dtype)
    # Before wrapping: the bridge renames what it wraps.
    native.load_state_dict({name: value.detach().clone() for name, value in model.state_dict().items()}, strict=True)
    native.train(model.training)
    with torch.no_grad():
        bridge = build_bridge_from_module(
            native,
            "TransformerLensNative",
            tl_config=cfg,
            tokenizer=None if tokenizer is None else hf_tokenizer(tokenizer, config.n_ctx),
            model_name="polysem",
        )
    if config.has_mid_ln:
        for layer, block in enumerate(bridge.blocks):
            # The bridge's LayerNorm computes with its config's epsilon, not with the wrapped module's.
            block.mlp.ln.config = _layer_config(cfg, config, layer)
    return bridge


def _layer_config(cfg: "TransformerBridgeConfig", config: ModelConfig, layer: int) -> "TransformerBridgeConfig":
    """The bridge's config as one layer's MLP needs it: its own width and mid-LayerNorm epsilon."""
    own = copy.copy(cfg)
    own.d_mlp, own.eps = config.widths[layer], config.mlp_ln_eps[layer]
    return own


def hf_tokenizer(tokenizer: "Tokenizer", n_ctx: int) -> Any:
    """The tokenizer for `transformers`: it puts BOS before a text, and text that spells BOS is plain text."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer.from_str(tokenizer.to_str())
    # TransformerLens wants a tokenizer that prepends BOS by itself; it looks any other up by name on a hub.
    bos = own.id_to_token(BOS_ID)
    own.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, BOS_ID)])  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        bos_token=bos,
        eos_token=bos,
        pad_token=bos,
        model_max_length=n_ctx,
        name_or_path="polysem",
        add_bos_token=True,
        split_special_tokens=True,
    )
