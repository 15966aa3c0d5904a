"""What watching a run costs: processor time of training with it over training without, interleaved, as ratios.

    python -m benchmarks.watching                     # configs/run/cpu-1l.toml; needs data/default
    python -m benchmarks.watching --config configs/run/smoke.toml --steps 50

A tenth of the config's steps between evaluations and a tenth of its evaluation, so that both have the weight that they
have in a whole run; lines are logged as often as the config says. Weights are compared: they must not differ by a bit.
Target: below 1.02.
"""

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import tyro

from train import loop
from train.checkpoint import load
from train.config import RunConfig
from train.configfile import load_config
from train.data.tokens import TokenFile
from train.loss import NextTokenLoss
from train.model import Transformer
from train.training_run import run
from train.watching import LossByGroup, NeuronRanges, StepNorms


@dataclass
class Arguments:
    """What is trained, and how often."""

    config: Path = Path("configs/run/cpu-1l.toml")
    data: str = "data/default"
    steps: int = 100
    rounds: int = 5


def main(arguments: Arguments) -> None:
    """Measure and print."""
    config = shortened(load_config(RunConfig, arguments.config), arguments)
    ratios, hashes = [], set()
    with tempfile.TemporaryDirectory(prefix="polysem-watching-") as name:
        with contextlib.redirect_stderr(io.StringIO()):
            run(config, Path(name) / "first" / "run-s0")  # the first run of a process imports and warms up
        for number in range(arguments.rounds):
            seconds = {}
            for watched in (number % 2 == 0, number % 2 == 1):
                out = Path(name) / f"{number}-{watched}"
                with contextlib.nullcontext() if watched else blind(), contextlib.redirect_stderr(io.StringIO()):
                    start = time.process_time()
                    run(config, out / "run-s0")
                    seconds[watched] = time.process_time() - start
                hashes.add(load(out / "run-s0").hash)
            ratios.append(seconds[True] / seconds[False])
            print(f"round {number + 1}: {seconds[True]:.2f} s of processors, {seconds[False]:.2f} without", flush=True)
    print(f"ratio {statistics.median(ratios):.4f} (median), {min(ratios):.4f} to {max(ratios):.4f}; target below 1.02")
    print("weights equal to the bit" if len(hashes) == 1 else "WEIGHTS DIFFER")
    with tempfile.TemporaryDirectory(prefix="polysem-watching-") as name, counting() as spent:
        start = time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):
            run(config, Path(name) / "run-s0")
        print(
            f"inside the watch's own calls: {sum(spent) / (time.process_time() - start):.2%} of the time of processors"
        )


def shortened(config: RunConfig, arguments: Arguments) -> RunConfig:
    """The config with one evaluation after `steps` steps, and so much of it as fits them."""
    n_ctx = config.model.n_ctx if config.model is not None else 1
    share = arguments.steps / config.train.eval_every
    changes: dict[str, Any] = {
        "tokens": arguments.steps * config.train.rows_per_step * n_ctx,
        "eval_every": arguments.steps,
        "eval_tokens": max(n_ctx, round(config.train.eval_tokens * share / 2)),  # of two: one before the first step
    }
    return config.model_copy(update={"data": arguments.data, "train": config.train.model_copy(update=changes)})


@contextlib.contextmanager
def counting() -> Iterator[list[float]]:
    """Inside the block the seconds of processors that watching takes are added to the list."""
    spent: list[float] = []

    def timed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return real(*words, **named)
            finally:
                spent.append(time.process_time() - start)

        return call

    def noting(ranges: NeuronRanges, layer: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def own(pre: torch.Tensor) -> torch.Tensor:
            start = time.process_time()
            values = function(pre)
            spent.append(start - time.process_time())  # the activation is not the watch's
            return values

        return timed(real_noting(ranges, layer, own))

    real_noting = NeuronRanges._noting
    with contextlib.ExitStack() as stack:
        for place, name in ((StepNorms, "__init__"), (StepNorms, "before"), (StepNorms, "after"), (loop, "memory")):
            stack.enter_context(mock.patch.object(place, name, timed(getattr(place, name))))
        for place, name in ((LossByGroup, "__init__"), (LossByGroup, "add"), (NeuronRanges, "dead")):
            stack.enter_context(mock.patch.object(place, name, timed(getattr(place, name))))
        stack.enter_context(mock.patch.object(NeuronRanges, "_noting", noting))
        yield spent


@contextlib.contextmanager
def blind() -> Any:
    """Inside the block training looks at nothing but its loss."""

    @torch.no_grad()
    def bare(model: Transformer, held_out: TokenFile, n_rows: int, accelerator: Any) -> tuple[float, dict[str, Any]]:
        module, sums, at_once = NextTokenLoss(model), torch.zeros(2, dtype=torch.float64), loop.eval_rows(model.config)
        for first in range(0, n_rows, at_once):
            rows = held_out.plain_rows(first, min(at_once, n_rows - first))
            sums += torch.stack([module(rows).double() * len(rows), torch.tensor(len(rows)).to(sums)])
        return float(sums[0] / sums[1]), {}

    with (
        mock.patch.object(loop, "held_out_losses", bare),
        mock.patch.object(loop, "memory", dict),
        mock.patch.object(StepNorms, "before", return_value=None),
        mock.patch.object(StepNorms, "after", return_value=None),
        mock.patch.object(NeuronRanges, "_noting", lambda self, layer, function: function),
    ):
        yield


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
