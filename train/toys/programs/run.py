"""A program from its TOY.toml to its sealed directories, one a variant; what was stopped or killed goes on.

checkpoints/toy/<name>/program.toml     the config as it ran
checkpoints/toy/<name>/<variant>/       sealed: model.safetensors ([rep ...]), curve.parquet (step, replica, loss)
checkpoints/toy/<name>/.unfinished/     the newest state of the variant that is being trained
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from train.configfile import differences, load_config, to_toml
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped, one_line
from train.files import (
    clear_leftovers,
    discard,
    locked,
    manifest_hash,
    publishing,
    remove_directory,
    verify,
    write_atomic,
)
from train.interrupt import Interruptible
from train.parquet import read_parquet, write_parquet
from train.section import Section
from train.tensors import read_tensors, write_tensors
from train.toys.programs.base import Parameters, initial
from train.toys.programs.config import ProgramConfig, checked, load_program
from train.toys.programs.training import State, Trained, curve_steps, fit_variant

CONFIG = "program.toml"
SAVE_SECONDS = 30.0
_KIND = "toy-program"


@dataclass(frozen=True)
class VariantRun:
    """A finished variant: every replica's parameters, losses and curve."""

    name: str
    settings: Any
    """The program's own kind of settings."""
    parameters: Parameters
    losses: Float[np.ndarray, " rep"]
    curve_steps: Int[np.ndarray, " points"]
    curve: Float[np.ndarray, "points rep"]
    hash: str
    seconds: float

    @property
    def replicas(self) -> int:
        return len(self.losses)

    def replica(self, number: int) -> Parameters:
        """The parameters of one replica; the replica axis stays, of size 1."""
        return {name: each[number : number + 1] for name, each in self.parameters.items()}


@dataclass(frozen=True)
class ProgramRun:
    """A finished program."""

    directory: Path
    config: ProgramConfig
    variants: dict[str, VariantRun]

    @property
    def seconds(self) -> float:
        """Of training, all variants together."""
        return sum(each.seconds for each in self.variants.values())

    @classmethod
    def load(cls, directory: str | Path) -> "ProgramRun":
        """Open a finished program.

        Raises:
            BadInput: not one, or a variant that is missing or damaged.
        """
        directory = Path(directory)
        if not (directory / CONFIG).is_file():
            raise BadInput(f"{directory}: holds no {CONFIG}; `polysem toy TOY.toml` makes it")
        config = checked(load_config(ProgramConfig, directory / CONFIG), str(directory / CONFIG))
        variants = {}
        for name, settings in config.resolved().items():
            if not (directory / name).is_dir():
                raise BadInput(f"{directory / name}: not there; the same `polysem toy` command trains what is missing")
            variants[name] = _read(directory / name, name, settings, config)
        return cls(directory, config, variants)


def is_program_run(directory: Path) -> bool:
    """Whether a directory was written by a program."""
    return (directory / CONFIG).is_file()


def run_program(config: ProgramConfig, out: Path, save_seconds: float = SAVE_SECONDS) -> tuple[ProgramRun, int]:
    """Train every variant of a program, or go on where an earlier run stopped.

    Returns:
        The finished run, and how many variants were there before.

    Raises:
        BadInput: `out` holds something else, or the program with another config (naming the key).
        EnvironmentProblem: it cannot be written.
        Diverged, Stopped: naming the variant.
    """
    _require_free(out, config)
    found = 0
    work = out / ".unfinished"
    with locked(work):
        write_atomic(out / CONFIG, to_toml(config).encode())
        with Interruptible() as interrupt:
            for name, settings in config.resolved().items():
                if (out / name).is_dir():
                    verify(out / name)
                    found += 1
                    continue
                _train(config, name, settings, out, work, interrupt, save_seconds)
        discard(work)
    return ProgramRun.load(out), found


def program_command(path: Path, out: Path | None, overrides: list[str]) -> str:
    """Run a TOY.toml of a program and report its result.

    Raises:
        BadInput, EnvironmentProblem, Diverged, Stopped: see `run_program`.
    """
    config = load_program(path, overrides)
    run, found = run_program(config, out or Path("checkpoints") / "toy" / path.stem)
    lines = [
        f"{name}: losses {each.losses.min():.4g} to {each.losses.max():.4g}, median {np.median(each.losses):.4g}, "
        f"of {each.replicas} replicas"
        for name, each in run.variants.items()
    ]
    word = "found" if found == len(run.variants) else "wrote"
    lines.append(
        f"{word} {run.directory}: {len(run.variants)} variants, {config.fit.steps:,} steps, trained in "
        f"{run.seconds:,.0f} s; `polysem toy-pages {run.directory}` reads them"
    )
    return "\n".join(lines)


