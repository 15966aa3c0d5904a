"""Whether what a TOY.toml asks can be answered: its [[expect]] and its [verdict], before anything is trained."""

from pathlib import Path
from typing import get_args

from train.configfile import load_config
from train.errors import BadInput, did_you_mean
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED, is_problem
from train.toys.measures import OF_TRAINING, SCOPES
from train.toys.programs.config import names_program
from train.toys.verdict_config import NullKind, VerdictConfig

PROBLEMS = 45
"""Of chapter 4 of the published list: 4.1 to 4.45. A question of one's own has a name without such a number."""

OTHER_WEIGHTS: tuple[NullKind, ...] = ("untrained", "rotation", "permutation")
"""Nulls that measure the same networks with other weights."""


def require_answerable(config: ToyConfig, path: Path, *, changed: bool = False) -> None:
    """Refuse what no analysis could answer at the end.

    Args:
        path: the TOY.toml, for the message; another toy that it names is looked for beside it, then among shipped ones.
        changed: whether keys were overridden; the toy that it is compared with may then be overridden alike, so its
            file says nothing of its instances.

    Raises:
        BadInput: naming the file and the key.
    """
    for i, each in enumerate(config.expect):
        _require_measure(config, each.measure, f"{path}: expect.{i}.measure")
    if (rule := config.verdict) is None:
        return
    _require_measure(config, rule.measure, f"{path}: verdict.measure")
    number = config.about.problem
    if is_problem(number) and number not in {f"4.{i}" for i in range(1, PROBLEMS + 1)}:
        raise BadInput(f"{path}: about.problem: {number!r} is none of 4.1 to 4.{PROBLEMS}")
    if rule.null == "rotation" and config.network.kind != "bottleneck":
        raise BadInput(f"{path}: verdict.null: a {config.network.kind} model is not free to rotate")
    if rule.null in OTHER_WEIGHTS and rule.measure in OF_TRAINING:
        raise BadInput(
            f"{path}: verdict.null: {rule.null!r} measures other weights, and {rule.measure!r} is of losses that "
            f"training recorded; take {', '.join(each for each in get_args(NullKind) if each not in OTHER_WEIGHTS)}"
        )
    if rule.null == "toy":
        _require_other(config, rule, path, changed)


def _require_measure(config: ToyConfig, name: str, key: str) -> None:
    if name not in SCOPES:
        raise BadInput(f"{key}: measure {name!r} is not known{did_you_mean(name, [*SCOPES])}")
    if not SCOPES[name].holds(config):
        raise BadInput(
            f"{key}: {name!r} does not apply to this {config.network.kind} model; it is for {SCOPES[name].says}"
        )


def _require_other(config: ToyConfig, rule: VerdictConfig, path: Path, changed: bool) -> None:
    """Of the toy that a rule names as its null: that it is there and can be measured alike."""
    key, name = f"{path}: verdict.against", rule.against
    known = {each.stem: each for folder in (SHIPPED, path.parent) for each in sorted(folder.glob("*.toml"))}
    if name == path.stem:
        raise BadInput(f"{key}: {name!r} is this toy itself")
    if name not in known:
        near = hint if (hint := did_you_mean(name, [*known])).startswith("; did") else ""
        raise BadInput(f"{key}: there is no {name}.toml beside this file, nor among those of polysem{near}")
    if names_program(known[name]):
        raise BadInput(f"{key}: {known[name]} is a program, whose networks have other measures")
    other = load_config(ToyConfig, known[name])
    _require_measure(other, rule.measure, f"{path}: verdict.measure: of the toy {name!r}")
    if not changed and (other.sweep.rows(), other.fit.replicas) != (config.sweep.rows(), config.fit.replicas):
        raise BadInput(f"{key}: {known[name]} has other instances or replicas")
