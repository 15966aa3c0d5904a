"""The config.json of TransformerLens' legacy format as a ModelConfig, and back.

Published checkpoints say `normalization`, those that a HookedTransformer saved `normalization_type`; "LN" has weights
and biases, "LNPre" had them folded into the matrices behind it. Both name activations as polysem does.
"""

from pathlib import Path
from typing import Any

from train.activations import ACTIVATIONS
from train.config import ATTENTION_ONLY, ModelConfig
from train.errors import BadInput

LN_EPS = 1e-5
"""Of every LayerNorm but a mid one, in polysem; TransformerLens' default."""

LEGACY_ACTIVATIONS = (ATTENTION_ONLY, "relu", "gelu", "gelu_new", "solu", "solu_ln")
"""Those that TransformerLens has under the same name."""

FIXED = {
    "final_rms": False,
    "shortformer_pos": False,
    "gated_mlp": False,
    "parallel_attn_mlp": False,
    "use_local_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "use_attn_scale": True,
    "positional_embedding_type": "standard",
    "attention_dir": "causal",
}
"""Keys that may be there, each with the one value that polysem's architecture has."""


def read_config(values: dict[str, Any], path: Path, unembed_bias: bool, widths: tuple[int, ...]) -> ModelConfig:
    """The shape of a legacy checkpoint.

    Args:
        values: of its config.json at `path`.
        unembed_bias: whether its weights have a bias of the unembedding that is not zero.
        widths: of its MLPs, as its weights have them.

    Raises:
        BadInput: an architecture that is not polysem's, a key that is missing, a shape that cannot be.
    """
    for key, only in FIXED.items():
        if values.get(key, only) != only:
            raise BadInput(
                f"{path}: {key} = {values[key]!r}; polysem's own model has {only!r} alone. `collect hf:` scores "
                "neurons of other architectures"
            )
    norm, act = normalization(values), ATTENTION_ONLY if values.get("attn_only") else values.get("act_fn")
    if norm not in ("LN", "LNPre"):
        raise BadInput(f"{path}: normalization {norm!r}; polysem's own model has LayerNorm alone (LN or LNPre)")
    if act != ATTENTION_ONLY and act not in ACTIVATIONS:
        raise BadInput(f"{path}: act_fn {act!r} is not one of {', '.join(ACTIVATIONS)}")
    sizes = {key: values.get(key) for key in ("n_layers", "d_model", "n_heads", "d_head", "n_ctx", "d_vocab")}
    for key, value in sizes.items():
        if type(value) is not int or value < 1:
            raise BadInput(f"{path}: key '{key}' is {'missing' if value is None else f'{value!r}, not a count'}")
    if sizes["n_heads"] * sizes["d_head"] != sizes["d_model"]:  # pyright: ignore[reportOptionalOperand]
        raise BadInput(f"{path}: n_heads x d_head is not d_model, which polysem's own model cannot be")
    eps = float(values.get("eps", values.get("ln_eps", LN_EPS)))
    if eps != LN_EPS:
        raise BadInput(f"{path}: LayerNorms with epsilon {eps:g}; polysem's own model has {LN_EPS:g}")
    del sizes["d_head"]
    given = {**sizes, "act": act, "widths": widths, "mlp_ln_eps": (eps,) * len(widths), "unembed_bias": unembed_bias}
    try:
        return ModelConfig(**given)  # pyright: ignore[reportArgumentType]
    except ValueError as failure:
        raise BadInput(f"{path}: {failure}") from None


def normalization(values: dict[str, Any]) -> str | None:
    """How the LayerNorms are written: "LN" or "LNPre", or another that polysem does not have."""
    return values.get("normalization", values.get("normalization_type", "LN"))


def legacy_config(config: ModelConfig) -> dict[str, Any]:
    """The config.json of a model.

    Raises:
        BadInput: the format cannot say what the model is.
    """
    if config.act not in LEGACY_ACTIVATIONS:
        raise BadInput(f"--format tl-legacy: has no activation {config.act} (known: {', '.join(LEGACY_ACTIVATIONS)})")
    if len(set(config.widths)) != 1:
        raise BadInput(f"--format tl-legacy: has one d_mlp, this model's layers are {list(config.widths)} wide")
    if config.has_mid_ln and set(config.mlp_ln_eps) != {LN_EPS}:
        raise BadInput(
            f"--format tl-legacy: has one epsilon ({LN_EPS:g}) for all LayerNorms, the mid LayerNorms here have "
            f"{config.mlp_ln_eps[0]:g}; read at {LN_EPS:g} it would be another function"
        )
    return {
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "n_heads": config.n_heads,
        "d_head": config.d_head,
        "d_mlp": config.widths[0],
        "n_ctx": config.n_ctx,
        "d_vocab": config.d_vocab,
        "act_fn": config.act if config.has_mlp else None,
        "attn_only": not config.has_mlp,
        "normalization": "LN",
        "normalization_type": "LN",
        "eps": LN_EPS,
        **FIXED,
    }
