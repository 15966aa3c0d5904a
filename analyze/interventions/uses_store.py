"""What neurons are used for, on disk: one sealed directory beside each directory of activations.

results/<study>/<run>/step-000000500/L0.mid.uses/   sealed: uses.parquet, one row a neuron that was collected
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch

from analyze.activations.provenance import held_out, located, origin_of
from analyze.activations.store import Activations, open_activations
from analyze.activations.threads import one_torch_thread
from analyze.interventions.uses import MOST_ROWS, marks_of, uses
from analyze.labels.bank import bank_of
from analyze.scores.fingerprint import fingerprint
from analyze.scores.run import activations_under
from train.files import found_or_made, manifest_hash, verify
from train.parquet import read_parquet, write_parquet

FORMAT_VERSION = 1
TABLE = "uses.parquet"


def uses_beside(activations: Path) -> Path:
    """Where the uses of a directory of activations lie."""
    return activations.with_name(f"{activations.name}.uses")


def find_uses(
    directories: Sequence[Path],
    *,
    data: Iterable[Path] = (),
    checkpoints: Iterable[Path] = (),
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Say what every collected neuron is used for, unless that is done.

    Args:
        directories: activations directories, or directories that hold some at any depth.
        data, checkpoints: where to look first for what the activations were collected on and from.
        say: takes a line a directory.

    Returns:
        The sealed directories.

    Raises:
        BadInput: a directory without activations, or text that is in no place.
    """
    written = []
    for directory in activations_under(directories):
        acts = located(open_activations(directory), list(data), list(checkpoints))
        if origin_of(acts) is None:
            say(f"left out {directory}: its checkpoint is not there or not one of polysem")
            continue
        final = uses_beside(directory)
        facts = {
            "kind": "uses",
            "format_version": FORMAT_VERSION,
            "activations_hash": manifest_hash(directory),
            "code": fingerprint(uses.__module__, deep=True),
        }

        def write(aside: Path, acts: Activations = acts) -> None:
            with one_torch_thread():
                write_parquet(uses_of(acts), aside / TABLE)

        found = found_or_made(final, facts, write)
        say(f"{'found' if found else 'wrote'} {final}")
        written.append(final)
    return written


def uses_of(acts: Activations) -> pl.DataFrame:
    """What the collected neurons of a layer are used for: as `uses`, and `of_layer`, each one's number in the layer."""
    origin = origin_of(acts)
    assert origin is not None
    text = held_out(acts)
    n = min(MOST_ROWS, text.n_rows)
    numbers = np.array([i * text.n_rows // n for i in range(n)], dtype=np.int64)
    rows = torch.cat([text.plain_rows(int(i), 1) for i in numbers])
    model = origin.checkpoint.model().eval().requires_grad_(False)
    table = uses(model, rows, marks_of(bank_of(acts), numbers, text.n_ctx), acts.meta.layer)
    chosen = table[origin.neurons].rename({"neuron": "of_layer"})
    return chosen.select(pl.int_range(len(origin.neurons), dtype=pl.Int64).alias("neuron"), pl.all())


def read_uses(
    activations: Path, by: Literal["neuron", "of_layer"] = "neuron"
) -> dict[int, tuple[str | None, float | None]]:
    """Of each neuron the label that it is used for and the rise of the loss there; empty where nothing was found out.

    Args:
        by: the neuron's number among those collected, or in the layer.

    Raises:
        BadInput: a damaged directory.
    """
    directory = uses_beside(activations)
    if not directory.is_dir():
        return {}
    verify(directory)
    rows = read_parquet(directory / TABLE).select(by, "used_for", "rise").iter_rows()
    return {neuron: (label, rise) for neuron, label, rise in rows}


def use_in_words(use: tuple[str | None, float | None] | None) -> tuple[tuple[str, str], ...]:
    """A fact for a neuron's card; none where nothing was found out."""
    if use is None:
        return ()
    label, rise = use
    return (("used for", "no label" if label is None or rise is None else f"{label} (+{rise:.2g} nats without it)"),)
