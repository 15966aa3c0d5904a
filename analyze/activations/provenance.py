"""Where activations come from: the checkpoint, which of its neurons, and the held-out text that it read.

Both are found by their hashes, wherever they lie by now (see `train.locate`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from analyze.activations.source import choose_neurons
from analyze.activations.store import Activations
from train.checkpoint import Checkpoint, open_step
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.locate import DATA_VARIABLE, find_data, find_step


@dataclass(frozen=True)
class Origin:
    """The checkpoint that activations were collected from."""

    checkpoint: Checkpoint
    neurons: Int[np.ndarray, "n"]
    """Index in the checkpoint's layer of each neuron that was collected; a null may have fewer."""


def origin_of(acts: Activations) -> Origin | None:
    """The checkpoint of some activations, or of the neurons that a null was made from.

    None if the activations name no checkpoint (planted neurons), or if it lies neither where it was nor beside them.

    Raises:
        BadInput: the checkpoint is there and damaged.
    """
    recorded, wanted = acts.meta.checkpoint_dir, acts.meta.checkpoint_hash
    directory = find_step(wanted, recorded, beside=acts.directory) if recorded else None
    if directory is None:
        return None
    checkpoint = _opened(directory, wanted)
    width = checkpoint.config.widths[acts.meta.layer]
    chosen = choose_neurons(width, acts.meta.settings.get("max_neurons"), checkpoint.state["seed"])
    return Origin(checkpoint, np.arange(width) if chosen is None else chosen)


def require_origin(acts: Activations, what: str, option: str) -> Origin | None:
    """As `origin_of`, for what cannot do without it; None only if the activations name no checkpoint.

    Args:
        what: reads the checkpoint.
        option: of the command line leaves it out.

    Raises:
        BadInput: the checkpoint is in none of the places, or damaged.
    """
    origin, meta = origin_of(acts), acts.meta
    if origin is None and meta.checkpoint_dir:
        raise BadInput(
            f"{acts.directory or meta.run}: {what} reads the checkpoint ({meta.run} step {meta.step}, hash "
            f"{meta.checkpoint_hash[:12]}), which lies neither at {meta.checkpoint_dir} nor beside the results; name "
            f"its place with --checkpoints, or leave {what} out with {option}"
        )
    return origin


def located(acts: Activations, data: Iterable[Path | str] = (), checkpoints: Iterable[Path | str] = ()) -> Activations:
    """The same activations; their meta says where data and checkpoint lie now, as far as they are found.

    Args:
        data: where to look for the data first: data directories, or directories of some.
        checkpoints: where to look for the checkpoint first: steps, runs, or directories of some.

    Raises:
        BadInput: a given place that is no directory.
    """
    meta = acts.meta
    text = find_data(meta.data_hash, meta.data_dir, beside=acts.directory, given=data)
    step = None
    if meta.checkpoint_dir:
        step = find_step(meta.checkpoint_hash, meta.checkpoint_dir, beside=acts.directory, given=checkpoints)
    places = {"data_dir": str(text or meta.data_dir), "checkpoint_dir": str(step or meta.checkpoint_dir)}
    return replace(acts, meta=replace(meta, **places))


def held_out(acts: Activations) -> TokenFile:
    """The evaluation split that activations were collected on.

    Raises:
        BadInput: the data are in none of the places that `located_data` looks in.
    """
    meta = acts.meta
    return open_held_out(located_data(meta.data_dir, meta.data_hash, acts.directory), meta.data_hash, meta.n_ctx)


def located_data(recorded: str, data_hash: str, beside: Path | None, given: Iterable[Path | str] = ()) -> Path:
    """Where the data lie that activations were collected on (see `train.locate`).

    Raises:
        BadInput: in none of the places.
    """
    found = find_data(data_hash, recorded, beside=beside, given=given)
    if found is None:
        is_there = (Path(recorded) / "MANIFEST.json").is_file()
        what = "not the data that the activations were collected on" if is_there else "not there"
        raise BadInput(
            f"{recorded}: {what} (hash {data_hash[:12]}), which lie neither beside the results nor under "
            f"{DATA_VARIABLE}; name their place with --data, or collect again"
        )
    return found


def open_held_out(directory: Path | str, data_hash: str, n_ctx: int) -> TokenFile:
    """As `held_out`, of what activations say of their data."""
    data = TokenFile.open(directory, split="eval", n_ctx=n_ctx)
    if data.data_hash != data_hash:
        raise BadInput(f"{directory}: not the data that the activations were collected on; collect again")
    return data


@lru_cache(maxsize=1)
def _opened(directory: Path, checkpoint_hash: str) -> Checkpoint:
    """Verified once for all scores and nulls of a layer, since that hashes all of its files."""
    return open_step(directory)
