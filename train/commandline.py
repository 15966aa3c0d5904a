"""What every command line shares: arguments that all commands have, help, leftover words, one line for a failure."""

import io
import os
import re
import shutil
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Union, get_type_hints

import tyro
from tyro.conf import Positional, subcommand

from train.errors import BadInput, did_you_mean, exit_with_one_line
from train.parent import stop_with_parent

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


@dataclass(frozen=True)
class Program:
    """A command line: its commands, and what its help says of them."""

    name: str
    """What a user types before the command."""
    description: str
    commands: Mapping[str, type[Command]]
    """By the names that users type."""
    version: Callable[[], str]
    """Makes the line of `--version`; called when it is asked for."""
    former: Mapping[str, str] = field(default_factory=dict)
    """Names that commands had before -> what they are called now; they work and help leaves them out."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a user wants to do -> the commands for it; others come last."""

    def help(self) -> str:
        """What `--help` shows: a line for each command, by group, and where to read on."""
        width = min(shutil.get_terminal_size().columns, 120)
        indent = max(map(len, self.commands)) + 4
        grouped = {name for names in self.groups.values() for name in names}
        rest = tuple(name for name in self.commands if name not in grouped)
        groups = {**self.groups, **({("More" if grouped else "Commands"): rest} if rest else {})}
        lines = [f"usage: {self.name} COMMAND ...", "", *textwrap.wrap(self.description, width)]
        for title, names in groups.items():
            lines += ["", f"{title}:"]
            for name in names:
                summary = " ".join((self.commands[name].__doc__ or "").split("\n\n")[0].split())
                first = f"  {name}".ljust(indent)
                lines.append(textwrap.fill(summary, width, initial_indent=first, subsequent_indent=" " * indent))
        lines += [
            "",
            f"{self.name} COMMAND --help shows the arguments of a command, {self.name} --version what runs here.",
        ]
        if " " not in self.name:  # shells complete the words of a command, not of `python -m`
            lines.append(f"Tab completion in bash: {completion(self.name)} (also zsh, fish, tcsh)")
        return "\n".join(lines)


def completion(name: str) -> str:
    """What a user of bash types once, so that Tab completes commands and options."""
    file = f"~/.{name}-completion"
    return f"{name} --tyro-write-completion bash {file} && echo 'source {file}' >> ~/.bashrc"


def run_command(program: Program) -> None:
    """Parse the command line, run the command that it names, and leave the process with the command's exit code."""
    words = [_with_home(word) for word in sys.argv[1:]]

    def command() -> None:
        stop_with_parent()  # in here, since its signal may come at once and must find the handler
        _run(program, words)

    exit_with_one_line(command, debug="--debug" in words)


def options_of(kind: type[Command]) -> list[str]:
    """The options of a command as users type them, such as `--max-tokens`."""
    hints = get_type_hints(kind, include_extras=True)
    names = []
    for each in fields(kind):
        told = getattr(hints[each.name], "__metadata__", ())
        if _POSITIONAL not in told:
            names.append(next((name for one in told if (name := getattr(one, "name", None))), each.name))
    return [f"--{name.replace('_', '-')}" for name in names]


def _with_home(word: str) -> str:
    """`--out=~/x` with the home directory in it: some shells put it there only where the word begins with `~`."""
    option, equals, path = word.partition("=")
    is_home = option.startswith("--") and (path == "~" or path.startswith("~/"))
    return f"{option}{equals}{os.path.expanduser(path)}" if is_home else word


