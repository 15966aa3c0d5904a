"""Training a toy before somebody's eyes, and the sealed directory that it leaves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float64
from torch import Tensor
from tqdm import tqdm

from train.errors import EnvironmentProblem
from train.files import publishing
from train.interrupt import Interruptible
from train.toys.baseline import Naive
from train.toys.config import ToyConfig
from train.toys.fit import Fit, FitState, Start, fit
from train.toys.room import PACE, Pace
from train.toys.runs import ARM, write_toy


def train_with_bar(
    config: ToyConfig,
    name: str,
    interrupt: Interruptible,
    *,
    resume: FitState | None = None,
    save: Callable[[FitState], None] | None = None,
    start: Start | None = None,
    pace: Pace = PACE,
) -> Fit:
    """`fit` with a progress bar of this name; a signal stops it.

    Raises:
        Diverged, EnvironmentProblem, BadInput, Stopped: see `train.toys.fit.fit`.
    """
    done = 0 if resume is None else resume.step
    with tqdm(total=config.fit.steps, initial=done, unit="step", desc=name, disable=None, dynamic_ncols=True) as bar:

        def at_every_step() -> bool:
            bar.update()
            return interrupt.asked

        def at_a_point(step: int, losses: Float64[Tensor, "inst rep"]) -> None:
            lowest = losses.amin(dim=1)
            worst = f" to {lowest.max():.3g}" if len(lowest) > 1 else ""
            bar.set_postfix_str(f"best loss {lowest.min():.3g}{worst}")

        return fit(config, at_a_point, resume, save, at_every_step, start, pace)


def publish_toy(
    out: Path, config: ToyConfig, trained: Fit, naive: Sequence[Naive], arm: dict[str, Any] | None = None
) -> None:
    """Write a finished toy; `arm` is what arm.json says of one that goes on from another toy.

    Raises:
        EnvironmentProblem: it could not be written.
        BadInput: an arm is there already.
    """
    facts: dict[str, Any] = {}
    try:
        with publishing(out, facts, replace=arm is None) as aside:
            facts |= write_toy(aside, config, trained, naive)
            if arm is not None:
                facts["arm"] = arm["name"]
                (aside / ARM).write_text(json.dumps(arm, allow_nan=False), encoding="utf-8")
    except OSError as failure:
        raise EnvironmentProblem(f"{out}: could not be written ({failure.strerror or failure})") from None
