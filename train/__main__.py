"""The commands that make checkpoints: prepare | run | widen | toy | status."""

from train.launch import with_allocator_settings

if __name__ == "__main__":
    with_allocator_settings()

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg, subcommand

from train.config import DataConfig, RunConfig, WidenPlan
from train.configfile import keys_of, load_config, merge, parse_overrides, validate
from train.errors import BadInput, exit_with_one_line


@dataclass(frozen=True)
class Prepare:
    """Turn a corpus into packed tokens: data/<name>/ with tokenizer, documents, hashes and counts.

    Any key of the file can be given as --key.in.the.file VALUE.
    """

    config: Positional[Path]
    """DATA.toml, such as configs/data/default.toml"""
    out: Path | None = None
    """directory to write; default data/<name>"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Run:
    """Train a model, or widen and fine-tune one, and keep checkpoints. Started again, it goes on.

    Any key of the file can be given as --key.in.the.file VALUE.
    """

    config: Positional[Path]
    """RUN.toml, such as configs/run/cpu-1l.toml"""
    out: Path | None = None
    """directory to write; default checkpoints/<name of the file>"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Widen:
    """Copy every neuron of some MLPs k times by the activation's exact rule, add noise, write a checkpoint.

    Other keys of a [widen] table as well: --split dirichlet --concentration 1 --copies fresh --exact true --seed 0.
    """

    checkpoint: Positional[Path]
    """a run (its newest step) or a step directory"""
    layers: Annotated[tuple[str, ...], arg(metavar="INT...|all")]
    """layers whose MLPs are widened, such as 0 1, or all"""
    factor: Annotated[str, arg(metavar="INT")]
    """copies of every neuron, 1 to 100"""
    noise: str = WidenPlan.model_fields["noise"].default
    """none, zero_sum (keeps the function), w_in, antithetic, w_out (do not)"""
    sigma: Annotated[str, arg(metavar="FLOAT")] = str(WidenPlan.model_fields["sigma"].default)
    """noise relative to the root mean square of the neuron's own weights"""
    data: Path | None = None
    """prepared data for the receipt; default: the checkpoint's own, else random tokens"""
    out: Path | None = None
    """directory to write; default <run>-x<factor>"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Toy:
    """Train toy models of superposition, every instance and replica of a TOY.toml. Started again, it goes on.

    Any key of the file can be given as --key.in.the.file VALUE, after the file.
    """

    config: Positional[Path | None] = None
    """TOY.toml, such as configs/toy/abs-100-40.toml"""
    out: Path | None = None
    """directory to write; default checkpoints/toy/<name of the file>"""
    list: bool = False
    """show the configs that come with polysem: what each asks, expects, takes, and what came of it"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class Status:
    """List runs: step, tokens, held-out loss beside the bigram's, and what each is doing."""

    directory: Positional[Path] = Path("checkpoints")
    """a run, or a directory of runs at any depth"""
    debug: bool = False
    """show the traceback of a failure"""


Command = (
    Annotated[Prepare, subcommand("prepare")]
    | Annotated[Run, subcommand("run")]
    | Annotated[Widen, subcommand("widen")]
    | Annotated[Toy, subcommand("toy")]
    | Annotated[Status, subcommand("status")]
)


def _prepare(command: Prepare, overrides: list[str]) -> None:
    from train.data.prepare import prepare

    config = load_config(DataConfig, command.config, overrides)
    prepared = prepare(config, command.out or Path("data") / config.name)
    facts = prepared.facts
    print(
        f"{'found' if prepared.found else 'wrote'} {prepared.directory}: "
        f"{facts['n_tokens']['fit']:,} training and {facts['n_tokens']['eval']:,} held-out tokens, "
        f"{facts['n_documents']['fit']:,} and {facts['n_documents']['eval']:,} documents, "
        f"{facts['n_duplicates']:,} duplicates, {facts['d_vocab']:,} words"
    )


def _run(command: Run, overrides: list[str]) -> None:
    from train.training_run import run

    config = load_config(RunConfig, command.config, overrides)
    outcome = run(config, command.out or Path("checkpoints") / command.config.stem)
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        print(outcome.line())


def _widen(command: Widen, overrides: list[str]) -> None:
    from train.widening.command import widen_checkpoint

    layers = "all" if command.layers == ("all",) else f"[{', '.join(command.layers)}]"
    words = ["--layers", layers, "--factor", command.factor, "--noise", command.noise, "--sigma", command.sigma]
    values = merge(parse_overrides(overrides), parse_overrides(words))
    plan = validate(WidenPlan, values, "command line")
    print(widen_checkpoint(command.checkpoint, plan, command.data, command.out))


def _toy(command: Toy, overrides: list[str]) -> None:
    if command.list:
        from train.toys.listing import list_toys

        if command.config is not None:
            raise BadInput("command line: --list stands alone")
        print(list_toys())
        return
    if command.config is None:
        raise BadInput("command line: toy needs a TOY.toml; --list shows those that come with polysem")
    from train.toys.command import toy_command

    print(toy_command(command.config, command.out, overrides))


def _status(command: Status, overrides: list[str]) -> None:
    from train.status import status

    if overrides:
        raise BadInput(f"command line: {overrides[0]!r} is not an option of `status`")
    print(status(command.directory))


def main() -> None:
    """Parse the command line and leave the process with the command's exit code."""
    description = "Train small language models and widen them. Keys of a RUN.toml: " + ", ".join(keys_of(RunConfig))
    command, overrides = tyro.cli(Command, prog="python -m train", description=description, return_unknown_args=True)
    handlers = {Prepare: _prepare, Run: _run, Widen: _widen, Toy: _toy, Status: _status}
    exit_with_one_line(lambda: handlers[type(command)](command, overrides), command.debug)  # type: ignore[operator]


if __name__ == "__main__":
    main()
