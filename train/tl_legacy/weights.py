"""State dicts by HookedTransformer's names as polysem's, and back: same numbers, other shapes.

embed.W_E [v d]   pos_embed.W_pos [p d]   unembed.W_U [d v], b_U [v]   ln_final.w, b [d]
blocks.i.ln1.w, b   ln2.w, b   attn.W_Q, W_K, W_V [h d d_head], b_Q, b_K, b_V [h d_head], W_O [h d_head d], b_O [d]
blocks.i.mlp.W_in [d n], b_in [n], W_out [n d], b_out [d], ln.w, ln.b [n]
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from train.config import ModelConfig
from train.errors import BadInput, EnvironmentProblem, one_line
from train.model import Transformer

READABLE = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
BUFFERS = ("attn.mask", "attn.IGNORE")
"""Of a HookedTransformer; they hold no weights."""


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .bin file, memory-mapped where its format allows, without running code of it.

    Raises:
        BadInput: not such a file, one that wants code to run, or one that holds other things than tensors.
        EnvironmentProblem: too little memory.
    """
    try:
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as failure:
            if "mmap" not in str(failure):
                raise
            tensors = torch.load(path, map_location="cpu", weights_only=True)  # as torch wrote before 1.6
    except pickle.UnpicklingError as failure:
        if not re.search(r"[Uu]nsupported (?:class|GLOBAL|global)|not an allowed global", str(failure)):
            raise BadInput(f"{path}: not a readable file of weights ({one_line(str(failure), 200)})") from None
        named = re.search(r"GLOBAL\s+([\w.]+)", str(failure))
        what = f" ({named[1]})" if named else ""
        raise BadInput(f"{path}: refused: its pickle wants code to run{what}, weights alone are read") from None
    except MemoryError:
        raise EnvironmentProblem(f"{path}: too large for this machine's memory") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as failure:
        raise BadInput(f"{path}: not a readable file of weights ({one_line(str(failure), 200)})") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise BadInput(f"{path}: holds something else than named tensors")
    for name, value in tensors.items():
        if value.dtype not in READABLE and not str(name).endswith(BUFFERS):
            known = ", ".join(str(each).removeprefix("torch.") for each in READABLE)
            raise BadInput(f"{path}: tensor '{name}' is {str(value.dtype).removeprefix('torch.')}, not one of {known}")
    return {str(name): value for name, value in tensors.items()}


def widths_in(tensors: Mapping[str, Tensor], n_layers: int, path: Path) -> tuple[int, ...]:
    """d_mlp of every layer.

    Raises:
        BadInput: a layer without MLP.
    """
    widths = []
    for layer in range(n_layers):
        name = f"blocks.{layer}.mlp.W_in"
        if name not in tensors or tensors[name].ndim != 2:
            raise BadInput(f"{path}: tensor '{name}' is missing, or no matrix")
        widths.append(tensors[name].shape[1])
    return tuple(widths)


