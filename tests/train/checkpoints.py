"""A widened step with moments, of a few kilobytes, and what opening it must refuse."""

import functools
from pathlib import Path

import pytest
import torch

from tests.train.faults import at_most
from train.checkpoint import open_step, save_checkpoint
from train.config import ModelConfig, WidenPlan
from train.errors import BadInput
from train.files import RECORD
from train.hashes import sha256
from train.lineage import Lineage
from train.model import Transformer
from train.widening.widen import widen

TOKENIZER = b'{"version": "1.0"}\n'
SAFETENSORS = ("lineage.safetensors", "model.safetensors", "optim.safetensors")
NAMES = (*SAFETENSORS, "config.json", "state.json", "tokenizer.json", RECORD)


@functools.cache
def widened(seed: int) -> tuple[Transformer, Lineage]:
    narrow = ModelConfig(n_layers=1, d_model=4, n_heads=2, n_ctx=4, d_vocab=5, act="gelu_ln", widths=(6,))
    return widen(Transformer(narrow, seed), WidenPlan(layers=(0,), factor=2))


def write_step(run: Path, step: int = 7, seed: int = 0) -> Path:
    """A widened step with moments, of a few kilobytes."""
    model, lineage = widened(seed)
    moments = {}
    for name, value in model.named_parameters():
        if name.startswith("layers.0.mlp."):
            moments |= {f"{name}/exp_avg": value.detach() / 3, f"{name}/exp_avg_sq": value.detach().square()}
            moments[f"{name}/step"] = torch.tensor(float(step))
    state = {
        "run": run.name,
        "variant": "gelu",
        "root_variant": "gelu",
        "seed": seed,
        "step": step,
        "tokens": 16 * step,
        "tokens_before": 0,
        "rows_read": 4 * step,
        "n_params": model.config.n_params,
        "factor": 2,
        "start": {"hash": "0" * 64, "run": "parent", "step": 3, "directory": "elsewhere"},
        "evaluation": {"step": step, "loss": 1.5, "unigram": 1.6, "bigram": 1.4, "n_tokens": 16},
        "data": {"hash": "1" * 64, "directory": "data/small", "tokenizer_sha256": sha256(TOKENIZER)},
    }
    return save_checkpoint(run, model, moments, state, TOKENIZER, lineage.of("0" * 64, None), {"version": "1"})


def use_all_of(directory: Path) -> None:
    """Open a step and read everything it holds."""
    checkpoint = open_step(directory)
    checkpoint.model()
    checkpoint.optimizer_state()
    assert checkpoint.lineage is not None
    assert checkpoint.code == {"version": "1"}


def refused(directory: Path, match: str = "") -> None:
    with at_most(20), pytest.raises(BadInput, match=match or None):
        use_all_of(directory)
