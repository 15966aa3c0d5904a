"""What a study trains: its file read with overrides, and every run it asks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.study.config import StudyConfig
from train.config import RunConfig
from train.configfile import merge, parse_overrides, read_toml, validate
from train.errors import BadInput
from train.precision import Precision

MUST_BE_EQUAL = ("precision", "compile")
"""Keys of [train] in which the variants of a study may not differ: twins differ in one thing only."""


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study."""

    name: str
    config: RunConfig
    is_arm: bool

    @property
    def starts_outside(self) -> bool:
        """Whether it starts from a checkpoint that the study does not train, such as an imported one."""
        return not self.is_arm and self.config.start is not None


def load_study(path: Path, words: list[str]) -> tuple[StudyConfig, dict[str, Any]]:
    """The study and the values of its base run; each override goes to whichever of the two knows its key.

    Args:
        path: a STUDY.toml.
        words: overrides, such as `--seeds '[0]' --train.tokens 1_000_000`.

    Raises:
        BadInput: a file or an override that is not valid.
    """
    overrides = parse_overrides(words)
    own = {key: value for key, value in overrides.items() if key in StudyConfig.model_fields}
    rest = {key: value for key, value in overrides.items() if key not in own}
    study = validate(StudyConfig, merge(read_toml(path), own), str(path))
    base = merge(read_toml(study.base), rest)
    first = next(iter(study.variants.values()))
    validate(RunConfig, merge(base, first), study.base)
    return study, base


def plan(
    study: StudyConfig, base: dict[str, Any], checkpoints: Path, origin: str, precision: Precision = "fp32"
) -> list[PlannedRun]:
    """Every training of a study, seed by seed: variants first, then the arms that start from them.

    Args:
        base: values of the base run, which variants and arms are laid over.
        checkpoints: the study's directory of runs, in which arms find what they start from.
        origin: the study's file, for messages.
        precision: what "auto" stands for in this study.

    Raises:
        BadInput: a variant or arm that is not a valid run, or that differs from the others in precision.
    """
    runs: list[PlannedRun] = []
    for seed in study.seeds:
        for variant, values in study.variants.items():
            merged = merge(merge(base, values), {"seed": seed, "variant": variant})
            config = _settled(validate(RunConfig, merged, f"{origin}: variants.{variant}"), precision)
            runs.append(PlannedRun(f"{variant}-s{seed}", config, is_arm=False))
        for arm, values in study.arms.items():
            inherited = {key: value for key, value in base.items() if key != "model"}
            merged = merge(merge(inherited, study.arm_defaults), values)
            start = checkpoints / f"{merged['start']}-s{seed}"
            merged = merge(merged, {"seed": seed, "variant": arm, "start": str(start)})
            config = _settled(validate(RunConfig, merged, f"{origin}: arms.{arm}"), precision)
            runs.append(PlannedRun(f"{arm}-s{seed}", config, is_arm=True))
    for key in MUST_BE_EQUAL:
        for run in runs[1:]:
            first, here = getattr(runs[0].config.train, key), getattr(run.config.train, key)
            if here != first:
                raise BadInput(
                    f"{origin}: train.{key} is {here!r} in {run.name}, {first!r} in {runs[0].name}; twins share it"
                )
    return runs


def _settled(config: RunConfig, precision: Precision) -> RunConfig:
    if config.train.precision != "auto":
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
