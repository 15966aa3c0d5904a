"""Training all replicas of one variant, with a state from which it goes on bit for bit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from train.errors import Diverged, Stopped
from train.toys.programs.base import Parameters, Program, generator, initial
from train.toys.programs.config import ProgramFit


@dataclass(frozen=True)
class State:
    """All that training needs to go on as if it had not stopped."""

    step: int
    seconds: float
    tensors: dict[str, Tensor]
    """parameter.NAME, first.NAME, second.NAME (Adam's moments) and curve [points rep], as far as it goes."""


@dataclass(frozen=True)
class Trained:
    """The replicas of one variant."""

    parameters: Parameters
    losses: Float[np.ndarray, " rep"]
    """On samples that no replica was trained on (or on all inputs, where they can be listed)."""
    curve_steps: Int[np.ndarray, " points"]
    curve: Float[np.ndarray, "points rep"]


def curve_steps(fit: ProgramFit) -> list[int]:
    """Steps done at each point of the curve: from 0 to the last, evenly."""
    return sorted({round(i * fit.steps / (fit.curve_points - 1)) for i in range(fit.curve_points)})


def rate(fit: ProgramFit, step: int) -> float:
    """The rate of step `step`, from 0."""
    if step < fit.warmup_steps:
        return fit.lr * (step + 1) / fit.warmup_steps
    if fit.schedule == "constant":
        return fit.lr
    done = (step - fit.warmup_steps) / max(1, fit.steps - fit.warmup_steps)
    return fit.lr * 0.5 * (1 + math.cos(math.pi * done))


def fit_variant(
    program: Program,
    settings: Any,
    fit: ProgramFit,
    *,
    resume: State | None = None,
    at_step: Callable[[int], None] = lambda step: None,
    stop: Callable[[], bool] = lambda: False,
    save: Callable[[int, dict[str, Tensor]], None] | None = None,
    due: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train the replicas of one variant side by side.

    Args:
        resume: a state that `save` received.
        at_step: called after every step with the steps done.
        stop: asked before every step.
        save: receives (steps done, tensors) where `due` or `stop` says so.

    Raises:
        Diverged: a loss is not finite; names the replica and the step.
        Stopped: `stop` said so, after `save` was called.
    """
    parameters = initial(program, settings, fit.seed, fit.replicas)
    names, points = [name for name in parameters if name not in program.fixed], curve_steps(fit)
    curve: list[Tensor] = []
    start = 0
    if resume is not None:
        parameters |= {name: resume.tensors[f"parameter.{name}"].clone() for name in names}
        curve, start = list(resume.tensors["curve"]), resume.step
    leaves = [parameters[name].requires_grad_() for name in names]
    adam = torch.optim.AdamW(leaves, lr=fit.lr, betas=fit.betas, weight_decay=fit.weight_decay, foreach=True)
    if resume is not None:
        for name, leaf in zip(names, leaves):
            moments = {"exp_avg": resume.tensors[f"first.{name}"], "exp_avg_sq": resume.tensors[f"second.{name}"]}
            adam.state[leaf] = {"step": torch.tensor(float(start)), **{k: v.clone() for k, v in moments.items()}}

    def state() -> dict[str, Tensor]:
        tensors = {f"parameter.{name}": leaf.detach() for name, leaf in zip(names, leaves)}
        for name, leaf in zip(names, leaves):
            held = adam.state[leaf]
            tensors |= {f"first.{name}": held["exp_avg"], f"second.{name}": held["exp_avg_sq"]}
        return tensors | {"curve": torch.stack(curve)}

    for step in range(start, fit.steps + 1):
        if len(curve) < len(points) and points[len(curve)] == step:
            curve.append(_evaluate(program, settings, fit, parameters, step))
        if step == fit.steps:
            break
        if step > start and save is not None and due():
            save(step, state())
        if stop():
            if save is not None and step > 0:
                save(step, state())
            raise Stopped(f"stopped after step {step} of {fit.steps}; the same command goes on from there")
        adam.param_groups[0]["lr"] = rate(fit, step)
        adam.zero_grad(set_to_none=True)
        program.losses(settings, parameters, fit.batch, generator(fit.data_seed, "samples", step)).sum().backward()
        adam.step()
        at_step(step + 1)
    return Trained(
        {name: each.detach() for name, each in parameters.items()},
        curve[-1].numpy(),
        np.array(points),
        torch.stack(curve).numpy(),
    )


@torch.no_grad()
def _evaluate(program: Program, settings: Any, fit: ProgramFit, parameters: Parameters, step: int) -> Tensor:
    """The losses of all replicas on samples kept for it; float64 [rep]."""
    losses = program.losses(settings, parameters, fit.eval_batch, generator(fit.data_seed, "evaluation"))
    if not bool(losses.isfinite().all()):
        replica = int((~losses.isfinite()).nonzero()[0])
        raise Diverged(f"the loss of replica {replica} is not finite at step {step}; lower fit.lr")
    return losses.double()
