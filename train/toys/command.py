"""`train toy`: train what a TOY.toml describes, go on where an earlier start stopped, leave a sealed directory."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from tqdm import tqdm

from train.configfile import load_config, to_toml
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.files import MANIFEST, locked, publishing, require_space, verify
from train.interrupt import Interruptible
from train.toys.baseline import Naive, naive_loss
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.fit import EVAL_BLOCK, Fit, FitState, fit, require_memory
from train.toys.models import shapes
from train.toys.runs import CONFIG, ToyRun, open_toy, write_toy
from train.toys.targets import Target
from train.toys.unfinished import Unfinished, require_same

SHOWN_INSTANCES = 40
"""Rows of the table that `train toy` prints; losses.parquet has all."""

NEAR = 1.1
"""A replica is near the best when its loss is at most this many times the lowest."""

NAIVE_NUMBERS = 2**26
"""Values of features that the naive baseline is taken on at most (256 MB)."""


@dataclass(frozen=True)
class ToyOutcome:
    """What `run_toy` did: the finished toy, and whether it had been there before."""

    run: ToyRun
    found: bool

    def text(self) -> str:
        """The outcome as a table of the instances and one line."""
        run, settings = self.run, self.run.config.fit
        seconds = f"{run.seconds:,.{0 if run.seconds >= 10 else 2}f} s"
        return (
            f"{loss_table(run)}\n{'found' if self.found else 'wrote'} {run.directory}: "
            f"{run.n_inst} instance{'s' * (run.n_inst > 1)} x {run.n_rep} replica{'s' * (run.n_rep > 1)}, "
            f"{settings.steps:,} steps of {settings.batch:,} samples, trained in {seconds}"
        )


def loss_table(run: ToyRun, limit: int = SHOWN_INSTANCES) -> str:
    """One row an instance: what is swept, best and median loss, the baselines, replicas within 10 % of the best."""
    swept = [name for name in run.instances.columns if name != "instance"]
    rows = [["instance", *swept, "best", "median", "naive", "constant", "within 10 %"]]
    for i in range(min(run.n_inst, limit)):
        losses, naive = run.losses[i], run.naive[i]
        figures = (losses.min(), np.median(losses), naive.loss, naive.constant_loss)
        near = int((losses <= NEAR * losses.min()).sum())
        values = (f"{run.instances[name][i]:g}" for name in swept)
        rows.append([str(i), *values, *(f"{each:.4g}" for each in figures), f"{near} of {run.n_rep}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if run.n_inst > limit:
        lines.append(f"... and {run.n_inst - limit} more in {run.directory / 'losses.parquet'}")
    return "\n".join(lines)


def toy_command(path: Path, out: Path | None, overrides: list[str]) -> str:
    """Run a TOY.toml and say what came of it.

    Raises:
        BadInput, EnvironmentProblem, Diverged, Stopped: see `run_toy`.
    """
    config = load_config(ToyConfig, path, overrides)
    return run_toy(config, out or Path("checkpoints") / "toy" / path.stem).text()


def run_toy(config: ToyConfig, out: Path) -> ToyOutcome:
    """Train every instance and replica of a config, or go on where an earlier start stopped.

    What is not finished lies beside `out`, in a hidden directory named after it, which goes when `out` is there.

    Raises:
        BadInput: `out` holds something else, or a toy of another config (naming the key).
        EnvironmentProblem: too little memory or space, or `out` cannot be written.
        Diverged, Stopped: see `train.toys.fit.fit`.
    """
    out = out.resolve() if out.name in ("", "..") else out
    unfinished = Unfinished(out)
    with locked(unfinished.directory):
        try:
            if not (found := _is_there(config, out)):
                _train(config, out, unfinished)
            outcome = ToyOutcome(ToyRun.load(out), found)
        except Diverged:
            unfinished.remove()  # it would diverge again
            raise
        except BaseException:
            if not unfinished.states():
                unfinished.remove()
            raise
        unfinished.remove()
    return outcome


def _is_there(config: ToyConfig, out: Path) -> bool:
    """Whether `out` holds this very toy, finished; what a new [about] or [[expect]] says is taken over.

    Raises:
        BadInput: it holds anything else, or is damaged.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return False
    if not os.path.lexists(out / MANIFEST):
        raise BadInput(f"{out}: is taken by something that is not a toy; choose another --out")
    before, _ = open_toy(out)
    if not require_same(before, config, f"{out}: holds a toy"):
        facts = {key: value for key, value in verify(out).items() if key != "files"}
        with publishing(out, facts, replace=True) as aside:
            for path in out.iterdir():
                if path.name != MANIFEST:
                    shutil.copyfile(path, aside / path.name)
            (aside / CONFIG).write_text(to_toml(config), encoding="utf-8")
    return True