def _require_free(out: Path, config: ProgramConfig) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG).is_file():
        raise BadInput(f"{out}: is taken by something that is not a toy program; choose another --out")
    if (out / CONFIG).is_file():
        before = load_config(ProgramConfig, out / CONFIG)
        for key, (old, new) in differences(before.model_dump(mode="json"), config.model_dump(mode="json")).items():
            if key.split(".")[0] != "about":
                said = f"{out}: holds this program with {key} = {old!r}, now {new!r}"
                raise BadInput(f"{said}; choose another --out or the same config")


def _train(
    config: ProgramConfig,
    name: str,
    settings: Section,
    out: Path,
    work: Path,
    interrupt: Interruptible,
    save_seconds: float,
) -> None:
    for leftover in (out / name, work / "state"):
        clear_leftovers(leftover)
    before = _newest(work, name)
    started, already = time.perf_counter(), 0.0 if before is None else before.seconds
    saved = started

    def due() -> bool:
        return time.perf_counter() - saved > save_seconds

    def save(step: int, tensors: dict[str, torch.Tensor]) -> None:
        nonlocal saved
        saved = time.perf_counter()
        _save(work, name, State(step, already + saved - started, tensors))

    total, done = config.fit.steps, 0 if before is None else before.step
    with tqdm(
        total=total, initial=done, unit="step", desc=f"{out.name}, {name}", disable=None, dynamic_ncols=True
    ) as bar:

        def advance(step: int) -> None:
            bar.update()

        try:
            trained = fit_variant(
                config.of,
                settings,
                config.fit,
                resume=before,
                at_step=advance,
                stop=lambda: interrupt.asked,
                save=save,
                due=due,
            )
        except (Diverged, Stopped) as failure:
            raise type(failure)(f"{out}, {name}: {failure}") from None
    _publish(out / name, name, config, trained, already + time.perf_counter() - started)
    for path in _states(work):
        remove_directory(path)


def _publish(final: Path, name: str, config: ProgramConfig, trained: Trained, seconds: float) -> None:
    steps, replicas = trained.curve_steps, trained.curve.shape[1]
    curve = pl.DataFrame(
        {
            "step": np.repeat(steps, replicas),
            "replica": np.tile(np.arange(replicas), len(steps)),
            "loss": trained.curve.reshape(-1),
        }
    )
    facts = {"kind": _KIND, "program": config.program, "variant": name, "seconds": seconds}
    try:
        with publishing(final, facts) as aside:
            write_tensors(trained.parameters, aside / "model.safetensors")
            write_parquet(curve, aside / "curve.parquet")
    except OSError as failure:
        raise EnvironmentProblem(f"{final}: could not be written ({failure.strerror or failure})") from None


def _read(directory: Path, name: str, settings: Section, config: ProgramConfig) -> VariantRun:
    facts = verify(directory)
    if facts.get("kind") != _KIND:
        raise BadInput(f"{directory}: is not a variant of a toy program")
    replicas = config.fit.replicas
    shapes = {key: (replicas, *each.shape[1:]) for key, each in initial(config.of, settings, 0, 1).items()}
    steps = np.array(curve_steps(config.fit))
    curve = read_parquet(directory / "curve.parquet")["loss"].to_numpy()
    if curve.size != len(steps) * replicas:
        raise BadInput(f"{directory / 'curve.parquet'}: {curve.size} rows, its config makes {len(steps) * replicas}")
    curve = curve.reshape(len(steps), replicas)
    parameters = read_tensors(directory / "model.safetensors", shapes)
    return VariantRun(
        name, settings, parameters, curve[-1], steps, curve, manifest_hash(directory), float(facts["seconds"])
    )


def _states(work: Path) -> list[Path]:
    return sorted(path for path in work.iterdir() if path.name.startswith("state-"))


def _save(work: Path, name: str, state: State) -> None:
    new = work / f"state-{state.step:09d}"
    facts = {"kind": f"{_KIND}-state", "variant": name, "step": state.step, "seconds": state.seconds}
    try:
        with publishing(new, facts, replace=True) as aside:
            write_tensors(state.tensors, aside / "state.safetensors")
        for path in _states(work):
            if path != new:
                remove_directory(path)
    except OSError as failure:
        raise EnvironmentProblem(f"{work}: step {state.step} was not saved ({failure.strerror or failure})") from None


def _newest(work: Path, name: str) -> State | None:
    """The newest state of this variant that verifies; damaged ones are skipped with a warning."""
    for path in reversed(_states(work)):
        try:
            facts = verify(path)
            if facts["variant"] != name:
                continue
            return State(int(facts["step"]), float(facts["seconds"]), load_file(path / "state.safetensors"))
        except (BadInput, KeyError, TypeError, ValueError, OSError, SafetensorError) as failure:
            print(f"warning: {one_line(str(failure))}; falling back to an earlier state", flush=True)
    return None
