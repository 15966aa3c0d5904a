"""A legacy checkpoint as a run of two steps in the cache: its weights, and the same architecture untrained.

polysem gives its BOS id 0, so the rows of the embedding and unembedding of BOS and of the token that had id 0 are
exchanged, as `train.data.readymade` exchanges their ids. The number of steps that others trained for is not known:
step 1 stands for it, and step 0 is the untrained null, polysem's own initialisation of this architecture at seed 0.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from train.config import ModelConfig
from train.data.readymade import ReadyMade, fitted
from train.errors import BadInput
from train.files import canonical_json, publishing
from train.filesystem import require_space
from train.gguf import cache
from train.hashes import sha256, sha256_file
from train.model import Transformer
from train.step_files import STEP_FACTS, write_step_files
from train.tl_files import PREFIX, LegacyFiles, legacy_files
from train.tl_legacy.config import normalization, read_config
from train.tl_legacy.weights import from_legacy, has_bias, read_pickled, widths_in

VERSION = 1
"""Of this conversion; a later one that changes what it writes makes new copies."""
TRAINED, UNTRAINED = 1, 0


def imported_step(name: str) -> Path:
    """The step's directory of `tl:<name>`, converted on first use.

    Raises:
        BadInput: nothing of this name, or a model that polysem's own cannot be.
        EnvironmentProblem: a hub that cannot be reached, too little disk.
    """
    files = legacy_files(name)
    hashes = {key: sha256_file(getattr(files, key)) for key in ("config", "weights", "tokenizer")}
    key = sha256(canonical_json({"version": VERSION, **hashes}))[:16]
    run = re.sub(r"[^\w.-]", "-", files.name).lstrip(".") or "imported"
    root = cache() / key / run
    final = root / f"step-{TRAINED:09d}"
    if final.is_dir():
        return final
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / ".lock"):
        if not final.is_dir():
            _convert(files, hashes, root)
    return final


def _convert(files: LegacyFiles, hashes: dict[str, str], root: Path) -> None:
    values, tensors = files.values(), read_pickled(files.weights)
    n_layers = values.get("n_layers")
    n_layers = n_layers if isinstance(n_layers, int) else 0
    widths = (0,) * n_layers if values.get("attn_only") else widths_in(tensors, n_layers, files.weights)
    config = read_config(values, files.config, has_bias(tensors), widths)
    if isinstance(said := values.get("d_mlp"), int) and len(set(widths)) == 1 and widths[0] and said != widths[0]:
        raise BadInput(f"{files.config}: d_mlp = {said}, and '{files.weights.name}' has {widths[0]} neurons a layer")
    state = from_legacy(tensors, config, normalization(values) == "LNPre", files.weights)
    ready = fitted(files.tokenizer, padded_to=config.d_vocab)
    if ready.tokenizer.get_vocab_size() != config.d_vocab:
        raise BadInput(
            f"{files.tokenizer}: {ready.tokenizer.get_vocab_size():,} ids, the model has {config.d_vocab:,}: not its "
            "tokenizer"
        )
    exchange_rows(state, ready.facts["exchanged"])
    for key, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise BadInput(f"{files.weights}: '{key}' holds a value that is not finite")
    require_space(root, 8 * config.n_params)
    model = Transformer(config, seed=None)
    model.load_state_dict(state, strict=True)
    tokenizer_json = saved(ready)
    for step, each in ((UNTRAINED, Transformer(config, seed=0)), (TRAINED, model)):
        facts = _facts(files, root.name, config, sha256(tokenizer_json), hashes, step)
        with publishing(root / f"step-{step:09d}", STEP_FACTS, replace=True) as aside:
            write_step_files(aside, each, {}, facts, tokenizer_json)


def exchange_rows(state: dict[str, torch.Tensor], pair: list[int]) -> None:
    """Exchange two token ids in the embedding and the unembedding."""
    first, second = pair
    if first == second:
        return
    for key in ("tok_embed.weight", "head.weight", "head.bias"):
        if key in state:
            state[key] = state[key].clone()
            state[key][[first, second]] = state[key][[second, first]]


def saved(ready: ReadyMade) -> bytes:
    """A tokenizer's file, as prepared data hold it: data and model are compared by its hash."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "tokenizer.json"
        ready.tokenizer.save(str(path))
        return path.read_bytes()


def _facts(
    files: LegacyFiles, run: str, config: ModelConfig, tokenizer_sha256: str, hashes: dict[str, str], step: int
) -> dict[str, Any]:
    """The state.json of an imported step: what is known of it."""
    return {
        "run": run,
        "variant": run,
        "root_variant": run,
        "seed": 0,
        "step": step,
        "tokens": 0,
        "tokens_before": 0,
        "n_params": config.n_params,
        "n_trained_params": config.n_params,
        "factor": 1,
        "evaluation": None,
        "start": None,
        "rows_read": 0,
        "first_row": 0,
        "data": {"hash": "", "tokenizer_sha256": tokenizer_sha256},
        "config_sha256": sha256(canonical_json(hashes)),
        "exact": True,
        "imported": {"format": "tl-legacy", "name": f"{PREFIX}{files.name}", "version": VERSION, **hashes},
    }
