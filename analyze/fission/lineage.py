"""Which neuron was copied from which in a widening, and how far the weights of siblings have parted."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from train.checkpoint import Checkpoint, open_step, step_directory, steps
from train.errors import BadInput
from train.files import manifest_hash
from train.locate import find_step
from train.model import Transformer


@dataclass(frozen=True)
class Descent:
    """One layer's families: the checkpoint of the parents, and the step right after widening."""

    layer: int
    parent: Checkpoint
    birth: Checkpoint
    """The step right after widening, noise included."""
    families: Int[np.ndarray, "parent child"]
    """Row p: the neurons that were copied from neuron p of the parent, in order."""
    n_fresh: int
    """Neurons of the widened layer that were drawn anew and have no parent."""


@dataclass(frozen=True)
class WeightFigures:
    """How far one step's children have parted from one another and from their birth."""

    cos_in: Float[Tensor, "parent child child"]
    """Cosine between siblings' rows of W_in (biases left out)."""
    cos_out: Float[Tensor, "parent child child"]
    """Cosine between siblings' columns of W_out."""
    moved_in: Float[Tensor, "parent child"]
    """|W_in - W_in at birth| / |W_in at birth| of each child; NaN where it was born with zeros."""
    moved_out: Float[Tensor, "parent child"]


def descent_of(
    child: Checkpoint, layer: int, parent: Path | None = None, checkpoints: Iterable[Path | str] = ()
) -> Descent:
    """The families of a widened layer.

    Args:
        child: any step of a run that was widened, or that goes on from one.
        layer: one of `widened_layers(child)`.
        parent: the parent's run or step, if it has moved from where the child's record says; of several widenings
            the first ancestor may be given as well. Default: the direct parent, found by its hash where the
            record says or beside the child (see `train.locate`).
        checkpoints: where to look first for ancestors.

    Raises:
        BadInput: a layer that was not widened, or a parent or birth that is not there or is another checkpoint.
    """
    lineage = child.lineage
    if lineage is None or layer not in widened_layers(child):
        known = ", ".join(map(str, widened_layers(child)))
        raise BadInput(f"{child.directory}: layer {layer} was not widened; those that were: {known}")
    direct, first = lineage.parent_hash, lineage.widenings[0].parent_hash
    descends = lineage.parent_of(layer)
    if parent is None:
        opened = _find(direct, child, checkpoints)
        if opened is None:
            raise BadInput(
                f"{child.directory}: its parent ({str(direct)[:12]}) is neither at {_recorded(child)} nor among "
                "the runs beside it; give --parent or --checkpoints"
            )
    else:
        opened = _given(parent, {direct, first}, child)
        if opened.hash != direct:
            descends = lineage.root_of(layer)
    assert descends is not None
    n_parents = opened.config.widths[layer]
    return Descent(
        layer, opened, birth_of(child, checkpoints), families_of(descends, n_parents), int((descends < 0).sum())
    )