def _run(program: Program, words: list[str]) -> None:
    if not words:
        raise BadInput(f"command line: a command is missing; {program.name} --help lists them")
    first, *rest = words
    if first in ("-h", "--help"):
        print(program.help())
        return
    if first == "--version":
        print(program.version())
        return
    if first.replace("_", "-").startswith("--tyro-"):
        _write_completion(program, words)
    if first.startswith("-"):
        raise BadInput(f"command line: {first!r} stands before the command; {program.name} --help lists the commands")
    name = program.former.get(first, first)
    if name not in program.commands:
        near = did_you_mean(first, [*program.commands])
        raise BadInput(f"command line: {first!r} is no command of {program.name}{near}")
    command, overrides = _parse(program.commands[name], f"{program.name} {name}", rest)
    foreign = {word: _owner(program, name, word) for word in overrides if word.startswith("--")}
    if overrides and not command.takes_overrides:
        word = overrides[0]
        hint = foreign.get(word) or did_you_mean(word, options_of(type(command)))
        raise BadInput(f"command line: {word!r} is not an option of `{name}`{hint}")
    try:
        command.run(overrides)
    except BadInput as failure:
        # Keys of a file and options of another command look alike: who confuses them reads both.
        for word, owner in foreign.items():
            if owner and f"unknown key {word[2:].partition('=')[0]!r}" in str(failure):
                failure.args = (f"{failure}{owner}",)
        raise


def _parse(kind: type[Command], prog: str, words: list[str]) -> tuple[Command, list[str]]:
    """The command and the words that are none of its arguments; what is wrong with them is one line."""
    words, keys = _without_keys(kind, words) if kind.takes_overrides else (words, [])
    with redirect_stderr(io.StringIO()) as said:
        try:
            command, rest = tyro.cli(kind, prog=prog, args=words, return_unknown_args=True)
            return command, [*keys, *rest]
        except SystemExit as left:
            if not left.code:
                raise
    raise BadInput(f"command line: {_complaint(said.getvalue())}; see {prog} --help")


def _without_keys(kind: type[Command], words: list[str]) -> tuple[list[str], list[str]]:
    """The words without keys of a file and their values, and these: the parser would take a value for an argument.

    So `study --train.tokens 1e5` needs no name of a study before it.
    """
    own = {"--help", *(f"--{prefix}{name[2:]}" for name in options_of(kind) for prefix in ("", "no-"))}
    kept: list[str] = []
    keys: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word.partition("=")[0].replace("_", "-") in own:
            kept.append(word)
            continue
        keys.append(word)
        if "=" not in word and waiting and not waiting[0].startswith("--"):
            keys.append(waiting.pop(0))
    return kept, keys


def _complaint(box: str) -> str:
    """What the parser's box says, as one line: its first paragraph, and of missing arguments the names."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # The box is drawn, or where a terminal cannot, indented by two: its title by one.
    lines = [line[2:].rstrip(" │") for line in text.splitlines() if line.startswith(("│ ", "  "))]
    said: list[str] = []
    for line in lines:
        if line.startswith(("─", "--")):
            break
        if not line.startswith(" " * 8):  # deeper: the help of an argument
            said.append(line.strip())
    if said and said[0].startswith("Missing from"):
        return f"missing: {', '.join(said[1:])}"
    return " ".join(said).rstrip(".") or " ".join(text.split())


def _owner(program: Program, name: str, word: str) -> str:
    """`; --x is an option of `y`` for a word that another command would take."""
    option = word.partition("=")[0].replace("_", "-")
    owners = [f"`{other}`" for other, kind in program.commands.items() if other != name and option in options_of(kind)]
    return f"; {option} is an option of {', '.join(owners)}" if owners else ""


def _write_completion(program: Program, words: list[str]) -> None:
    """Have tyro write what a shell completes words by, and leave the process."""
    shells = ("bash", "zsh", "fish", "tcsh")
    write = words[0].replace("_", "-") == "--tyro-write-completion"
    if len(words) != 2 + write or words[1] not in shells:
        raise BadInput(
            f"command line: write {program.name} --tyro-write-completion SHELL FILE or "
            f"{program.name} --tyro-print-completion SHELL; shells: {', '.join(shells)}"
        )
    kinds: Any = Union[  # noqa: UP007
        tuple(Annotated[kind, subcommand(name)] for name, kind in program.commands.items())
    ]
    tyro.cli(kinds, prog=program.name, description=program.description, args=words)
