"""Arms of a toy: its trained networks widened and trained on, and their controls.

checkpoints/toy/<name>-arms/<arm>/    a finished toy like its base (`train.toys.runs`), sealed, and with
    arm.json                          what it started from, and which neuron each of its neurons was copied from

The copies follow `train.widening.schemes`, the same rules as in language models.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from train.activations import ACTIVATIONS
from train.configfile import validate
from train.errors import BadInput, PolysemError
from train.files import read_json, read_manifest
from train.toys.adam import Scales
from train.toys.arm_config import ArmConfig
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.fit import Start
from train.toys.models import ToyModel, initial
from train.toys.network_config import NetworkConfig
from train.toys.room import EVAL_BLOCK, eval_blocks
from train.toys.runs import ARM, ToyRun
from train.toys.targets import Target
from train.widening.schemes import MLPWeights, parents_of, widen_mlp

EXACT_TOLERANCE = 1e-5
"""Largest relative L2 change of a network's answers in fp32 by a scheme that promises exactness."""


class ArmFacts(BaseModel):
    """arm.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str
    settings: ArmConfig
    start_sha256: str
    """Of the base's model.safetensors: the trained networks that the arm started from (or, from scratch, is compared
    with). The base's manifest will not do: it changes with the words of [about]."""
    steps_before: int = Field(ge=0)
    """Steps of the start's training; a network from scratch took them as well."""
    relative_l2: float = Field(ge=0)
    """Largest change of any network's answers by widening, over their norm; 0 from scratch."""
    parents: list[int] | None
    """The base's neuron that each hidden neuron was copied from, -1 for a fresh one; None from scratch."""


@dataclass(frozen=True)
class ToyArm:
    """A finished arm."""

    run: ToyRun
    facts: ArmFacts

    @property
    def name(self) -> str:
        """The arm's name in its base's config."""
        return self.facts.name

    @property
    def settings(self) -> ArmConfig:
        """As they were when it ran."""
        return self.facts.settings

    @classmethod
    def load(cls, directory: Path) -> "ToyArm":
        """Open an arm.

        Raises:
            BadInput: not a whole toy, or not an arm.
        """
        return cls(ToyRun.load(directory), read_facts(directory))


def arms_directory(base: Path) -> Path:
    """Where the arms of a toy lie: next to it, since a sealed directory holds nothing else."""
    base = base.resolve()
    return base.with_name(f"{base.name}-arms")


def load_arms(base: ToyRun) -> list[ToyArm]:
    """The arms that a toy's config names, in order; empty before they have been trained.

    Raises:
        BadInput: only some are there, or one is damaged or started from other networks.
    """
    directory = arms_directory(base.directory)
    if not base.config.arms or not directory.is_dir():
        return []
    arms = []
    for name in base.config.arms:
        if not (directory / name).is_dir():
            raise BadInput(f"{directory / name}: not there; `train toy` trains the arms that are missing")
        arm = ToyArm.load(directory / name)
        require_from(arm.facts, base, directory / name)
        arms.append(arm)
    return arms


def read_facts(directory: Path) -> ArmFacts:
    """Read arm.json of a finished arm.

    Raises:
        BadInput: there is none, or its content does not fit.
    """
    path = directory / ARM
    values = read_json(path, 2**26)
    if isinstance(values, dict) and isinstance(settings := values.get("settings"), dict):
        values["settings"] = validate(ArmConfig, settings, f"{path}: settings")
    return validate(ArmFacts, values, str(path))


def require_from(facts: ArmFacts, base: ToyRun, where: Path) -> None:
    """Refuse an arm that started from other networks.

    Raises:
        BadInput: it did.
    """
    if facts.start_sha256 != weights_hash(base):
        raise BadInput(f"{where}: started from other networks than those in {base.directory}; remove it to train anew")


def weights_hash(base: ToyRun) -> str:
    """sha256 of a toy's model.safetensors, from its manifest."""
    return read_manifest(base.directory)["files"]["model.safetensors"]["sha256"]


def arm_config(config: ToyConfig, name: str) -> ToyConfig:
    """An arm as a toy of its own: as wide as the arm, for the steps that come after the base's."""
    arm = config.arms[name]
    hidden = tuple(width * arm.factor for width in config.network.hidden)
    about = {
        "title": f"{config.about.title}: {name}",
        "question": f"What becomes of the trained networks as the arm {name}?",
        "expectation": arm.expectation or "Not stated.",
        "outcome": "",
    }
    given = config.fine_tune.model_dump(exclude_none=True)
    values = config.model_dump(exclude={"fine_tune", "arms", "expect", "verdict"}) | {
        "about": config.about.model_dump() | about,
        "network": config.network.model_dump() | {"hidden": hidden},
        "fit": config.fit.model_dump() | given | {"l1": arm.l1},
    }
    return validate(ToyConfig, values, f"arms.{name}")


