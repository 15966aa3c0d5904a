"""The files of a step's directory, as training and imports write them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from train.files import RECORD
from train.model import Transformer
from train.tensors import write_tensors

FORMAT_VERSION = 1
STEP_FACTS = {"kind": "checkpoint", "format_version": FORMAT_VERSION}
"""What the manifest of a step's directory says of itself."""


def write_step_files(
    directory: Path,
    model: Transformer,
    optimizer_state: dict[str, Tensor],
    state: dict[str, Any],
    tokenizer_json: bytes,
    code: dict[str, Any] | None = None,
    inexact: Sequence[str] = (),
) -> None:
    """Write everything but a lineage into an empty directory.

    Args:
        state: the directories that it names (of the data, of the start) say where to look, not what the step is:
            they go into the record, and `train.checkpoint.open_step` puts them back.
        code: which polysem writes it (`train.provenance.code_facts`); recorded, not part of the hash.
        inexact: why `exact` is false in the state; recorded, not part of the hash.

    Raises:
        OSError: it could not be written.
    """
    state, directories = _without_directories(state)
    (directory / "config.json").write_text(model.config.model_dump_json(indent=2) + "\n")
    (directory / "tokenizer.json").write_bytes(tokenizer_json)
    _write_json(state, directory / "state.json")
    _write_json({"code": code or {}, "directories": directories, "inexact": [*inexact]}, directory / RECORD)
    write_tensors(model.state_dict(), directory / "model.safetensors", {"format": "pt"})
    write_tensors(optimizer_state, directory / "optim.safetensors", {"format": "pt"})


def _write_json(values: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _without_directories(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A state without the directories that it names, and these by the key that names them."""
    kept, directories = dict(state), {}
    for key in ("data", "start"):
        if state.get(key) and "directory" in state[key]:
            kept[key] = {name: value for name, value in state[key].items() if name != "directory"}
            directories[key] = state[key]["directory"]
    return kept, directories
