"""Where activations come from: the checkpoint, which of its neurons, and the held-out text that it read."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from analyze.activations.source import choose_neurons
from analyze.activations.store import Activations
from train.checkpoint import Checkpoint, open_step
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import manifest_hash


@dataclass(frozen=True)
class Origin:
    """The checkpoint that activations were collected from."""

    checkpoint: Checkpoint
    neurons: Int[np.ndarray, "n"]
    """Index in the checkpoint's layer of each neuron that was collected; a null may have fewer."""


def origin_of(acts: Activations) -> Origin | None:
    """The checkpoint of some activations, or of the neurons that a null was made from.

    None if the activations name no directory (planted neurons), or if the directory is gone or now holds another
    checkpoint.

    Raises:
        BadInput: the checkpoint is there and damaged.
    """
    directory, wanted = acts.meta.checkpoint_dir, acts.meta.checkpoint_hash
    if not directory or not (Path(directory) / "MANIFEST.json").is_file():
        return None
    if manifest_hash(Path(directory)) != wanted:
        return None
    checkpoint = _opened(Path(directory), wanted)
    width = checkpoint.config.widths[acts.meta.layer]
    chosen = choose_neurons(width, acts.meta.settings.get("max_neurons"), checkpoint.state["seed"])
    return Origin(checkpoint, np.arange(width) if chosen is None else chosen)


def held_out(acts: Activations) -> TokenFile:
    """The evaluation split that activations were collected on.

    Raises:
        BadInput: the data directory has gone, or by now holds other data.
    """
    return open_held_out(acts.meta.data_dir, acts.meta.data_hash, acts.meta.n_ctx)


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
