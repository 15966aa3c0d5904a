"""The content of a TOY.toml that names a program: its question, settings, variants and training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from train.configfile import load_config, read_toml, validate
from train.errors import BadInput, did_you_mean
from train.section import Section
from train.toys.experiment import About
from train.toys.programs.base import Program
from train.toys.programs.catalogue import PROGRAMS

MAX_REPLICAS = 10_000


class ProgramFit(Section):
    """How a program is trained: Adam on fresh samples, or on all inputs where they can be listed."""

    steps: int = Field(ge=1, le=10_000_000)
    batch: int = Field(default=256, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    betas: Annotated[tuple[float, float], Strict(False)] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of all parameters."""
    seed: int = Field(default=0, ge=0)
    """Of initial weights."""
    data_seed: int = Field(default=0, ge=0)
    """Of samples, which all replicas share."""
    replicas: int = Field(ge=1, le=MAX_REPLICAS)
    curve_points: int = Field(default=41, ge=2)
    eval_batch: int = Field(default=4096, ge=1)


class ProgramConfig(Section):
    """One question, asked of variants of one network; a variant's replicas are the seeds of its verdict."""

    about: About
    program: str
    """A name of `train.toys.programs`."""
    fit: ProgramFit
    settings: dict[str, Any] = Field(default_factory=dict)
    """What all variants share."""
    variants: dict[str, dict[str, Any]]
    """By name: what differs."""

    @property
    def of(self) -> Program:
        """The program that it names."""
        return PROGRAMS[self.program]

    def resolved(self) -> dict[str, Section]:
        """The settings of every variant."""
        kind = self.of.settings
        return {
            name: validate(kind, {**self.settings, **own}, f"variants.{name}") for name, own in self.variants.items()
        }


def names_program(path: Path) -> bool:
    """Whether a TOY.toml is of a program instead of one of the engine's networks."""
    return "program" in read_toml(path)


def load_program(path: Path, overrides: list[str] | None = None) -> ProgramConfig:
    """Read a TOY.toml of a program.

    Raises:
        BadInput: naming the file and the key.
    """
    return checked(load_config(ProgramConfig, path, overrides), str(path))


def checked(config: ProgramConfig, where: str) -> ProgramConfig:
    """The config, whose program is known and whose variants hold what it takes.

    Raises:
        BadInput: naming `where` and the key.
    """
    if config.program not in PROGRAMS:
        raise BadInput(
            f"{where}: program: there is no {config.program!r}{did_you_mean(config.program, list(PROGRAMS))}"
        )
    if not config.variants:
        raise BadInput(f"{where}: variants: there is none; give at least one [variants.NAME] table")
    for name in config.variants:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise BadInput(f"{where}: variants: {name!r} is to name a directory; take letters, digits and -")
    try:
        config.resolved()
    except BadInput as failure:
        raise BadInput(f"{where}: {failure}") from None
    return config
