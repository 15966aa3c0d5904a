"""`train toy --list`: the toy configs that come with polysem, and the question of each."""

import os
import textwrap
from pathlib import Path

from train.configfile import load_config
from train.errors import BadInput
from train.shipped import CONFIGS
from train.toys.config import ToyConfig
from train.toys.experiment import About
from train.toys.programs.config import load_program, names_program

SHIPPED = CONFIGS / "toy"

_SHOWN = ("question", "expectation", "run_time", "outcome")


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
    return load_program(path).about if names_program(path) else load_config(ToyConfig, path).about


def list_toys(directory: Path = SHIPPED, width: int = 100) -> str:
    """Every shipped config: file, title, problem, question, expectation, run time and outcome.

    Raises:
        BadInput: there is none, or one that is not a TOY.toml.
    """
    return "\n\n".join(_entry(path, width) for path in shipped_configs(directory))


def _entry(path: Path, width: int) -> str:
    about = about_of(path)
    name = os.path.relpath(path)
    problem = f" (problem {about.problem})" if about.problem else ""
    lines = [f"{name if len(name) < len(str(path)) else path}: {about.title}{problem}"]
    for key in _SHOWN:
        if text := getattr(about, key):
            label = f"  {key.replace('_', ' '):12} "
            lines.append(textwrap.fill(text, width, initial_indent=label, subsequent_indent=" " * 15))
    return "\n".join(lines)