def _train(config: ToyConfig, out: Path, unfinished: Unfinished) -> None:
    unfinished.clear_leftovers()
    resume = unfinished.load(config)
    configs = config.instances()
    require_memory(config, len(configs))
    require_space(out.parent, _bytes_on_disk(config, len(configs)))
    watched = tqdm(configs, "naive baselines", unit="instance", leave=False, disable=None, dynamic_ncols=True)
    naive = [naive_on_final_samples(each) for each in watched]
    with Interruptible() as interrupt:
        try:
            trained = _fit(config, out, unfinished, interrupt, resume)
        except (Diverged, Stopped) as failure:
            raise type(failure)(f"{out}: {failure}") from None
        # Who asks to stop from here on gets the result, which is as good as there.
        facts: dict[str, Any] = {}
        try:
            with publishing(out, facts, replace=True) as aside:
                facts |= write_toy(aside, config, trained, naive)
        except OSError as failure:
            raise EnvironmentProblem(f"{out}: could not be written ({failure.strerror or failure})") from None


def _fit(
    config: ToyConfig, out: Path, unfinished: Unfinished, interrupt: Interruptible, resume: FitState | None
) -> Fit:
    done = 0 if resume is None else resume.step
    with tqdm(
        total=config.fit.steps, initial=done, unit="step", desc=out.name, disable=None, dynamic_ncols=True
    ) as bar:

        def at_every_step() -> bool:
            bar.update()
            return interrupt.asked

        def at_a_point(step: int, losses: Float64[Tensor, "inst rep"]) -> None:
            lowest = losses.amin(dim=1)
            bar.set_postfix_str(
                f"best loss {lowest.min():.3g}" + (f" to {lowest.max():.3g}" if len(lowest) > 1 else "")
            )

        return fit(
            config,
            progress=at_a_point,
            resume=resume,
            save=lambda state: unfinished.save(config, state),
            stop=at_every_step,
        )


def naive_on_final_samples(config: ToyConfig) -> Naive:
    """The naive baseline of one instance, on the samples that its final loss is taken on.

    On fewer, but at least one block, where these are more numbers than `NAIVE_NUMBERS`.
    """
    n = min(config.fit.eval_samples, max(EVAL_BLOCK, NAIVE_NUMBERS // config.features.n))
    sampler = Sampler.of([config])
    sizes = [min(EVAL_BLOCK, n - first) for first in range(0, n, EVAL_BLOCK)]
    blocks = [sampler.sample(size, config.fit.seed, f"eval-{block}") for block, size in enumerate(sizes)]
    return naive_loss(config, torch.cat(blocks, dim=2))


def _bytes_on_disk(config: ToyConfig, n_inst: int) -> int:
    """Of two resume points (parameters, two moments) and the result, with what each holds of curves and snapshots."""
    settings, n_outputs = config.fit, Target.of(config).n_outputs
    n_parameters = sum(math.prod(shape) for shape in shapes(config.network, config.features.n, n_outputs).values())
    networks = n_inst * settings.replicas
    kept = 8 * networks * (settings.curve_points + 2 * n_outputs) + 4 * settings.snapshots * n_inst * n_parameters
    return 3 * kept + 7 * 4 * networks * n_parameters