def has_bias(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the unembedding has a bias that says something."""
    return "unembed.b_U" in tensors and bool(tensors["unembed.b_U"].any())


def from_legacy(tensors: Mapping[str, Tensor], config: ModelConfig, folded: bool, path: Path) -> dict[str, Tensor]:
    """polysem's state dict, in fp32.

    Args:
        folded: whether LayerNorms have no weights of their own (LNPre): they get ones and zeros.
        path: for messages.

    Raises:
        BadInput: a tensor that is missing, unknown or of another shape than the config says.
    """
    given = {name: value for name, value in tensors.items() if not name.endswith(BUFFERS)}
    if not config.unembed_bias:
        given.pop("unembed.b_U", None)
    shapes = {name: tuple(value.shape) for name, value in to_legacy(Transformer(config, seed=None)).items()}
    norms = {name for name in shapes if re.search(r"(?:^|\.)ln(?:1|2|_final)?\.[wb]$", name)}
    optional = norms if folded else set()
    for name in sorted(given.keys() ^ shapes.keys()):
        if name not in shapes:
            raise BadInput(f"{path}: tensor '{name}' is unknown to a model of this config")
        if name not in optional:
            raise BadInput(f"{path}: tensor '{name}' is missing")
    for name, value in given.items():
        if tuple(value.shape) != shapes[name]:
            raise BadInput(f"{path}: tensor '{name}' is {list(value.shape)}, its config says {list(shapes[name])}")
    for name in norms - given.keys():
        given[name] = torch.full(shapes[name], 1.0 if name.endswith(".w") else 0.0)
    value = {name: tensor.float() for name, tensor in given.items()}
    state = {
        "tok_embed.weight": value["embed.W_E"],
        "pos.weight": value["pos_embed.W_pos"],
        "ln_out.weight": value["ln_final.w"],
        "ln_out.bias": value["ln_final.b"],
        "head.weight": value["unembed.W_U"].T,
    }
    if config.unembed_bias:
        state["head.bias"] = value["unembed.b_U"]
    for layer in range(config.n_layers):
        own, theirs = f"layers.{layer}", f"blocks.{layer}"
        norms = ("ln1", "ln2") if config.has_mlp else ("ln1",)
        for norm in (*norms, *(("mlp.ln",) if config.has_mid_ln else ())):
            state[f"{own}.{norm}.weight"] = value[f"{theirs}.{norm}.w"]
            state[f"{own}.{norm}.bias"] = value[f"{theirs}.{norm}.b"]
        for key in ("q", "k", "v"):
            state[f"{own}.attn.{key}.weight"] = rearrange(value[f"{theirs}.attn.W_{key.upper()}"], "h d e -> (h e) d")
            state[f"{own}.attn.{key}.bias"] = rearrange(value[f"{theirs}.attn.b_{key.upper()}"], "h e -> (h e)")
        state[f"{own}.attn.o.weight"] = rearrange(value[f"{theirs}.attn.W_O"], "h e d -> d (h e)")
        state[f"{own}.attn.o.bias"] = value[f"{theirs}.attn.b_O"]
        for key, name in (("in", "fc_in"), ("out", "fc_out")) if config.has_mlp else ():
            state[f"{own}.mlp.{name}.weight"] = value[f"{theirs}.mlp.W_{key}"].T
            state[f"{own}.mlp.{name}.bias"] = value[f"{theirs}.mlp.b_{key}"]
    return {name: tensor.contiguous() for name, tensor in state.items()}


def to_legacy(model: Transformer) -> dict[str, Tensor]:
    """The state dict of a model by HookedTransformer's names."""
    config, h = model.config, model.config.n_heads
    bias = model.head.bias
    tensors = {
        "embed.W_E": model.tok_embed.weight,
        "pos_embed.W_pos": model.pos.weight,
        "ln_final.w": model.ln_out.weight,
        "ln_final.b": model.ln_out.bias,
        "unembed.W_U": model.head.weight.T,
    }
    if bias is not None:
        tensors["unembed.b_U"] = bias
    for layer in range(config.n_layers):
        block, name = model.block(layer), f"blocks.{layer}"
        norms = {"ln1": block.ln1}
        if config.has_mlp:
            norms["ln2"] = block.ln2
        if config.has_mid_ln and block.mlp.ln is not None:
            norms["mlp.ln"] = block.mlp.ln
        for key, norm in norms.items():
            tensors |= {f"{name}.{key}.w": norm.weight, f"{name}.{key}.b": norm.bias}
        for key, linear in (("Q", block.attn.q), ("K", block.attn.k), ("V", block.attn.v)):
            tensors[f"{name}.attn.W_{key}"] = rearrange(linear.weight, "(h e) d -> h d e", h=h)
            tensors[f"{name}.attn.b_{key}"] = rearrange(linear.bias, "(h e) -> h e", h=h)
        tensors |= {
            f"{name}.attn.W_O": rearrange(block.attn.o.weight, "d (h e) -> h e d", h=h),
            f"{name}.attn.b_O": block.attn.o.bias,
        }
        if not config.has_mlp:
            continue
        tensors |= {
            f"{name}.mlp.W_in": block.mlp.fc_in.weight.T,
            f"{name}.mlp.b_in": block.mlp.fc_in.bias,
            f"{name}.mlp.W_out": block.mlp.fc_out.weight.T,
            f"{name}.mlp.b_out": block.mlp.fc_out.bias,
        }
    return {key: value.detach() for key, value in tensors.items()}
