"""The commands that make checkpoints: prepare | documents | run | widen | export | toy | status."""

from train.launch import with_process_settings

if __name__ == "__main__":
    with_process_settings()

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from train.commandline import Command, Program, run_command
from train.config import RunConfig, WidenPlan
from train.configfile import keys_of, load_config, merge, parse_overrides, validate
from train.data.config import DataConfig
from train.errors import BadInput, EnvironmentProblem
from train.export.arguments import Export
from train.shipped import named_config
from train.version import version_line


@dataclass(frozen=True, kw_only=True)
class Prepare(Command):
    """Turn a corpus into packed tokens: data/<name>/ with tokenizer, documents, hashes and counts.

    Text comes from files (.txt, .jsonl, .csv, .parquet, packed or not), data sets of the hub, the default corpus or
    the Brown corpus, mixed by weight; the tokenizer is fitted on it or named: configs/data/ and docs/data.md.
    Killed, it goes on with the shards that are missing. Any key of the file can be given as --key.in.the.file VALUE.
    """

    takes_overrides: ClassVar[bool] = True
    config: Positional[Path]
    """DATA.toml, such as configs/data/default.toml, or the name of one that comes with polysem, such as default"""
    out: Path | None = None
    """directory to write; default data/<name>"""
    jobs: int | None = None
    """cores to use; default: all that this process may use. It changes no result."""

    def run(self, overrides: list[str]) -> None:
        """Prepare, and print what there is now."""
        from train.data.prepare import prepare
        from train.workers import checked_jobs

        jobs = checked_jobs(self.jobs, partial(print, flush=True))
        # Of the tokenizer's library, which has threads of its own; it reads this when it is imported.
        os.environ["RAYON_NUM_THREADS"] = str(jobs)
        config = load_config(DataConfig, named_config("data", self.config), overrides)
        prepared = prepare(config, self.out or Path("data") / config.name, jobs=jobs)
        print(prepared.line(), *prepared.notes(), sep="\n", flush=True)
        for warning in prepared.warnings():
            print(warning, file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Documents(Command):
    """Show what the documents of prepared data are taken for, code or prose: counts, and a page of samples."""

    data: Positional[Path]
    """prepared data, such as data/default"""
    out: Path | None = None
    """page to write; default documents-<name>.html"""

    def run(self, overrides: list[str]) -> None:
        """Write the page, and print the counts."""
        from train.data.page import documents_page

        print(documents_page(self.data, self.out or Path(f"documents-{self.data.resolve().name}.html")))


@dataclass(frozen=True, kw_only=True)
class Run(Command):
    """Train a model, or widen and fine-tune one, and keep checkpoints. Started again, it goes on.

    Any key of the file can be given as --key.in.the.file VALUE. Models of full size stand in configs/run (gelu-1l,
    wide-solu-2l, ...), with twins for a CPU (gelu-1l-cpu, ...); docs/big-models.md says what they take.
    """

    takes_overrides: ClassVar[bool] = True
    config: Positional[Path]
    """RUN.toml, such as configs/run/cpu-1l.toml, or the name of one that comes with polysem, such as cpu-1l"""
    out: Path | None = None
    """directory to write; default checkpoints/<name of the file>"""
    dry_run: bool = False
    """train nothing; print what the run takes of memory, disk and time, and what to change where it does not fit"""
    gpu: str | None = None
    """with --dry-run: reckon with this card instead of this machine: h100, a100, rtx4090, ..."""

    def run(self, overrides: list[str]) -> None:
        """Train, and print the outcome."""
        config = load_config(RunConfig, named_config("run", self.config), overrides)
        out = self.out or Path("checkpoints") / self.config.stem
        if self.gpu is not None and not self.dry_run:
            raise BadInput("--gpu: only with --dry-run; a run takes the GPU that is there")
        if self.dry_run:
            from train.dry_run import dry_run

            reckoned = dry_run(config, out, self.gpu)
            print(reckoned.text)
            if reckoned.refusal is not None:
                raise EnvironmentProblem(reckoned.refusal)
            return
        from train.training_run import run

        outcome = run(config, out, partial(print, flush=True))
        if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
            print(outcome.line())


@dataclass(frozen=True, kw_only=True)
class Widen(Command):
    """Copy every neuron of some MLPs k times by the activation's exact rule, add noise, write a checkpoint.

    Other keys of a [widen] table as well: --split dirichlet --concentration 1 --copies fresh --exact true --seed 0.
    """

    takes_overrides: ClassVar[bool] = True
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

    def run(self, overrides: list[str]) -> None:
        """Widen, and print the receipt."""
        from train.widening.command import widen_checkpoint

        layers = "all" if self.layers == ("all",) else f"[{', '.join(self.layers)}]"
        words = ["--layers", layers, "--factor", self.factor, "--noise", self.noise, "--sigma", self.sigma]
        values = merge(parse_overrides(overrides), parse_overrides(words))
        plan = validate(WidenPlan, values, "command line")
        print(widen_checkpoint(self.checkpoint, plan, self.data, self.out))


@dataclass(frozen=True, kw_only=True)
class Toy(Command):
    """Train toy models of superposition, every instance and replica of a TOY.toml. Started again, it goes on.

    Any key of the file can be given as --key.in.the.file VALUE, after the file.
    """

    takes_overrides: ClassVar[bool] = True
    config: Positional[Path | None] = None
    """TOY.toml, such as configs/toy/abs-100-40.toml, or the name of one that --list shows, such as abs-100-40, or the
    number of a problem, such as 4.7: then every toy that answers it, and what it is compared with"""
    out: Path | None = None
    """directory to write; default checkpoints/toy/<name of the file>; of a problem: takes a directory a toy"""
    list_configs: Annotated[bool, arg(name="list")] = False
    """show the configs that come with polysem: what each asks, expects, takes, and what came of it"""
    names: Literal["problems", "all"] | None = None
    """print the names of those that ask problems 4.1 to 4.20, or of all, cheapest first, for scripts"""

    def run(self, overrides: list[str]) -> None:
        """Train, or list the configs."""
        if self.list_configs:
            from train.toys.listing import list_toys

            if self.config is not None:
                raise BadInput("command line: --list stands alone")
            print(list_toys())
            return
        if self.names is not None:
            from train.toys.order import names

            if self.config is not None:
                raise BadInput("command line: --names stands alone")
            print("\n".join(names(self.names == "all")))
            return
        if self.config is None:
            raise BadInput("command line: toy needs a TOY.toml; --list shows those that come with polysem")
        from train.toys.command import toy_command, toys_command
        from train.toys.listing import is_problem, toys_of_problem

        number = str(self.config)
        if is_problem(number) and not self.config.exists():
            print(toys_command(toys_of_problem(number), self.out, overrides))
            return
        print(toy_command(named_config("toy", self.config), self.out, overrides))


@dataclass(frozen=True, kw_only=True)
class Status(Command):
    """List runs: step, tokens, held-out loss beside the bigram's, and what each is doing. Before them studies that run
    here or were sent to Slurm, with what waits and runs."""

    directory: Positional[Path] = Path("checkpoints")
    """a run, or a directory of runs at any depth"""

    def run(self, overrides: list[str]) -> None:
        """Print a line a run."""
        from train.status import status

        print(status(self.directory))


COMMANDS: dict[str, type[Command]] = {
    "prepare": Prepare,
    "documents": Documents,
    "run": Run,
    "widen": Widen,
    "export": Export,
    "toy": Toy,
    "status": Status,
}


def main() -> None:
    """Parse the command line and leave the process with the command's exit code."""
    description = "Train small language models and widen them. Keys of a RUN.toml: " + ", ".join(keys_of(RunConfig))
    run_command(Program("python -m train", description, COMMANDS, version_line))


if __name__ == "__main__":
    main()
