"""The training loop: the same global rows for one process or many, on any device that accelerate knows."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from train.config import ModelConfig, RunConfig
from train.data.baselines import Baselines
from train.data.made_rows import MadeRows
from train.data.tokens import TokenFile
from train.errors import Diverged, Stopped
from train.files import write_atomic
from train.interrupt import Interruptible
from train.loss import NextTokenLoss, TrainingLoss
from train.model import Transformer
from train.optim import learning_rate, set_rate
from train.tracking import Metrics
from train.watching import LossByGroup, NeuronRanges, StepNorms, memory

if TYPE_CHECKING:
    from accelerate import Accelerator

EVAL_ROWS = 16
"""Rows of one evaluation pass; not the run's batch, so that the loss does not depend on it."""

EVAL_NEURONS = 2**27
"""Fewer rows where a layer's activations would be more numbers than this (512 MB in fp32)."""

PERMANENT = frozenset([0, *(2**power for power in range(10))])


def is_permanent(step: int) -> bool:
    """Whether a checkpoint at `step` is kept for good: 0, 1, 2, 4, ..., 512, 1000, 2000, ..."""
    return step in PERMANENT or (step > 0 and step % 1000 == 0)


def steps_of(config: RunConfig, n_ctx: int) -> int:
    """Optimizer steps of a whole run."""
    return math.ceil(config.train.tokens / (config.train.rows_per_step * n_ctx))


@dataclass
class Training:
    """What the loop needs and changes."""

    config: RunConfig
    directory: Path
    accelerator: "Accelerator"
    model: Transformer
    optimizer: torch.optim.Optimizer
    fit: TokenFile
    held_out: TokenFile
    baselines: Baselines
    save: Callable[["Training"], None]
    """Writes a checkpoint of the current step; the loop calls it on every process."""
    step: int = 0
    first_row: int = 0
    """Rows that the start had read: the data's order goes on from there."""
    evaluation: dict[str, Any] | None = None
    """The last evaluation, with its step."""
    made: MadeRows | None = None
    """Rows that stand in for some of the text's; None: text alone."""
    metrics: Metrics | None = None
    """Of the process that writes; the others have none."""
    baseline_losses: tuple[float, float] | None = None
    """Unigram and bigram; from the first evaluation on."""

    @property
    def tokens_per_step(self) -> int:
        """Predicted tokens of one optimizer step, all processes together."""
        return self.config.train.rows_per_step * self.fit.n_ctx

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return steps_of(self.config, self.fit.n_ctx)

    def micro_batches(self, step: int) -> Iterator[Int[Tensor, "rows pos_and_one"]]:
        """This process' share of the step's rows: one micro-batch for each accumulation pass."""
        n_rows = self.config.train.rows_per_step
        first = self.first_row + step * n_rows
        rows = self.fit.rows_at(self.config.seed, first, n_rows)
        if self.made is not None:
            rows = self.made.put_into(rows, self.config.seed, first)
        pieces = rearrange(
            rows, "(a w r) p -> a w r p", a=self.config.train.accumulate, w=self.accelerator.num_processes
        )
        for piece in pieces[:, self.accelerator.process_index]:
            yield piece.to(self.accelerator.device)


def train(run: Training) -> None:
    """Take every remaining step, with evaluations, log lines and checkpoints.

    Raises:
        Diverged: a loss or gradient that is not finite, before the optimizer uses it.
        Stopped: SIGINT or SIGTERM; the step was finished and saved.
    """
    loss_module = TrainingLoss(run.model, run.config.optim.l1)
    wrapped, optimizer = run.accelerator.prepare(loss_module, run.optimizer)
    if run.config.train.compile:
        wrapped.compile()
    n_steps, every = run.n_steps, run.config.train
    name = run.directory.name
    bar = tqdm(total=n_steps, initial=run.step, unit="step", desc=name, disable=None, dynamic_ncols=True)
    with Interruptible() as interrupt, bar:
        if run.step == 0:
            _evaluate(run)
            run.save(run)
        since, steps_since, waiting = time.perf_counter(), 0, 0.0
        while run.step < n_steps:
            last = run.step + 1 == n_steps
            logs = (run.step + 1) % every.log_every == 0 or last
            norms = StepNorms(run.model, run.optimizer) if logs and run.metrics is not None else None
            losses, norm, rate = _step(run, wrapped, optimizer, norms)
            run.step += 1
            steps_since += 1
            bar.update()
            if logs:
                mean_loss, l1 = _reduced(run.accelerator, losses, "mean").tolist()
                penalty = {"l1": l1} if run.config.optim.l1 else {}
                seconds = time.perf_counter() - since - waiting
                speed = steps_since * run.tokens_per_step / seconds
                since, steps_since, waiting = time.perf_counter(), 0, 0.0
                speeds = {"tokens_per_s": speed, "seconds": seconds}
                watched = {} if norms is None else {**norms.line(), **memory()}
                _log(run, "train", loss=mean_loss, **penalty, lr=rate, grad_norm=norm, **speeds, **watched)
                bar.set_postfix_str(f"loss {mean_loss:.3f}, {speed / 1000:.1f}k tokens/s")
            pause = time.perf_counter()
            if run.step % every.eval_every == 0 or last:
                _evaluate(run)
            stop = _anyone(run, interrupt.asked)
            at_resume_point = every.checkpoint_every and run.step % every.checkpoint_every == 0
            if last or stop or at_resume_point or is_permanent(run.step):
                run.save(run)
            waiting += time.perf_counter() - pause
            if stop:
                raise Stopped(
                    f"{run.directory}: stopped and saved at step {run.step} of {n_steps}; start again to go on"
                )


