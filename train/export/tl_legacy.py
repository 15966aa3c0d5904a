"""A checkpoint in TransformerLens' legacy format: config.json, model_final.pth and the tokenizer."""

import json
from pathlib import Path

import torch

from train.checkpoint import Checkpoint
from train.lens import hf_tokenizer
from train.tl_files import CONFIG, WEIGHTS
from train.tl_legacy.config import legacy_config
from train.tl_legacy.weights import to_legacy


def write_tl_legacy(checkpoint: Checkpoint, directory: Path) -> None:
    """Write the files; ids are polysem's, with BOS 0.

    Raises:
        BadInput: the format cannot say what the model is: layers of different widths, gelu_ln, or a mid LayerNorm
            with an epsilon of its own.
    """
    values = legacy_config(checkpoint.config)
    (directory / CONFIG).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {name: value.contiguous().clone() for name, value in to_legacy(checkpoint.model()).items()}
    with (directory / WEIGHTS).open("wb") as file:
        torch.save(tensors, file)
    hf_tokenizer(checkpoint.tokenizer(), checkpoint.config.n_ctx).save_pretrained(directory)
    # Byte for byte, since a model and its data are matched by the tokenizer's hash.
    (directory / "tokenizer.json").write_bytes((checkpoint.directory / "tokenizer.json").read_bytes())
