"""`train toy`: train what a TOY.toml describes, go on where an earlier run stopped, leave a sealed directory."""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train.configfile import load_config, to_toml
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.files import MANIFEST, locked, publishing, verify
from train.filesystem import require_space
from train.interrupt import Interruptible
from train.toys.arms.run import train_arms
from train.toys.arms.store import ToyArm, arms_directory
from train.toys.baseline import naive_on_final_samples
from train.toys.config import ToyConfig
from train.toys.models import shapes
from train.toys.programs.config import names_program
from train.toys.programs.run import program_command
from train.toys.question import require_answerable
from train.toys.room import PACE, Pace, require_memory
from train.toys.runs import CONFIG, ToyRun, open_toy
from train.toys.targets import Target
from train.toys.training import publish_toy, train_with_bar
from train.toys.unfinished import Unfinished, require_same

SHOWN_INSTANCES = 40
"""Rows of the table that `train toy` prints; losses.parquet has all."""


@dataclass(frozen=True)
class ToyOutcome:
    """The finished toy, and whether it was there before."""

    run: ToyRun
    found: bool
    arms: tuple[ToyArm, ...] = ()
    arms_found: int = 0
    """How many of them were there before."""

    def text(self) -> str:
        """A table of the instances, where there are arms one of the arms, and a last line that sums it up."""
        run, settings = self.run, self.run.config.fit
        seconds = f"{run.seconds:,.{0 if run.seconds >= 10 else 2}f} s"
        lines = [loss_table(run)]
        if self.arms:
            steps = self.arms[0].run.config.fit.steps
            lines.append(arm_table(run, self.arms))
            lines.append(
                f"{len(self.arms)} arms, {steps:,} steps each, {self.arms_found} of them found, "
                f"in {arms_directory(run.directory)}; `polysem toy-pages {run.directory}` compares them"
            )
        lines.append(
            f"{'found' if self.found else 'wrote'} {run.directory}: "
            f"{run.n_inst} instance{'s' * (run.n_inst > 1)} x {run.n_rep} replica{'s' * (run.n_rep > 1)}, "
            f"{self._steps()} of {settings.batch:,} samples, trained in {seconds}"
        )
        return "\n".join(lines)

    def _steps(self) -> str:
        done, limit = int(self.run.curves.steps[-1]), self.run.config.fit.steps
        if self.run.config.fit.converged is None:
            return f"{done:,} steps"
        return f"{done:,} steps ({'converged' if done < limit else 'had not converged at the limit'})"


def loss_table(run: ToyRun, limit: int = SHOWN_INSTANCES) -> str:
    """One row an instance: what is swept, best and median loss, the baselines, replicas as good as the best."""
    swept = run.instances.columns[1:]
    rows = [["instance", *swept, "best", "median", "naive", "constant", "good"]]
    for i in range(min(run.n_inst, limit)):
        losses, naive = run.losses[i], run.naive[i]
        figures = (losses.min(), np.median(losses), naive.loss, naive.constant_loss)
        values = (f"{run.instances[name][i]:g}" for name in swept)
        good = f"{int(run.good[i].sum())} of {run.n_rep}"
        rows.append([str(i), *values, *(f"{each:.4g}" for each in figures), good])
    lines = _aligned(rows)
    if run.n_inst > limit:
        lines.append(f"... and {run.n_inst - limit} more in {run.directory / 'losses.parquet'}")
    return "\n".join(lines)


def arm_table(base: ToyRun, arms: Sequence[ToyArm]) -> str:
    """One row an arm, the toy itself first: the median loss of each instance."""
    swept = base.instances.columns[1:]
    labels = [", ".join(f"{name} {base.instances[name][i]:g}" for name in swept) for i in range(base.n_inst)]
    rows = [["median loss", "neurons", *(label or "the one instance" for label in labels)]]
    for name, run in [("start", base), *((arm.name, arm.run) for arm in arms)]:
        losses = (f"{each:.4g}" for each in np.median(run.losses, axis=1))
        rows.append([name, str(run.config.network.hidden[0]), *losses])
    return "\n".join(_aligned(rows))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def toy_command(path: Path, out: Path | None, overrides: list[str]) -> str:
    """Run a TOY.toml and report its result.

    Raises:
        BadInput: see `require_answerable`.
        BadInput, EnvironmentProblem, Diverged, Stopped: see `run_toy`, and `run_program` where it names a program.
    """
    if names_program(path):
        return program_command(path, out, overrides)
    config = load_config(ToyConfig, path, overrides)
    require_answerable(config, path, changed=bool(overrides))
    return run_toy(config, out or Path("checkpoints") / "toy" / path.stem).text()


