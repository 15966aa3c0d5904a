"""A checkpoint as a directory that Hugging Face `transformers` opens: plain GPT-2 where it is one, else our code."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.checkpoint import Checkpoint
from train.config import ModelConfig
from train.data.tokenizer import BOS_ID
from train.lens import hf_tokenizer
from train.model import Transformer
from train.tensors import write_tensors

CODE = "modeling_polysem.py"
GPT2_ACTIVATIONS = ("relu", "gelu", "gelu_new")
"""Those that transformers has under the same name."""


def is_gpt2(config: ModelConfig) -> bool:
    """Whether `GPT2LMHeadModel` computes the model: its activations, one width, no bias in the unembedding."""
    return config.act in GPT2_ACTIVATIONS and len(set(config.widths)) == 1 and not config.unembed_bias


def write_hf(checkpoint: Checkpoint, directory: Path) -> None:
    """Write config.json, model.safetensors, the tokenizer and, where it is needed, the model's code."""
    config, model = checkpoint.config, checkpoint.model()
    if is_gpt2(config):
        values, tensors = _gpt2_config(config), _gpt2_tensors(model)
    else:
        values, tensors = _own_config(config), model.state_dict()
        (directory / CODE).write_bytes(Path(__file__).with_name(CODE).read_bytes())
    _write_json(values, directory / "config.json")
    token = {"bos_token_id": BOS_ID, "eos_token_id": BOS_ID, "pad_token_id": BOS_ID}
    _write_json({**token, "use_cache": is_gpt2(config)}, directory / "generation_config.json")
    write_tensors(tensors, directory / "model.safetensors", {"format": "pt"})
    hf_tokenizer(checkpoint.tokenizer(), config.n_ctx).save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts.pop("name_or_path", None)
    # A name that transformers 4 and 5 both know.
    _write_json({**facts, "tokenizer_class": "PreTrainedTokenizerFast"}, path)


def _write_json(values: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _own_config(config: ModelConfig) -> dict[str, Any]:
    shape = {key: getattr(config, key) for key in ("n_layers", "d_model", "n_heads", "n_ctx", "act")}
    return {
        **shape,
        "model_type": "polysem",
        "architectures": ["PolysemForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_polysem.PolysemConfig",
            "AutoModelForCausalLM": "modeling_polysem.PolysemForCausalLM",
        },
        "vocab_size": config.d_vocab,
        "widths": list(config.widths),
        "mlp_ln_eps": list(config.mlp_ln_eps),
        **({"unembed_bias": True} if config.unembed_bias else {}),
        "bos_token_id": BOS_ID,
        "eos_token_id": BOS_ID,
        "tie_word_embeddings": False,
        "use_cache": False,
        "dtype": "float32",
    }


def _gpt2_config(config: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.d_vocab,
        "n_positions": config.n_ctx,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.widths[0],
        "activation_function": config.act,
        "layer_norm_epsilon": 1e-5,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": BOS_ID,
        "eos_token_id": BOS_ID,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }


def _gpt2_tensors(model: Transformer) -> dict[str, Tensor]:
    """The weights by GPT-2's names; its matrices are [in out]."""
    tensors = {
        "transformer.wte.weight": model.tok_embed.weight,
        "transformer.wpe.weight": model.pos.weight,
        "transformer.ln_f.weight": model.ln_out.weight,
        "transformer.ln_f.bias": model.ln_out.bias,
        "lm_head.weight": model.head.weight,
    }
    for layer in range(model.config.n_layers):
        block, name = model.block(layer), f"transformer.h.{layer}"
        attn, mlp = block.attn, block.mlp
        tensors |= {
            f"{name}.ln_1.weight": block.ln1.weight,
            f"{name}.ln_1.bias": block.ln1.bias,
            f"{name}.ln_2.weight": block.ln2.weight,
            f"{name}.ln_2.bias": block.ln2.bias,
            f"{name}.attn.c_attn.weight": torch.cat((attn.q.weight, attn.k.weight, attn.v.weight)).T,
            f"{name}.attn.c_attn.bias": torch.cat((attn.q.bias, attn.k.bias, attn.v.bias)),
            f"{name}.attn.c_proj.weight": attn.o.weight.T,
            f"{name}.attn.c_proj.bias": attn.o.bias,
            f"{name}.mlp.c_fc.weight": mlp.fc_in.weight.T,
            f"{name}.mlp.c_fc.bias": mlp.fc_in.bias,
            f"{name}.mlp.c_proj.weight": mlp.fc_out.weight.T,
            f"{name}.mlp.c_proj.bias": mlp.fc_out.bias,
        }
    return {name: value.detach() for name, value in tensors.items()}
