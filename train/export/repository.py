"""A checkpoint as the files of a hub repository: the Hugging Face form on top, the checkpoint itself beside it.

README.md config.json model.safetensors tokenizer.json ...   what `transformers` opens
checkpoint/                                                  the step's directory, byte for byte: `load("hf:...")`
results/L0.mid/scores.parquet, MANIFEST.json                 scores of its neurons
polysem.json                                                 origin, and the hash of every file
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from train.checkpoint import Checkpoint
from train.errors import BadInput, Damaged
from train.export.card import hub_card
from train.export.hf import write_hf
from train.files import MANIFEST, canonical_json, clear_leftovers, discard, read_json, verify
from train.filesystem import fsync_path, require_space, unique_number
from train.hashes import sha256_file
from train.hub import CHECKPOINT
from train.provenance import code_facts

INDEX = "polysem.json"
MAX_BYTES = 2**24


def found_or_made_repository(
    out: Path, facts: dict[str, Any], checkpoint: Checkpoint, data: Path, results: Path | None, name: str | None
) -> bool:
    """Keep the repository at `out` where its index says `facts` and every file is as it was; else make it.

    Returns:
        Whether it was there.

    Raises:
        BadInput: something else is at `out`, or `results` has none of this checkpoint.
        Damaged: a file of the repository is not the one that was written.
    """
    if os.path.lexists(out):
        _require_same(out, facts)
        return True
    scores = [] if results is None else scores_of(checkpoint, results)
    out.parent.mkdir(parents=True, exist_ok=True)
    require_space(out.parent, 2 * sum(path.stat().st_size for path in checkpoint.directory.iterdir()))
    clear_leftovers(out)
    aside = out.with_name(f".tmp-{out.name}-{unique_number()}")
    aside.mkdir()
    try:
        write_hf(checkpoint, aside)
        shutil.copytree(checkpoint.directory, aside / CHECKPOINT)
        for directory in scores:
            place = aside / "results" / directory.name.removesuffix(".scores")
            shutil.copytree(directory, place)
        (aside / "README.md").write_text(hub_card(checkpoint, data, scores, name), encoding="utf-8")
        files = {path.relative_to(aside).as_posix(): path for path in sorted(aside.rglob("*")) if path.is_file()}
        hashes = {key: sha256_file(path) for key, path in files.items()}
        index = {**facts, "code": code_facts(), "files": hashes}
        (aside / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for path in [*files.values(), aside / INDEX, aside]:
            fsync_path(path)
        aside.rename(out)
    except BaseException:
        discard(aside)
        raise
    fsync_path(out.parent)
    return False


def _require_same(out: Path, facts: dict[str, Any]) -> None:
    index = read_json(out / INDEX, MAX_BYTES) if (out / INDEX).is_file() else {}
    if not isinstance(index, dict) or any(
        canonical_json(index.get(key)) != canonical_json(value) for key, value in facts.items()
    ):
        raise BadInput(f"{out}: is already there and is not this export; choose another --out or remove it")
    for name, wanted in index["files"].items():
        path = out / name
        if not path.is_file() or sha256_file(path) != wanted:
            raise Damaged(f"{path}: is not the file that was exported; remove {out} and export again")


def scores_of(checkpoint: Checkpoint, results: Path) -> list[Path]:
    """The directories of scores at or below `results` that are of this checkpoint.

    Raises:
        BadInput: there is none, or a damaged one.
    """
    if not results.is_dir():
        raise BadInput(f"--results {results}: no such directory")
    found: dict[str, Path] = {}
    for path in sorted(results.rglob(f"*.scores/{MANIFEST}")):
        manifest = read_json(path, MAX_BYTES)
        meta = manifest.get("meta") if isinstance(manifest, dict) else None
        if isinstance(meta, dict) and meta.get("checkpoint_hash") == checkpoint.hash:
            verify(path.parent)
            found.setdefault(path.parent.name, path.parent)
    if not found:
        raise BadInput(f"--results {results}: holds no scores of step {checkpoint.step} of {checkpoint.state['run']}")
    return list(found.values())
