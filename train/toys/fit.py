"""Training toy networks by the hundred: every instance and replica of a config at once."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from train.errors import BadInput, Diverged, Stopped
from train.toys.adam import OPTIMIZERS, Scales, rate_factor
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.gradient import Objective, gradients
from train.toys.models import Layer, ToyModel, forward, initial, layers_of, shapes
from train.toys.room import PACE, Pace, eval_blocks, piece_sizes, require_memory
from train.toys.settled import LEAST_POINTS, settled
from train.toys.targets import Target

CURVE_BLOCKS = 4
"""Blocks that the points of a curve are measured on, the first ones."""

Progress = Callable[[int, Float64[Tensor, "inst rep"]], None]
"""Called at every point of the curve with the step and the losses there."""


@dataclass(frozen=True)
class FitState:
    """All that training needs to go on as if it had not stopped."""

    step: int
    """Steps done."""
    seconds: float
    tensors: dict[str, Tensor]
    """parameter.NAME, first.NAME, second.NAME (Adam's moments) [inst rep ...]; curve [points inst rep] (float64);
    snapshot.NAME [snap inst ...]; both as far as they go."""


@dataclass(frozen=True)
class Fit:
    """Trained networks of every instance and replica."""

    model: ToyModel
    losses: Float64[Tensor, "inst rep"]
    """Of the trained networks, on `eval_samples`; the mean of `per_output`."""
    per_output: Float64[Tensor, "inst rep out"]
    """Importance x squared error (or cross-entropy in nats of the output's group), mean over samples."""
    best: Int64[Tensor, "inst"]
    """The replica of lowest loss."""
    curve_steps: Int64[Tensor, "points"]
    """Steps done at each point; the first is 0, the last `steps`, or the step at which all had converged."""
    curve_losses: Float64[Tensor, "points inst rep"]
    """On the first 4,096 of the samples of `losses` (or all, where there are fewer)."""
    snapshot_steps: Int64[Tensor, "snap"]
    snapshots: dict[str, Float[Tensor, "snap inst *shape"]]
    """Parameters of replica 0 on the way; without names where none are asked for."""
    seconds: float


@dataclass(frozen=True)
class Start:
    """Networks that training begins with, instead of fresh ones."""

    model: ToyModel
    steps_before: int = 0
    """Steps that their training took: step s reads samples (and dropout) as step `steps_before` + s would there."""
    scales: Scales = field(default_factory=Scales)


def fit(
    config: ToyConfig,
    progress: Progress | None = None,
    resume: FitState | None = None,
    save: Callable[[FitState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    start: Start | None = None,
    pace: Pace = PACE,
) -> Fit:
    """Train all instances and replicas of a config.

    What is random follows from `config.fit.seed` alone: initial weights as in `initial`; step s reads the sampler's
    stream s, and dropout at step s is seeded by the words (seed, "dropout", s, layer). Samples and dropout are the
    same for every replica, or with `data = "own"` replica r's own whatever the number of replicas. Nothing is
    carried from step to step but parameters and Adam's moments, so that a resumed run is bit-identical to one that
    was never stopped (same machine, torch and number of threads). A replica's result does not depend on how
    many others there are but for the rounding of fp32, which training may amplify.

    With `converged` training ends earlier, at the first point of the curve where all networks have come to rest.

    Threads are torch's (`torch.set_num_threads`): work is cut into pieces that fit the caches of these cores.

    Args:
        config: what to train; its instances train side by side.
        progress: called at every point of the curve.
        resume: a state that `save` received in a fit of this config.
        save: receives the state at points of the curve, `pace.save_seconds` apart, and where `stop` asks.
        stop: asked before every step.
        start: networks to begin with, with fresh moments; default: `initial` ones. They are not changed.

    Raises:
        Diverged: a loss is not finite; names the instance, the step and the rate.
        EnvironmentProblem: the memory that is free will not do.
        BadInput: `resume` or `start` is of another config.
        Stopped: `stop` said so, after `save` was called.
    """
    configs = config.instances()
    require_memory(config, len(configs))
    run = _Run(config, configs, resume, start, pace)
    return run.train(progress, save, stop)


@dataclass(frozen=True)
class _Piece:
    """Networks that are computed together: replicas of one instance, or all replicas of several."""

    instances: slice
    replicas: slice
    layers: list[Layer]
    gradients: dict[str, Tensor]
    objective: Objective
    sampler: Sampler
    target: Target
    dropout: Float[Tensor, "inst 1 1 1"]

    def mask(self, chance: Float[Tensor, "1 _ hidden batch"]) -> Float[Tensor, "inst _ hidden batch"]:
        """Dropout's factors: the neurons that are kept are scaled up."""
        mine = chance[:, self.replicas] if chance.shape[1] > 1 else chance
        return (mine >= self.dropout).float().div_(1 - self.dropout)


class _Run:
    """One fit while it runs."""

    def __init__(
        self, config: ToyConfig, configs: Sequence[ToyConfig], resume: FitState | None, start: Start | None, pace: Pace
    ):
        self.config, self.configs, self.pace = config, configs, pace
        self.sampler, self.target = Sampler.of(configs), Target.of_instances(configs)
        rates = [each.fit.lr for each in configs]
        if start is None:
            start = Start(initial(configs, self.target.n_outputs, config.fit.seed, config.fit.replicas))
        else:
            self._require_fitting(start.model)
        self.steps_before = start.steps_before
        self.adam = OPTIMIZERS[config.fit.optimizer](start.model.parameters, config.fit, rates, start.scales)
        self.pieces = self._cut()
        self.curve_steps = _spread(config.fit.steps, config.fit.curve_points)
        self.snapshot_steps = _spread(config.fit.steps, config.fit.snapshots)
        self.curve: list[Tensor] = []
        self.snapshots: list[dict[str, Tensor]] = []
        self.step, self.seconds = 0, 0.0
        if resume is not None:
            self._restore(resume)
        self.started = time.perf_counter()

    def _require_fitting(self, model: ToyModel) -> None:
        of_one = shapes(self.config.network, self.config.features.n, self.target.n_outputs)
        wanted = {name: (len(self.configs), self.config.fit.replicas, *shape) for name, shape in of_one.items()}
        if {name: tuple(each.shape) for name, each in model.parameters.items()} != wanted:
            raise BadInput("the networks to start from are of another shape than the config's")

    def _cut(self) -> list[_Piece]:
        n_inst, replicas = len(self.configs), self.config.fit.replicas
        networks, instances = piece_sizes(self.config, self.target.n_outputs, self.pace.piece)
        if networks >= replicas:
            parts = [(slice(i, i + instances), slice(0, replicas)) for i in range(0, n_inst, instances)]
        else:
            ranges = [slice(r, r + networks) for r in range(0, replicas, networks)]
            parts = [(slice(i, i + 1), each) for i in range(n_inst) for each in ranges]
        return [self._piece(*part) for part in parts]

    def _piece(self, instances: slice, replicas: slice) -> _Piece:
        parameters, slopes = (
            {name: each[instances, replicas] for name, each in views.items()}
            for views in (self.adam.parameters, self.adam.gradients)
        )
        configs = self.configs[instances]
        return _Piece(
            instances,
            replicas,
            layers_of(self.config.network, parameters),
            slopes,
            Objective.of(configs, self.target),
            Sampler.of(configs),
            Target.of_instances(configs),
            torch.tensor([each.network.dropout for each in configs])[:, None, None, None],
        )

    def train(
        self, progress: Progress | None, save: Callable[[FitState], None] | None, stop: Callable[[], bool]
    ) -> Fit:
        """Go on from the step reached to the end."""
        steps, saved = self.config.fit.steps, time.perf_counter()
        for step in range(self.step, steps + 1):
            self.step = step
            if self._is_next(self.snapshot_steps, len(self.snapshots)):
                self.snapshots.append({name: each[:, 0].clone() for name, each in self.adam.parameters.items()})
            if self._is_next(self.curve_steps, len(self.curve)):
                self.curve.append(self._evaluate(self.config.fit.eval_samples, CURVE_BLOCKS).mean(-1))
                self._require_finite(self.curve[-1])
                if progress is not None:
                    progress(step, self.curve[-1])
                if save is not None and 0 < step < steps and time.perf_counter() - saved > self.pace.save_seconds:
                    save(self._state())
                    saved = time.perf_counter()
                if self._has_converged():
                    break
            if step == steps:
                break
            if stop():
                self._require_finite(torch.where(self.adam.is_finite(), 0.0, math.nan))
                if save is not None:
                    save(self._state())
                raise Stopped(f"stopped after step {step} of {steps}; the same command goes on from there")
            self._advance(step)
        return self._finished()

    def _has_converged(self) -> bool:
        """Whether training may stop before its last step, seen at a point of the curve."""
        if (tolerance := self.config.fit.converged) is None or len(self.curve) < LEAST_POINTS:
            return False
        steps, losses = np.array(self.curve_steps[: len(self.curve)]), torch.stack(self.curve).numpy()
        return bool(settled(steps, losses, losses[0], tolerance).all())

    def _is_next(self, steps: list[int], taken: int) -> bool:
        return taken < len(steps) and steps[taken] == self.step

    @torch.inference_mode()
    def _advance(self, step: int) -> None:
        fit, config = self.config.fit, self.config.network
        own = fit.replicas if fit.data == "own" else None
        stream = self.steps_before + step
        chances = self._chances(stream, own)
        for piece, x, target in self._samples(fit.batch, stream, own):
            masks = [piece.mask(each) for each in chances]
            traces = forward(piece.layers, x, masks)
            for name, slope in gradients(config, piece.layers, x, traces, target, piece.objective, masks).items():
                piece.gradients[name].copy_(slope)
        self.adam.step(step)

    def _samples(self, n: int, stream: str | int, own: int | None) -> Iterator[tuple[_Piece, Tensor, Tensor]]:
        """Each piece with its samples and targets as columns: [inst rep_or_1 feat batch], [inst rep_or_1 out batch]."""
        draws = self.sampler.draws(n, self.config.fit.seed, stream, own)
        x = target = torch.empty(0)
        instances = None
        for piece in self.pieces:
            if own or piece.instances != instances:
                instances = piece.instances
                rows = piece.sampler.values_of(draws[:, piece.replicas] if own else draws)
                x, target = rows.mT.contiguous(), piece.target(rows).mT.contiguous()
            yield piece, x, target

    def _chances(self, step: int, own: int | None) -> list[Tensor]:
        """Uniform draws for dropout in each hidden layer, [1 rep_or_1 hidden batch]; the same for every instance."""
        if not any(config.network.dropout for config in self.configs):
            return []
        drawn: list[Tensor] = []
        for layer, width in enumerate(self.config.network.hidden):
            words = sha256(f"{self.config.fit.seed} dropout {step} {layer}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(words[:4], "little"))
            drawn.append(torch.rand(1, own or 1, width, self.config.fit.batch, generator=generator))
        return drawn

    @torch.inference_mode()
    def _evaluate(self, n: int, max_blocks: int | None = None) -> Float64[Tensor, "inst rep out"]:
        """Importance x error of every output, mean over the first `n` samples for evaluation, or fewer."""
        blocks = eval_blocks(n)[:max_blocks]
        n_evaluated = sum(size for _, size in blocks)
        total = torch.zeros(len(self.configs), self.config.fit.replicas, self.target.n_outputs, dtype=torch.float64)
        for stream, size in blocks:
            for piece, x, target in self._samples(size, stream, None):
                losses = piece.objective.per_output(forward(piece.layers, x)[-1].after, target)
                total[piece.instances, piece.replicas] += losses * (size / n_evaluated)
        return total

    def _require_finite(self, losses: Tensor) -> None:
        broken = (~losses.isfinite()).nonzero()
        if not len(broken):
            return
        instance, replica = broken[0].tolist()
        swept = self.config.sweep.rows()[instance]
        named = f" ({', '.join(f'{key} = {value:g}' for key, value in swept.items())})" if swept else ""
        before = [step for step, _ in zip(self.curve_steps, self.curve, strict=False) if step < self.step]
        peak = self.configs[instance].fit.lr
        rate = peak * rate_factor(self.config.fit, max(0, self.step - 1))
        last = f" (it was at step {before[-1]})" if before else ""
        raise Diverged(
            f"the loss of instance {instance}{named}, replica {replica}, is not finite at step {self.step}{last}; "
            f"the rate was {rate:.3g}; lower {'fit.lr' if self.step else 'network.init_scale'}"
        )

    def _views(self) -> dict[str, Tensor]:
        kinds = {"parameter": self.adam.parameters, "first": self.adam.first, "second": self.adam.second}
        return {f"{kind}.{name}": each for kind, views in kinds.items() for name, each in views.items()}

    def _state(self) -> FitState:
        tensors = {name: each.clone() for name, each in self._views().items()} | {"curve": torch.stack(self.curve)}
        tensors |= {f"snapshot.{name}": each for name, each in self._snapshots().items()}
        return FitState(self.step, self.seconds + time.perf_counter() - self.started, tensors)

    def _restore(self, state: FitState) -> None:
        views, given, config = self._views(), state.tensors, self.config.fit
        n_curve = sum(step <= state.step for step in self.curve_steps)
        n_snapshots = sum(step <= state.step for step in self.snapshot_steps)
        expected = {name: each.shape for name, each in views.items()}
        expected["curve"] = torch.Size([n_curve, len(self.configs), config.replicas])
        if n_snapshots:
            for name, each in self.adam.parameters.items():
                expected[f"snapshot.{name}"] = torch.Size([n_snapshots, *each[:, 0].shape])
        if not 0 <= state.step <= config.steps or {name: each.shape for name, each in given.items()} != expected:
            raise BadInput("the state to resume from is of another config")
        for name, view in views.items():
            view.copy_(given[name])
        self.step, self.seconds, self.curve = state.step, state.seconds, list(given["curve"])
        self.snapshots = [
            {name: given[f"snapshot.{name}"][i] for name in self.adam.parameters} for i in range(n_snapshots)
        ]

    def _snapshots(self) -> dict[str, Tensor]:
        if not self.snapshots:
            return {}
        return {name: torch.stack([each[name] for each in self.snapshots]) for name in self.snapshots[0]}

    def _finished(self) -> Fit:
        per_output = self._evaluate(self.config.fit.eval_samples).clone()
        losses = per_output.mean(-1)
        self._require_finite(losses)
        return Fit(
            model=ToyModel(self.config.network, {name: each.clone() for name, each in self.adam.parameters.items()}),
            losses=losses,
            per_output=per_output,
            best=losses.argmin(1),
            curve_steps=torch.tensor(self.curve_steps[: len(self.curve)]),
            curve_losses=torch.stack(self.curve),
            snapshot_steps=torch.tensor(self.snapshot_steps[: len(self.snapshots)], dtype=torch.int64),
            snapshots=self._snapshots(),
            seconds=self.seconds + time.perf_counter() - self.started,
        )


def _spread(steps: int, points: int) -> list[int]:
    """So many steps from 0 to `steps`, evenly and each once; of one point the last."""
    if points == 1:
        return [steps]
    return sorted({round(i * steps / (points - 1)) for i in range(points)})
