"""Tokens a second of training, against TransformerLens and a nanoGPT-like peer. `python benchmarks/train.py`

One layer, d_model 128, 4 heads, n_ctx 256, vocabulary 4096, 16 x 256 tokens a step, AdamW:
A d_mlp 512, GELU (tanh form); B d_mlp 12,800, ReLU; C as A with SoLU + LayerNorm; D as B with SoLU + LayerNorm.
`quickstart` has the quick start's d_model 64 and d_mlp 256.

Every contestant is a process of its own, with or without the allocator settings that polysem's commands run under,
and stays alive: they take turns, a window of some steps each, in an order that turns round every time. Printed are
medians over windows, medians of ratios within a round, and the share of the fastest window of matrix products.
Tokens a processor second are disturbed less by a busy machine (with one thread hardly at all). Peak memory is the
whole process', libraries included. "polysem, train run" is the command's own loop with data, log lines and
accelerate, without evaluation and checkpoints.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from train.launch import ALLOCATOR  # noqa: E402

REFERENCE = "TransformerLens"
LOOP = "polysem, train run"
BARE = "polysem, bare step"
PEAK = "matrix products"
CONTESTANTS = {
    PEAK: True,
    REFERENCE: False,
    "TransformerLens, allocator": True,
    "nanoGPT-like, allocator": True,
    "nanoGPT-like, allocator, compiled": True,
    BARE: True,
    LOOP: True,
}
"""Whether each runs with the allocator settings."""

SETTLE = 0.2
"""Seconds before a window, in which the last one's threads stop spinning."""


@dataclass
class Worker:
    """A contestant's process and what its windows took."""

    name: str
    process: "subprocess.Popen[bytes]"
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def answer(self) -> dict[str, float]:
        """The next message of the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended; its messages are above")
        return json.loads(line)

    def window(self) -> None:
        """Let it run one window."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        found = self.answer()
        self.clock.append(found["clock"])
        self.processor.append(found["processor"])
        self.peak_mb = found["peak_mb"]


def start(name: str, model: str, args: argparse.Namespace) -> Worker:
    """Start a contestant; returns when it has warmed up."""
    environment = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
    environment |= {"OMP_NUM_THREADS": str(args.threads)} | (ALLOCATOR if CONTESTANTS[name] else {})
    command = [sys.executable, __file__, "--worker", name, "--models", model, "--precision", args.precision]
    process = subprocess.Popen(
        [*command, "--data", str(args.data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    worker = Worker(name, process)
    worker.answer()
    return worker


def work(name: str, model: str, args: argparse.Namespace) -> None:
    """A contestant's process: a window for every line on standard input, its time on standard output."""
    from benchmarks.contestants import SHAPES, build, loop, quiet_stdout
    from train.data.tokens import TokenFile

    shape = SHAPES[model]
    with os.fdopen(quiet_stdout(), "w") as out:
        gate = turnstile(out)
        if name == LOOP:
            loop(shape, TokenFile.open(args.data), args.precision, gate)
        advance = build(name, shape, args.data, args.precision)
        while True:
            advance(shape.steps)
            gate()


def turnstile(out: IO[str]) -> Callable[[], None]:
    """A function that tells the time since it last returned, and waits for the next window; the first is warm-up."""
    started = [0.0, 0.0]

    def processor() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def gate() -> None:
        times = {"clock": time.perf_counter() - started[0], "processor": processor() - started[1]}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(times | {"peak_mb": peak}), file=out, flush=True)
        if not sys.stdin.readline():
            raise SystemExit
        started[:] = time.perf_counter(), processor()

    return gate


def race(model: str, args: argparse.Namespace) -> None:
    """Run every contestant on one model and print its table."""
    from benchmarks.contestants import MATRIX_FLOPS, ROWS, SHAPES, flops_per_token
    from train.data.tokens import TokenFile

    workers = [start(name, model, args) for name in CONTESTANTS]
    for index in range(args.windows):
        for worker in workers[:: -1 if index % 2 else 1]:
            time.sleep(SETTLE)
            worker.window()
    for worker in workers:
        worker.process.communicate()
    by_name = {worker.name: worker for worker in workers}
    shape, tokens = SHAPES[model], TokenFile.open(args.data)
    n_tokens = shape.steps * ROWS * tokens.n_ctx
    peak = MATRIX_FLOPS * shape.steps / min(by_name[PEAK].clock)
    share = flops_per_token(shape.config(tokens)) * n_tokens / peak
    print(
        f"\n{model}: {args.precision}, {args.threads} thread(s), {args.windows} windows of {shape.steps} steps; "
        f"products of 2048 x 2048 matrices in fp32: {peak / 1e9:.0f} GFLOP/s"
    )
    print("| | tokens/s | tokens a processor second | peak MB | x TransformerLens | by processor time | of peak |")
    print("|---|---|---|---|---|---|---|")
    for worker in workers[1:]:
        clock, processor = statistics.median(worker.clock), statistics.median(worker.processor)
        print(
            f"| {worker.name} | {n_tokens / clock:,.0f} | {n_tokens / processor:,.0f} | {worker.peak_mb:,.0f} "
            f"| {ratio(by_name[REFERENCE].clock, worker.clock):.2f} "
            f"| {ratio(by_name[REFERENCE].processor, worker.processor):.2f} | {share / clock:.0%} |"
        )
    by_clock = ratio(by_name[BARE].clock, by_name[LOOP].clock)
    by_processor = ratio(by_name[BARE].processor, by_name[LOOP].processor)
    print(f"train run / bare step: {by_clock:.3f} by the clock, {by_processor:.3f} by processor time", flush=True)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median over rounds of how many times as fast."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "default", help="what `train prepare` wrote")
    parser.add_argument("--models", nargs="+", choices=("A", "B", "C", "D", "quickstart"), default=["A", "B"])
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--worker", choices=tuple(CONTESTANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.models[0], args)
    for model in args.models:
        race(model, args)


if __name__ == "__main__":
    main()
