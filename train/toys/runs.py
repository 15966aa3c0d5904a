"""The directory of a finished toy: written whole, and read back with every hash, name and shape checked.

checkpoints/toy/<name>/     sealed by MANIFEST.json
    toy.toml                the config as resolved
    model.safetensors       the parameters of every instance and replica
    losses.parquet          one row a replica: instance, what is swept, replica, loss, best, and the baselines
    outputs.parquet         instance, replica, output, name, loss, naive: the losses of single outputs
    curves.parquet          step, instance, replica, loss
    snapshots.safetensors   every parameter as [snap inst ...], of replica 0; only where asked for
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from train.configfile import read_toml, to_toml, validate
from train.errors import BadInput
from train.files import manifest_hash, read_manifest, verify
from train.provenance import machine_facts
from train.tensors import read_tensors, write_tensors
from train.toys.baseline import Naive
from train.toys.config import ToyConfig
from train.toys.fit import Fit
from train.toys.models import ToyModel, shapes
from train.toys.tables import CURVES, LOSSES, OUTPUTS, grid, instance_table, read_table, write_table
from train.toys.targets import Target
from train.toys.truth import KnownNeurons

KIND = "toy"
FORMAT_VERSION = 1
CONFIG = "toy.toml"
SNAPSHOTS = "snapshots.safetensors"
ARM = "arm.json"
REQUIRED = frozenset({CONFIG, "model.safetensors", "losses.parquet", "outputs.parquet", "curves.parquet"})


@dataclass(frozen=True)
class Curves:
    """Losses of every replica during training, on some of the samples of the final loss."""

    steps: Int[np.ndarray, " points"]
    losses: Float[np.ndarray, "points inst rep"]


@dataclass(frozen=True)
class ToyRun:
    """A finished toy: every replica of every instance, their losses, and the baselines."""

    directory: Path
    hash: str
    """sha256 of MANIFEST.json: the identity of the run."""
    config: ToyConfig
    instances: pl.DataFrame
    """One row an instance: `instance`, and the value of everything that is swept."""
    model: ToyModel
    losses: Float[np.ndarray, "inst rep"]
    """Importance x squared error (or cross-entropy in nats), mean over samples and outputs."""
    per_output: Float[np.ndarray, "inst rep out"]
    """The same of each output; the mean over outputs is the loss."""
    best: Int[np.ndarray, " inst"]
    """The replica of lowest loss."""
    naive: tuple[Naive, ...]
    """Of each instance: the losses without superposition, and of constants."""
    curves: Curves
    snapshot_steps: Int[np.ndarray, " snap"]
    snapshots: dict[str, Tensor]
    """Parameters of replica 0 during training, [snap inst ...]; empty unless `fit.snapshots` asked for them."""
    seconds: float
    """Of training."""

    @property
    def n_inst(self) -> int:
        """Instances."""
        return self.losses.shape[0]

    @property
    def n_rep(self) -> int:
        """Replicas of each."""
        return self.losses.shape[1]

    @property
    def best_losses(self) -> Float[np.ndarray, " inst"]:
        """The lowest loss of each instance."""
        return self.losses.min(axis=1)

    @property
    def good(self) -> Bool[np.ndarray, "inst rep"]:
        """Replicas that end as well as the leading one: a loss of at most 1.1 times the instance's lowest, or above it
        by no more than a thousandth of the loss of constants (a tenth of 1e-8 says nothing)."""
        lowest = self.best_losses[:, None]
        return self.losses <= np.maximum(1.1 * lowest, lowest + 1e-3 * self.constant_losses[:, None])

    @property
    def naive_losses(self) -> Float[np.ndarray, " inst"]:
        """The naive baseline of each instance."""
        return np.array([each.loss for each in self.naive])

    @property
    def constant_losses(self) -> Float[np.ndarray, " inst"]:
        """The loss of the best constants of each instance."""
        return np.array([each.constant_loss for each in self.naive])

    @property
    def best_model(self) -> ToyModel:
        """The leading replica of each instance; the replica axis stays, of size 1."""
        return self.model.select(replica=torch.from_numpy(self.best))

    def neurons(self, instance: int = 0, replica: int | None = None, layer: int = 0) -> KnownNeurons:
        """A hidden layer of one replica (default: the leading one) with what is known of its neurons."""
        chosen = int(self.best[instance]) if replica is None else replica
        return KnownNeurons.of(self.config, self.model, instance, chosen, layer)

    @classmethod
    def load(cls, directory: str | Path) -> "ToyRun":
        """Open a finished toy.

        Raises:
            BadInput: nothing there; a file that is missing, extra, altered, or does not fit its config.
        """
        directory = Path(directory)
        config, facts = open_toy(directory)
        verify(directory)
        instances, target = instance_table(config), Target.of(config)
        n_inst, n_rep, n_out = len(instances), config.fit.replicas, target.n_outputs
        parameter_shapes = shapes(config.network, config.features.n, n_out)
        rows = read_table(directory / "losses.parquet", LOSSES, n_inst * n_rep)
        outputs = read_table(directory / "outputs.parquet", OUTPUTS, n_inst * n_rep * n_out)
        parameters = read_tensors(
            directory / "model.safetensors", {name: (n_inst, n_rep, *shape) for name, shape in parameter_shapes.items()}
        )
        snapshots: dict[str, Tensor] = {}
        if n_snapshots := len(facts.snapshot_steps):
            snapshots = read_tensors(
                directory / SNAPSHOTS, {name: (n_snapshots, n_inst, *shape) for name, shape in parameter_shapes.items()}
            )
        losses = rows["loss"].to_numpy().reshape(n_inst, n_rep)
        naive_outputs = outputs["naive"].to_numpy().reshape(n_inst, n_rep, n_out)[:, 0]
        firsts = rows.gather_every(n_rep).select("naive", "dedicated", "constant")
        return cls(
            directory=directory,
            hash=manifest_hash(directory),
            config=config,
            instances=instances,
            model=ToyModel(config.network, {name: parameters[name] for name in parameter_shapes}),
            losses=losses,
            per_output=outputs["loss"].to_numpy().reshape(n_inst, n_rep, n_out),
            best=losses.argmin(axis=1),
            naive=tuple(
                Naive(loss, of_outputs, dedicated, constant)
                for (loss, dedicated, constant), of_outputs in zip(firsts.rows(), naive_outputs.tolist(), strict=True)
            ),
            curves=_read_curves(directory / "curves.parquet", n_inst, n_rep),
            snapshot_steps=np.array(facts.snapshot_steps, dtype=np.int64),
            snapshots={name: snapshots[name] for name in parameter_shapes if name in snapshots},
            seconds=facts.seconds,
        )


def _read_curves(path: Path, n_inst: int, n_rep: int) -> Curves:
    table = read_table(path, CURVES)
    steps = table["step"].unique().sort().to_numpy()
    if table.height != len(steps) * n_inst * n_rep:
        raise BadInput(f"{path}: {table.height} rows for {len(steps)} steps of {n_inst} x {n_rep} replicas")
    return Curves(steps, table["loss"].to_numpy().reshape(len(steps), n_inst, n_rep))


class Facts(BaseModel):
    """What readers rely on in the manifest of a toy; it may say more."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    seconds: float = Field(ge=0)
    snapshot_steps: tuple[int, ...]
    arm: str | None = None
    """The name of an arm, which goes on from another toy (`train.toys.arms.store`); arm.json says more."""


