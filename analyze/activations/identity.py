"""Which run a checkpoint is of: what it says of itself, by hashes. A directory's name is only a label.

Results are matched by these: the untrained network of a cell, its parent, its twin in another variant, and the other
seeds of its variant.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from analyze.activations.store import ActivationsMeta
from train.checkpoint import Checkpoint, open_step
from train.config import RunConfig
from train.configfile import differences, read_toml, validate
from train.errors import BadInput
from train.files import canonical_json, sha256
from train.locate import find_step
from train.provenance import MAY_DIFFER, PATHS, config_hash

NOT_RECIPE = MAY_DIFFER | PATHS | {"seed", "variant", "widen.seed"}
NOT_RECIPE |= {"train.accumulate", "train.memory", "train.checkpoint_every", "train.eval_every"}
"""Keys in which the seeds of a variant may differ: the seed itself, names, paths, how the same work is cut."""

SHOWN = 3
"""Keys that a message names."""


@dataclass(frozen=True)
class RunIdentity:
    """One training run, apart from how far it has come. Equal runs have equal ones, whatever they are called."""

    run_hash: str
    """Of its config, shape, seed, data, start and widenings."""
    start_hash: str | None
    """Of the checkpoint that it starts from; None: trained from scratch."""
    root_hash: str | None
    """run_hash of the ancestor that was trained from scratch, its own if that is itself; None: an ancestor is in none
    of the places that `train.locate` looks in."""
    train_data_hash: str
    """Of the data that it was trained on."""
    recipe: str | None
    """JSON of what the seeds of a variant share: config without NOT_RECIPE, shape, data, and the recipe of its start.
    None where the run's config does not lie beside its steps, or is not the one that they were trained by."""


def identity_of(checkpoint: Checkpoint, checkpoints: Iterable[Path | str] = ()) -> RunIdentity:
    """The identity of a checkpoint's run.

    Args:
        checkpoints: where to look first for its ancestors, beside the places of `train.locate`.

    Raises:
        BadInput: an ancestor is damaged.
    """
    state = checkpoint.state
    own, start = run_hash_of(checkpoint), state["start"]
    data_hash = state["data"]["hash"]
    if start is None:
        return RunIdentity(own, None, own, data_hash, _recipe(checkpoint, None))
    ancestor = _start_of(checkpoint, checkpoints)
    if ancestor is None:
        return RunIdentity(own, start["hash"], None, data_hash, None)
    earlier = identity_of(ancestor, checkpoints)
    return RunIdentity(own, start["hash"], earlier.root_hash, data_hash, _recipe(checkpoint, earlier))


def identity_of_results(
    meta: ActivationsMeta, beside: Path, checkpoints: Iterable[Path | str] = ()
) -> RunIdentity | None:
    """The identity of the run that results are of; where an earlier version did not record it, by the checkpoint.

    None where that is in none of the places of `train.locate`.

    Args:
        beside: the results' directory.

    Raises:
        BadInput: the checkpoint is damaged.
    """
    if meta.run_hash:
        return RunIdentity(**{field.name: getattr(meta, field.name) for field in fields(RunIdentity)})
    if not meta.checkpoint_dir:
        return None
    place = find_step(meta.checkpoint_hash, meta.checkpoint_dir, beside=beside, given=checkpoints)
    return None if place is None else identity_of(_opened(place, meta.checkpoint_hash), checkpoints)


def run_hash_of(checkpoint: Checkpoint) -> str:
    """The `run_hash` of a checkpoint: the same at every step of a run, another for any other run."""
    state, lineage = checkpoint.state, checkpoint.lineage
    facts = {
        "config": state.get("config_sha256"),
        "shape": checkpoint.config.model_dump(mode="json"),
        "seed": state["seed"],
        "data": state["data"]["hash"],
        "start": None if state["start"] is None else state["start"]["hash"],
        "widenings": [] if lineage is None else [each.facts() for each in lineage.widenings],
    }
    return sha256(canonical_json(facts))


def _start_of(checkpoint: Checkpoint, checkpoints: Iterable[Path | str]) -> Checkpoint | None:
    start = checkpoint.state["start"]
    place = find_step(start["hash"], start["directory"], beside=checkpoint.directory, given=checkpoints)
    return None if place is None else _opened(place, start["hash"])


@lru_cache(maxsize=8)
def _opened(directory: Path, checkpoint_hash: str) -> Checkpoint:
    """Verified once a process: many runs start from one."""
    return open_step(directory)


def _recipe(checkpoint: Checkpoint, start: RunIdentity | None) -> str | None:
    """The run's config lies beside its steps, and they hold its hash: so it is known to be theirs.

    Of a model that others trained, which files it was read from.
    """
    state = checkpoint.state
    if "imported" in state:
        shape = checkpoint.config.model_dump(mode="json")
        return canonical_json({"imported": state["imported"], "shape": shape}).decode()
    path = checkpoint.directory.resolve().parent / "run.toml"
    try:
        config = validate(RunConfig, read_toml(path), str(path))
    except BadInput:
        return None
    if config_hash(config) != state.get("config_sha256") or (start is not None and start.recipe is None):
        return None
    facts = {
        **_without(config.model_dump(mode="json"), NOT_RECIPE),
        "shape": checkpoint.config.model_dump(mode="json"),
        "data hash": state["data"]["hash"],
        "start": None if start is None or start.recipe is None else json.loads(start.recipe),
    }
    return canonical_json(facts).decode()


def difference(recipe: str | None, other: str | None) -> str:
    """In which keys two recipes differ, in words; runs of one recipe differ in their seed or their start."""
    if recipe is None or other is None:
        return "their configs, seeds, data or starts differ"
    keys = differences(json.loads(recipe), json.loads(other))
    listed = ", ".join(f"{key} {old!r} and {new!r}" for key, (old, new) in list(keys.items())[:SHOWN])
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"they differ in {listed}{more}" if keys else "they differ in their seed or start"


def _without(values: dict[str, Any], keys: Iterable[str], prefix: str = "") -> dict[str, Any]:
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in values.items()
        if f"{prefix}{name}" not in keys
    }
