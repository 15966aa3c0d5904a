"""Where activations can be read in a model, by TransformerLens' names."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from train.config import ModelConfig
from train.errors import BadInput, did_you_mean
from train.model import Transformer

OF_LAYER = (
    "hook_resid_pre",
    "hook_attn_out",
    "hook_resid_mid",
    "mlp.hook_pre",
    "mlp.hook_mid",
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
)


def hook_names(config: ModelConfig) -> list[str]:
    """Every hook that a model has: `mlp.hook_mid`, before the mid LayerNorm, only where there is one."""
    own = [name for name in OF_LAYER if config.has_mid_ln or name != "mlp.hook_mid"]
    if not config.has_mlp:
        own = [name for name in own if "mlp" not in name]
    return [f"blocks.{layer}.{name}" for layer in range(config.n_layers) for name in own]


def width_at(config: ModelConfig, hook: str) -> int:
    """Values a token at a hook.

    Raises:
        BadInput: a hook that the model does not have.
    """
    known = hook_names(config)
    if hook not in known:
        raise BadInput(f"--hook {hook}: this model has no such hook{did_you_mean(hook, known)}")
    _, layer, name = hook.split(".", 2)
    return config.widths[int(layer)] if name.startswith("mlp.") else config.d_model


@torch.no_grad()
def values_at(model: Transformer, tokens: Int[Tensor, "batch pos"], hook: str) -> Float[Tensor, "batch pos width"]:
    """What stands at a hook, [batch pos width]; the pass stops there."""
    _, number, name = hook.split(".", 2)
    layer = int(number)
    if name in ("mlp.hook_pre", "mlp.hook_mid", "mlp.hook_post"):
        return model.mlp_activations(tokens, layer, name.removeprefix("mlp.hook_"))  # pyright: ignore[reportArgumentType]
    block, x = model.block(layer), model.embed(tokens)
    for earlier in range(layer):
        x = model.block(earlier)(x)
    if name == "hook_resid_pre":
        return x
    attended = block.attn(block.ln1(x))
    if name == "hook_attn_out":
        return attended
    x = x + attended
    if name == "hook_resid_mid":
        return x
    if not block.has_mlp:
        return x
    written = block.mlp(block.ln2(x))
    return written if name == "hook_mlp_out" else x + written
