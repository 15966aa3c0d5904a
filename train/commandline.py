"""What every command line shares: arguments that all commands have, leftover words, one line for a failure."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Union, get_type_hints

import tyro
from tyro.conf import Positional, subcommand

from train.errors import BadInput, did_you_mean, exit_with_one_line

_POSITIONAL = Positional[int].__metadata__[0]  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Command(ABC):
    """A command: its arguments, and what it does with them."""

    takes_overrides: ClassVar[bool] = False
    """Whether words that are no argument are keys of a TOML file, such as `--optim.lr 4e-3`."""

    debug: bool = False
    """show the traceback of a failure"""

    @abstractmethod
    def run(self, overrides: list[str]) -> None:
        """Do it.

        Args:
            overrides: the words that are no argument; none unless `takes_overrides`.
        """


def run_command(program: str, description: str, commands: Mapping[str, type[Command]]) -> None:
    """Parse the command line, run the command that it names, and leave the process with the command's exit code.

    Args:
        program: what a user types before the command.
        commands: by the names that users type.
    """
    kinds: Any = Union[tuple(Annotated[kind, subcommand(name)] for name, kind in commands.items())]  # noqa: UP007
    args = [_with_home(word) for word in sys.argv[1:]]
    command, words = tyro.cli(kinds, prog=program, description=description, args=args, return_unknown_args=True)
    name = next(name for name, kind in commands.items() if isinstance(command, kind))
    exit_with_one_line(lambda: _run(command, name, words), command.debug)


def _with_home(word: str) -> str:
    """`--out=~/x` with the home directory in it: some shells put it there only where the word begins with `~`."""
    option, equals, path = word.partition("=")
    is_home = option.startswith("--") and (path == "~" or path.startswith("~/"))
    return f"{option}{equals}{os.path.expanduser(path)}" if is_home else word


def _run(command: Command, name: str, words: list[str]) -> None:
    if words and not command.takes_overrides:
        hints = get_type_hints(type(command), include_extras=True)
        options = [
            field.name for field in fields(command) if _POSITIONAL not in getattr(hints[field.name], "__metadata__", ())
        ]
        known = [f"--{name.replace('_', '-')}" for name in options]
        raise BadInput(f"command line: {words[0]!r} is not an option of `{name}`{did_you_mean(words[0], known)}")
    command.run(words)
