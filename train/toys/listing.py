"""`train toy --list` and `train toy 4.7`: the toy configs that come with polysem, by the problem that each answers."""

import os
import re
import textwrap
from pathlib import Path

from train.configfile import load_config, read_toml
from train.errors import BadInput, did_you_mean
from train.shipped import CONFIGS
from train.toys.config import ToyConfig
from train.toys.experiment import About
from train.toys.programs.config import ProgramConfig, load_program, names_program

SHIPPED = CONFIGS / "toy"

_SHOWN = ("question", "expectation", "run_time", "outcome")
_NUMBER = re.compile(r"\d+\.\d+")
_LAST = (1_000_000,)
"""Where what answers no problem comes."""


def shipped_configs(directory: Path = SHIPPED) -> list[Path]:
    """Every TOY.toml of a directory, in order: toys of the engine, and programs.

    Raises:
        BadInput: there is none.
    """
    if not (paths := sorted(directory.glob("*.toml"))):
        raise BadInput(f"{directory}: holds no TOY.toml; those that come with polysem lie in configs/toy")
    return paths


def shipped_toys(directory: Path = SHIPPED) -> list[Path]:
    """Those of the engine's networks."""
    return [path for path in shipped_configs(directory) if not names_program(path)]


def shipped_programs(directory: Path = SHIPPED) -> list[Path]:
    """Those of programs (`train.toys.programs`)."""
    return [path for path in shipped_configs(directory) if names_program(path)]


def about_of(path: Path) -> About:
    """What a TOY.toml of either kind says of itself.

    Raises:
        BadInput: naming the file and the key.
    """
    return _config_of(path).about


def is_problem(name: str) -> bool:
    """Whether a name is the number of a problem, such as `4.7`."""
    return _NUMBER.fullmatch(name) is not None


def toys_of_problem(number: str, directory: Path = SHIPPED) -> list[Path]:
    """The programs and the configs with a [verdict] that answer a problem, a config after the one that it is compared
    with; where none has a rule, those that are about the problem.

    Raises:
        BadInput: no toy asks it; names those problems that are asked.
    """
    # As plain values: a phase diagram alone takes a second to validate.
    configs = {path: read_toml(path) for path in shipped_configs(directory)}
    problems = {path: each["about"].get("problem", "") for path, each in configs.items()}
    about_it = [path for path, problem in problems.items() if problem == number]
    chosen: dict[Path, None] = {}
    for path in about_it:
        if {"verdict", "program"} & set(configs[path]):
            against = configs[path].get("verdict", {}).get("against")
            chosen |= dict.fromkeys([directory / f"{against}.toml", path] if against else [path])
    if not about_it:
        numbers = sorted({each for each in problems.values() if each}, key=_place)
        raise BadInput(
            f"problem {number}: no toy that comes with polysem asks it{did_you_mean(number, numbers)} "
            f"(toys ask {', '.join(numbers)}); `polysem problems` says how the others are asked"
        )
    return list(chosen) or about_it


def list_toys(directory: Path = SHIPPED, width: int = 100) -> str:
    """Every shipped config by problem: file, title, question, expectation, run time, outcome and rule.

    Raises:
        BadInput: there is none, or one that is not a TOY.toml.
    """
    configs = {path: _config_of(path) for path in shipped_configs(directory)}
    blocks, before = [], None
    for path, config in sorted(configs.items(), key=lambda item: (_place(item[1].about.problem), item[0])):
        if config.about.problem != before:
            before = config.about.problem
            blocks.append(f"Problem {before} (polysem toy {before})" if before else "Of no numbered problem")
        blocks.append(_entry(path, config, width))
    return "\n\n".join(blocks)


def _config_of(path: Path) -> ToyConfig | ProgramConfig:
    return load_program(path) if names_program(path) else load_config(ToyConfig, path)


def _place(problem: str) -> tuple[int, ...]:
    return tuple(int(part) for part in problem.split(".")) if is_problem(problem) else _LAST


def _entry(path: Path, config: ToyConfig | ProgramConfig, width: int) -> str:
    about = config.about
    name = os.path.relpath(path)
    lines = [f"{name if len(name) < len(str(path)) else path}: {about.title}"]
    for key in _SHOWN:
        if text := getattr(about, key):
            label = f"  {key.replace('_', ' '):12} "
            lines.append(textwrap.fill(text, width, initial_indent=label, subsequent_indent=" " * 15))
    if isinstance(config, ToyConfig) and config.verdict is not None:
        label = f"  {'verdict':12} "
        lines.append(textwrap.fill(config.verdict.says, width, initial_indent=label, subsequent_indent=" " * 15))
    return "\n".join(lines)