def toys_command(paths: Sequence[Path], out: Path | None, overrides: list[str]) -> str:
    """Run several TOY.tomls after each other, such as all that answer a problem, and report their results.

    Args:
        out: takes a directory a toy; default checkpoints/toy.

    Raises:
        BadInput, EnvironmentProblem, Diverged, Stopped: see `run_toy`; what was finished before stays.
    """
    out = out or Path("checkpoints") / "toy"
    said = [toy_command(path, out / path.stem, overrides) for path in paths]
    directories = " ".join(str(out / path.stem) for path in paths)
    return "\n\n".join([*said, f"the verdict: polysem toy-pages {directories}"])


def run_toy(config: ToyConfig, out: Path, pace: Pace = PACE) -> ToyOutcome:
    """Train every instance and replica of a config, then its arms, or go on where an earlier run stopped.

    Unfinished work lies next to `out`, in a hidden directory named after it, which is deleted when `out` is there.

    Raises:
        BadInput: `out` holds something else, or a toy of another config (naming the key).
        EnvironmentProblem: too little memory or space, or `out` cannot be written.
        Diverged, Stopped: see `train.toys.fit.fit` and `train.toys.arms.run.train_arms`.
    """
    out = out.resolve() if out.name in ("", "..") else out
    unfinished = Unfinished(out)
    with locked(unfinished.directory):
        try:
            if not (found := _is_there(config, out)):
                _train(config, out, unfinished, pace)
            run = ToyRun.load(out)
            arms, arms_found = train_arms(run)
        except Diverged:
            unfinished.remove()  # it would diverge again
            raise
        except BaseException:
            if not unfinished.states():
                unfinished.remove()
            raise
        unfinished.remove()
    return ToyOutcome(run, found, tuple(arms), arms_found)


def _is_there(config: ToyConfig, out: Path) -> bool:
    """Whether `out` holds this very toy, finished; a new [about] or [[expect]] replaces the old one.

    Raises:
        BadInput: it holds anything else, or is damaged.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return False
    if not os.path.lexists(out / MANIFEST):
        raise BadInput(f"{out}: is taken by something that is not a toy; choose another --out")
    before, _ = open_toy(out)
    if not require_same(before, config, f"{out}: holds a toy"):
        with publishing(out, verify(out), replace=True) as aside:
            for path in out.iterdir():
                if path.name != MANIFEST:
                    shutil.copyfile(path, aside / path.name)
            (aside / CONFIG).write_text(to_toml(config), encoding="utf-8")
    return True


def _train(config: ToyConfig, out: Path, unfinished: Unfinished, pace: Pace) -> None:
    unfinished.clear_leftovers()
    resume = unfinished.load(config)
    configs = config.instances()
    try:
        require_memory(config, len(configs))
    except EnvironmentProblem as failure:
        raise EnvironmentProblem(f"{out}: {failure}") from None
    require_space(out.parent, _bytes_on_disk(config, len(configs)))
    watched = tqdm(configs, "naive baselines", unit="instance", leave=False, disable=None, dynamic_ncols=True)
    naive = [naive_on_final_samples(each) for each in watched]
    with Interruptible() as interrupt:
        try:
            trained = train_with_bar(
                config, out.name, interrupt, resume=resume, save=lambda state: unfinished.save(config, state), pace=pace
            )
        except (Diverged, Stopped) as failure:
            raise type(failure)(f"{out}: {failure}") from None
        # A signal from here on comes too late to stop anything: the result is about to be written.
        publish_toy(out, config, trained, naive)


def _bytes_on_disk(config: ToyConfig, n_inst: int) -> int:
    """Of two resume points (parameters, two moments) and the result, with the curves and snapshots of each."""
    settings, n_outputs = config.fit, Target.of(config).n_outputs
    n_parameters = sum(math.prod(shape) for shape in shapes(config.network, config.features.n, n_outputs).values())
    networks = n_inst * settings.replicas
    kept = 8 * networks * (settings.curve_points + 2 * n_outputs) + 4 * settings.snapshots * n_inst * n_parameters
    return 3 * kept + 7 * 4 * networks * n_parameters