def widened_layers(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Layers of a checkpoint whose neurons have parents.

    Raises:
        BadInput: it was never widened.
    """
    lineage = checkpoint.lineage
    if lineage is None:
        raise BadInput(f"{checkpoint.directory}: was never widened, so its neurons have no parents to compare with")
    return tuple(sorted(lineage.parents))


def families_of(parents: Int[np.ndarray, "neuron"], n_parents: int) -> Int[np.ndarray, "parent child"]:
    """Children of every parent, in order.

    Args:
        parents: of every neuron; negative where it has none.
        n_parents: width of the parent's layer.

    Raises:
        BadInput: parents that do not have equally many children.
    """
    with_parent = np.flatnonzero(parents >= 0)
    counts = np.bincount(parents[with_parent], minlength=n_parents)
    if len(counts) != n_parents or counts.min() != counts.max():
        raise BadInput(f"lineage: {n_parents} parents should have equally many children, not {set(counts.tolist())}")
    return with_parent[np.argsort(parents[with_parent], kind="stable")].reshape(n_parents, -1)


def birth_of(child: Checkpoint, checkpoints: Iterable[Path | str] = ()) -> Checkpoint:
    """The step right after widening: step 0 of the run that widened the model, noise included.

    Raises:
        BadInput: it is not there any more.
    """
    assert child.lineage is not None
    parent_hash = child.lineage.parent_hash
    while True:
        run = child.directory.resolve().parent
        start = child.state["start"]
        # A run that goes on from another's step 0 holds the same weights at its own.
        if start is None or start["hash"] == parent_hash or start["step"] == 0:
            if 0 not in steps(run):
                raise BadInput(f"{step_directory(run, 0)}: not there; how far children have moved is measured from it")
            return open_step(step_directory(run, 0))
        earlier = _find(start["hash"], child, checkpoints)
        if earlier is None:
            raise BadInput(
                f"{_recorded(child)}: not there; {run} goes on from it, and how far children have moved is "
                "measured from its step 0"
            )
        child = earlier


def _recorded(child: Checkpoint) -> str:
    start = child.state["start"]
    return "a place that is not recorded" if start is None else str(start["directory"])


def _find(wanted: str | None, child: Checkpoint, checkpoints: Iterable[Path | str]) -> Checkpoint | None:
    """The step with this hash: where `child` says that it started, or beside it."""
    start = child.state["start"]
    # A widening of long ago did not start where this run did.
    recorded = start["directory"] if start is not None and start["hash"] == wanted else ""
    place = None if wanted is None else find_step(wanted, recorded, beside=child.directory, given=checkpoints)
    return None if place is None else open_step(place)


def _given(path: Path, wanted: set[str | None], child: Checkpoint) -> Checkpoint:
    """The step at `path`, or of the run there, that `child` descends from."""
    if not path.is_dir():
        raise BadInput(f"--parent {path}: no such directory")
    places = [path] if (path / "MANIFEST.json").is_file() else sorted(path.glob("step-*"))
    for place in places:
        if (place / "MANIFEST.json").is_file() and manifest_hash(place) in wanted:
            return open_step(place)
    hashes = " or ".join(sorted(str(each)[:12] for each in wanted))
    raise BadInput(f"--parent {path}: no step there is one that {child.directory} was widened from ({hashes})")


def weight_figures(
    model: Transformer, birth: Transformer, layer: int, families: Int[np.ndarray, "parent child"]
) -> WeightFigures:
    """Cosines among siblings, and how far each has moved since `birth`.

    Raises:
        BadInput: a birth of another width.
    """
    now, then = _weights(model, layer, families), _weights(birth, layer, families)
    if any(a.shape != b.shape for a, b in zip(now, then)):
        raise BadInput(f"layer {layer}: {tuple(now[0].shape)} weights now, {tuple(then[0].shape)} at birth")
    moved = [(a - b).norm(dim=-1) / b.norm(dim=-1) for a, b in zip(now, then)]
    return WeightFigures(
        *(_cosines(each) for each in now), *(torch.where(each.isfinite(), each, torch.nan) for each in moved)
    )


def _weights(
    model: Transformer, layer: int, families: Int[np.ndarray, "parent child"]
) -> tuple[Float[Tensor, "parent child d_model"], Float[Tensor, "parent child d_model"]]:
    mlp, index = model.mlp(layer), torch.from_numpy(families)
    if mlp.fc_in.weight.shape[0] <= int(families.max()):
        raise BadInput(f"layer {layer}: {mlp.fc_in.weight.shape[0]} neurons where {int(families.max()) + 1} descend")
    return mlp.fc_in.weight.detach().double()[index], mlp.fc_out.weight.detach().double().T[index]


def _cosines(rows: Float[Tensor, "parent child d_model"]) -> Float[Tensor, "parent child child"]:
    length = torch.nn.functional.normalize(rows, dim=-1)
    return length @ length.mT