def _step(
    run: Training, wrapped: torch.nn.Module, optimizer: torch.optim.Optimizer, norms: StepNorms | None
) -> tuple[Float[Tensor, "2"], float, float]:
    """One optimizer step, watched by `norms`. Returns this process' mean loss and L1 norm, the gradient's norm and
    the rate."""
    accelerator, accumulate = run.accelerator, run.config.train.accumulate
    rate = learning_rate(run.config.optim, run.step, run.n_steps, run.tokens_per_step)
    set_rate(optimizer, rate)
    total = torch.zeros(2, device=accelerator.device)
    for index, rows in enumerate(run.micro_batches(run.step)):
        # Processes exchange gradients once a step, with the last micro-batch.
        with accelerator.no_sync(wrapped) if index < accumulate - 1 else nullcontext():
            lowered, loss, l1 = wrapped(rows)
            accelerator.backward(lowered / accumulate)
        total += torch.stack((loss, l1)) / accumulate
    # The norm is that of the exchanged gradient: every process sees the same, and all stop together.
    clipped = accelerator.clip_grad_norm_(run.model.parameters(), run.config.optim.clip)
    assert clipped is not None
    norm = float(clipped)
    if not math.isfinite(norm):
        _bundle_crash(run, float(total[0]), norm, rate)
        raise Diverged(
            f"{run.directory}: loss {float(total[0]):.4g}, gradient norm {norm} at step {run.step} (rate {rate:.3g}); "
            "the last checkpoint is intact; lower optim.lr"
        )
    if norms is not None:
        norms.before(norm, run.config.optim.clip)
    optimizer.step()
    if norms is not None:
        norms.after()
    optimizer.zero_grad(set_to_none=True)
    return total, norm, rate


def _bundle_crash(run: Training, loss: float, norm: float, rate: float) -> None:
    """Write down what it takes to see the failing step again."""
    if run.accelerator.is_main_process:
        n_rows = run.config.train.rows_per_step
        facts = {
            "step": run.step,
            "rate": rate,
            "loss": repr(loss),
            "grad_norm": repr(norm),
            "seed": run.config.seed,
            "first_row": run.first_row + run.step * n_rows,
            "n_rows": n_rows,
        }
        write_atomic(run.directory / f"crash-{run.step:09d}.json", json.dumps(facts, indent=2).encode() + b"\n")


def _anyone(run: Training, asked: bool) -> bool:
    """Whether any process was asked to stop: then all of them do."""
    if run.accelerator.num_processes == 1:
        return asked
    flag = torch.tensor(int(asked), device=run.accelerator.device)
    return int(_reduced(run.accelerator, flag, "sum")) > 0


def _reduced(accelerator: "Accelerator", value: Tensor, reduction: str) -> Tensor:
    result = accelerator.reduce(value, reduction=reduction)
    assert isinstance(result, Tensor)
    return result


def _log(run: Training, kind: str, **values: Any) -> None:
    if run.metrics is not None:
        run.metrics.write({"kind": kind, "step": run.step, "tokens": run.step * run.tokens_per_step, **values})


def _evaluate(run: Training) -> None:
    """Held-out loss in fp32 and the baselines, on the same rows in every evaluation of the run."""
    n_rows = max(1, min(run.held_out.n_rows, run.config.train.eval_tokens // run.held_out.n_ctx))
    ranges = NeuronRanges(run.model)
    with ranges.watched():
        loss, by_group = held_out_losses(run.model, run.held_out, n_rows, run.accelerator)
    if not math.isfinite(loss):
        raise Diverged(f"{run.directory}: held-out loss {loss} at step {run.step}; the last checkpoint is intact")
    if run.baseline_losses is None:
        rows = run.held_out.plain_rows(0, n_rows)
        run.baseline_losses = (run.baselines.unigram_loss(rows), run.baselines.bigram_loss(rows))
    unigram, bigram = run.baseline_losses
    values = {"loss": loss, "n_tokens": n_rows * run.held_out.n_ctx, "unigram": unigram, "bigram": bigram}
    run.evaluation = {"step": run.step, **values}
    _log(run, "eval", **values, **by_group, dead=ranges.dead(run.accelerator))


def eval_rows(config: ModelConfig) -> int:
    """Rows of one evaluation pass of a model."""
    return max(1, min(EVAL_ROWS, EVAL_NEURONS // (config.n_ctx * max(1, *config.widths))))


def held_out_loss(model: Transformer, held_out: TokenFile, n_rows: int, accelerator: "Accelerator") -> float:
    """Mean loss in nats a token over the first `n_rows` held-out rows, in fp32, shared among the processes."""
    return held_out_losses(model, held_out, n_rows, accelerator)[0]


@torch.no_grad()
def held_out_losses(
    model: Transformer, held_out: TokenFile, n_rows: int, accelerator: "Accelerator"
) -> tuple[float, dict[str, dict[str, dict[str, int | float]]]]:
    """As `held_out_loss`, and the same by source and by content (`train.watching.LossByGroup`)."""
    exact = torch.float32 if accelerator.device.type == "mps" else torch.float64  # MPS knows no float64
    module, sums = NextTokenLoss(model), torch.zeros(2, dtype=exact, device=accelerator.device)
    by_group = LossByGroup(held_out, accelerator.device, exact)
    per_pass = eval_rows(model.config)
    stride = per_pass * accelerator.num_processes
    for first in range(accelerator.process_index * per_pass, n_rows, stride):
        rows = held_out.plain_rows(first, min(per_pass, n_rows - first)).to(accelerator.device)
        mean, losses = module.with_token_losses(rows)
        sums += torch.stack([mean.to(exact) * len(rows), torch.tensor(len(rows)).to(sums)])
        by_group.add(first, losses)
    total, count = _reduced(accelerator, sums, "sum")
    return float(total / count), by_group.result(partial(_reduced, accelerator, reduction="sum"))