def scratch_config(config: ToyConfig, name: str) -> ToyConfig:
    """The steps that a network from scratch takes first, to catch up with the other arms' start."""
    fit = config.fit.model_copy(update={"l1": config.arms[name].l1, "snapshots": 0})
    return arm_config(config, name).model_copy(update={"fit": fit})


def widened(model: ToyModel, arm: ArmConfig, init_scales: list[float]) -> ToyModel:
    """Every network widened: neurons copied, W2 shared out, noise added; or fresh neurons added to the old ones.

    Noise, shares and fresh neurons of replica r are drawn from (arm.seed, r) alone, the same for every instance.

    Args:
        model: computations with one hidden layer; not changed.
        arm: not from scratch.
        init_scales: of each instance; fresh neurons' W1 is drawn with the spread of initial weights.

    Raises:
        BadInput: a layer that is not there.
    """
    arm.layers_in(1)
    config, old = model.config, model.parameters
    wide_config = config.model_copy(update={"hidden": (config.hidden[0] * arm.factor,)})
    fields = {name: field for name, field in (("W1", "w_in"), ("W2", "w_out"), ("b1", "b_in")) if name in old}
    wide: dict[str, list[Tensor]] = {name: [] for name in fields}
    for instance, scale in enumerate(init_scales):
        deviation = scale * _initial_deviation(config, model.n_features, wide_config.hidden[0])
        for replica in range(model.n_rep):
            own = {name: old[name][instance, replica] for name in fields}
            mlp = MLPWeights(w_in=own["W1"], w_out=own["W2"], b_in=own.get("b1"))
            prefix, noise = f"toy/{arm.seed}/{replica}/", f"{arm.noise} noise"
            mlp = widen_mlp(mlp, config.activation, arm, prefix, noise, deviation)
            for name, field in fields.items():
                wide[name].append(getattr(mlp, field))
    stacked = {name: torch.stack(each).unflatten(0, (-1, model.n_rep)) for name, each in wide.items()}
    return ToyModel(wide_config, old | stacked)


def _initial_deviation(config: NetworkConfig, n_features: int, n_hidden: int) -> float:
    """Standard deviation of W1's initial weights at `init_scale` 1 (see `NetworkConfig.init`)."""
    return math.sqrt(2 / n_features) if config.init == "kaiming" else math.sqrt(2 / (n_features + n_hidden))


def scales_of(arm: ArmConfig, activation: str) -> Scales:
    """The rates of single parameters that `ArmConfig.widened_rates` asks for."""
    if arm.widened_rates == "full" or not (arm.copies_neurons or arm.scratch):
        return Scales()
    assert ACTIVATIONS[activation].w_out_over_k, "toys have activations whose copies share W2"
    epsilon = {} if arm.scratch else {"W1": 1 / arm.factor, "b1": 1 / arm.factor}
    return Scales(rate={"W2": 1 / arm.factor}, epsilon=epsilon)


def parents(config: ToyConfig, arm: ArmConfig) -> Int[np.ndarray, " hidden"] | None:
    """The base's neuron that each of the arm's was copied from; None from scratch."""
    return None if arm.scratch else parents_of(config.network.hidden[0], arm.factor, arm.copies)


def start_of(base: ToyRun, name: str, tolerance: float = EXACT_TOLERANCE) -> tuple[Start, float]:
    """The networks that a widened arm starts from, and the largest relative L2 change that widening made.

    Raises:
        PolysemError: a scheme that promises exactness missed it: a defect.
    """
    arm = base.config.arms[name]
    configs = base.config.instances()
    wide = widened(base.model, arm, [each.network.init_scale for each in configs])
    moved = float(relative_change(base.model, wide, base.config).max())
    if arm.keeps_the_function and not moved <= tolerance:
        raise PolysemError(f"arms.{name}: widening was to be exact and moved the answers by {moved:.1e}; refused")
    steps = base.config.fit.steps
    return Start(wide, steps, scales_of(arm, base.config.network.activation)), moved


def fresh_start(base: ToyConfig, name: str) -> Start:
    """The start of an arm from scratch: initial networks of its width."""
    config = scratch_config(base, name)
    n_outputs = Target.of(config).n_outputs
    model = initial(config.instances(), n_outputs, config.fit.seed, config.fit.replicas)
    return Start(model, 0, scales_of(base.arms[name], base.network.activation))


@torch.no_grad()
def relative_change(old: ToyModel, new: ToyModel, config: ToyConfig) -> Float[Tensor, "inst rep"]:
    """L2 norm of the change of the answers over their own norm, on samples of the final loss; 0 / 0 counts as 0."""
    stream, size = eval_blocks(EVAL_BLOCK)[0]
    x = Sampler.of(config.instances()).sample(size, config.fit.seed, stream)
    answers = old(x)
    difference, size = (each.flatten(2).norm(dim=2) for each in (new(x) - answers, answers))
    return torch.where(difference == 0, 0.0, difference / size)
