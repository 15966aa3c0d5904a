"""Small random models of every family that an adapter knows, as transformers saves them, and data in their tokens."""

import json
from pathlib import Path
from typing import Any

import torch

from analyze.models.base import ADAPTERS
from tests.train.tl_legacy.legacy import write_tokenizer
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare

BASE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24, "n_positions": 64}
LLAMA = BASE | {"num_key_value_heads": 2, "max_position_embeddings": 64}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": BASE | {"max_position_embeddings": 64},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 64},
    "gemma2": LLAMA | {"head_dim": 8},
    "gpt2": GPT2,
    "gpt_neox": BASE | {"max_position_embeddings": 64},
    "gptj": GPT2 | {"rotary_dim": 4},
    "llama": LLAMA,
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24,
            "max_position_embeddings": 64, "word_embed_proj_dim": 16, "pad_token_id": 1},
    "phi": LLAMA,
    "phi3": LLAMA | {"pad_token_id": 1},
    "roberta": BASE | {"max_position_embeddings": 64},
    "t5": T5,
    "t5_gated": T5 | {"feed_forward_proj": "gated-gelu"},
}  # fmt: skip
"""model_type, or the adapter's name, and a shape of two layers of 24 neurons."""


def config_of(kind: str, d_vocab: int) -> Any:
    """The library's config of a small model."""
    from transformers import AutoConfig

    model_type = "t5" if kind.startswith("t5") else kind
    return AutoConfig.for_model(model_type, vocab_size=d_vocab, **SHAPES[kind])


def write_model(kind: str, directory: Path, with_head: bool = True, **how: Any) -> Path:
    """A random model, as a model with its head or the base model alone, and its tokenizer."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    directory.mkdir(parents=True)
    config = config_of(kind, write_tokenizer(directory / "tokenizer.json"))
    masked = ADAPTERS["bert"].model_types + ADAPTERS["distilbert"].model_types
    head = AutoModelForMaskedLM if config.model_type in masked else AutoModelForCausalLM
    head = AutoModelForSeq2SeqLM if config.model_type == "t5" else head
    torch.manual_seed(0)
    model = (head if with_head else AutoModel).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms are not at 0 and 1
            parameter += 0.1 * torch.randn(parameter.shape)
    model.save_pretrained(directory, **how)
    return directory


def write_data(model: Path, place: Path, n_documents: int = 60, n_ctx: int = 16) -> Path:
    """Prepared data in the tokens of a model."""
    place.mkdir(parents=True, exist_ok=True)
    texts = [f"the {n} then {'other ' * (n % 7)} {n * n} theory of the {n % 5}" for n in range(n_documents)]
    (place / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    source = SourceConfig(kind="files", weight=1, paths=(str(place / "text.jsonl"),))
    config = DataConfig(name="d", sources=(source,), tokenizer=str(model), n_ctx=n_ctx, eval_share=0.4)
    return prepare(config, place / "data").directory
