"""Directories in TransformerLens' legacy format, written here tensor by tensor, as its HookedTransformer did."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

BOS = "<|BOS|>"
N_HEADS, D_HEAD, N_CTX = 2, 8, 16
D_MODEL = N_HEADS * D_HEAD


def write_tokenizer(path: Path) -> int:
    """A byte-level tokenizer whose BOS is not its first id, as in the published one; returns its size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<|EOS|>", "<|PAD|>", BOS, *alphabet, "th", "the"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("th", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<|EOS|>", "<|PAD|>", BOS])
    tokenizer.save(str(path))
    return tokenizer.get_vocab_size()


def random_state(d_vocab: int, n_layers: int, d_mlp: int, act: str, seed: int = 0) -> dict[str, Tensor]:
    """Random weights by HookedTransformer's names, biases and LayerNorms included; no bias of the unembedding."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 0.3, shift: float = 0.0) -> Tensor:
        return shift + scale * torch.randn(*shape, generator=generator)

    state = {
        "embed.W_E": normal(d_vocab, D_MODEL),
        "pos_embed.W_pos": normal(N_CTX, D_MODEL),
        "ln_final.w": normal(D_MODEL, scale=0.1, shift=1.0),
        "ln_final.b": normal(D_MODEL),
        "unembed.W_U": normal(D_MODEL, d_vocab),
    }
    for layer in range(n_layers):
        name = f"blocks.{layer}"
        for norm in ("ln1", "ln2"):
            state[f"{name}.{norm}.w"] = normal(D_MODEL, scale=0.1, shift=1.0)
            state[f"{name}.{norm}.b"] = normal(D_MODEL)
        for key in "QKV":
            state[f"{name}.attn.W_{key}"] = normal(N_HEADS, D_MODEL, D_HEAD)
            state[f"{name}.attn.b_{key}"] = normal(N_HEADS, D_HEAD)
        state[f"{name}.attn.W_O"] = normal(N_HEADS, D_HEAD, D_MODEL)
        state[f"{name}.attn.b_O"] = normal(D_MODEL)
        state[f"{name}.attn.mask"] = torch.ones(N_CTX, N_CTX).tril().bool()
        state[f"{name}.attn.IGNORE"] = torch.tensor(-1e5)
        if act == "none":
            del state[f"{name}.ln2.w"], state[f"{name}.ln2.b"]
            continue
        state[f"{name}.mlp.W_in"], state[f"{name}.mlp.b_in"] = normal(D_MODEL, d_mlp), normal(d_mlp)
        state[f"{name}.mlp.W_out"], state[f"{name}.mlp.b_out"] = normal(d_mlp, D_MODEL), normal(D_MODEL)
        if act == "solu_ln":
            state[f"{name}.mlp.ln.w"] = normal(d_mlp, scale=0.1, shift=1.0)
            state[f"{name}.mlp.ln.b"] = normal(d_mlp)
    return state


def write_legacy(directory: Path, act: str = "gelu", n_layers: int = 1, d_mlp: int = 24, **config: Any) -> Path:
    """A whole directory: config.json, model_final.pth, tokenizer.json."""
    directory.mkdir(parents=True)
    d_vocab = write_tokenizer(directory / "tokenizer.json")
    values = {
        "d_model": D_MODEL,
        "n_layers": n_layers,
        "d_mlp": d_mlp,
        "d_head": D_HEAD,
        "n_heads": N_HEADS,
        "n_ctx": N_CTX,
        "d_vocab": d_vocab,
        "act_fn": None if act == "none" else act,
        "attn_only": act == "none",
        "normalization": "LN",
        "ln_eps": 1e-5,
        "shortformer_pos": False,
    }
    (directory / "config.json").write_text(json.dumps(values | config))
    torch.save(random_state(d_vocab, n_layers, d_mlp, act), directory / "model_final.pth")
    return directory


def change_weights(directory: Path, change: dict[str, Tensor | None]) -> None:
    """Replace, add or (None) remove tensors of a directory."""
    state = torch.load(directory / "model_final.pth", weights_only=True) | change
    kept = {name: value for name, value in state.items() if value is not None}
    torch.save(kept, directory / "model_final.pth")