def open_toy(directory: Path) -> tuple[ToyConfig, Facts]:
    """The config and facts of a finished toy, whose files are not read yet.

    Raises:
        BadInput: not there, not a toy, of another format version, or a file that has no place in one.
    """
    try:
        there = directory.is_dir()
    except OSError as failure:
        raise BadInput(f"{directory}: cannot be opened ({failure.strerror})") from None
    if not there:
        raise BadInput(f"{directory}: no such directory")
    manifest = read_manifest(directory)
    if manifest.get("kind") != KIND:
        raise BadInput(f"{directory}: not a toy (its manifest says kind = {manifest.get('kind')!r})")
    if (version := manifest.get("format_version")) != FORMAT_VERSION:
        raise BadInput(f"{directory}: format version {version!r}, this polysem reads version {FORMAT_VERSION}")
    facts = validate(Facts, manifest, f"{directory}/MANIFEST.json")
    wanted = REQUIRED | ({SNAPSHOTS} if facts.snapshot_steps else set()) | ({ARM} if facts.arm else set())
    for name in sorted(wanted ^ set(manifest["files"])):
        raise BadInput(f"{directory / name}: {'missing' if name in wanted else 'has no place in a toy'}")
    return validate(ToyConfig, read_toml(directory / CONFIG), str(directory / CONFIG)), facts


def write_toy(directory: Path, config: ToyConfig, fit: Fit, naive: Sequence[Naive]) -> dict[str, Any]:
    """Write the files of a finished toy into a directory that is being published; returns its facts.

    Raises:
        OSError: they could not be written.
    """
    instances, target = instance_table(config), Target.of(config)
    inst, rep, out = (np.arange(n) for n in (len(instances), config.fit.replicas, target.n_outputs))
    losses = fit.losses.numpy()
    rows = grid(instance=inst, replica=rep).with_columns(
        loss=losses.reshape(-1),
        best=(rep == losses.argmin(axis=1)[:, None]).reshape(-1),
        naive=np.repeat([each.loss for each in naive], len(rep)),
        constant=np.repeat([each.constant_loss for each in naive], len(rep)),
        dedicated=np.repeat([each.dedicated for each in naive], len(rep)),
    )
    swept = instances.cast({"instance": pl.Int64})
    write_table(rows.join(swept, on="instance", maintain_order="left"), LOSSES, directory / "losses.parquet")
    outputs = grid(instance=inst, replica=rep, output=out).with_columns(
        name=pl.Series(target.names() * (len(inst) * len(rep))),
        loss=fit.per_output.numpy().reshape(-1),
        naive=np.repeat(np.array([each.per_output for each in naive]), len(rep), axis=0).reshape(-1),
    )
    write_table(outputs, OUTPUTS, directory / "outputs.parquet")
    points = grid(step=fit.curve_steps.numpy(), instance=inst, replica=rep)
    curves = points.with_columns(loss=fit.curve_losses.numpy().reshape(-1))
    write_table(curves, CURVES, directory / "curves.parquet")
    write_tensors(fit.model.parameters, directory / "model.safetensors")
    if fit.snapshots:
        write_tensors(fit.snapshots, directory / SNAPSHOTS)
    (directory / CONFIG).write_text(to_toml(config), encoding="utf-8")
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "seconds": fit.seconds,
        "snapshot_steps": fit.snapshot_steps.tolist(),
        "environment": machine_facts(),
    }
