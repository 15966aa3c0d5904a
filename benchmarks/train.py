"""Tokens a second of training, against TransformerLens, Hugging Face Trainer and a nanoGPT-like peer.

    python benchmarks/train.py --models A quickstart --precision fp32 bf16 --windows 7
    python benchmarks/train.py --models paper paper-wide --precision bf16 --device cuda --json gpu.json

One layer, d_model 128, 4 heads, n_ctx 256, vocabulary 4096, 16 x 256 tokens a step, AdamW:
A d_mlp 512, GELU (tanh form); B d_mlp 12,800, ReLU; C as A with SoLU + LayerNorm; D as B with SoLU + LayerNorm.
`quickstart` has the quick start's d_model 64 and d_mlp 256. For a GPU, on random tokens: `paper` and `paper-wide`,
one layer, d_model 512, d_mlp 2,048 and 51,200, vocabulary 48,262, n_ctx 1,024, 32,768 tokens a step.

Every contestant is a process of its own, with or without the settings that polysem's commands run under. On a CPU all
stay alive and take turns, a window of some steps each, in an order that turns round every time; on a GPU, whose memory
they would share, one follows the other. Printed are medians over windows, medians of ratios within a round with the
interval that holds the median at 95 % (of fewer than 6 windows: the smallest and largest), and the share of the
fastest window of matrix products in the same precision. Tokens a processor second are disturbed less by a busy machine
(with one thread hardly at all). Peak memory is the process' on a CPU, libraries included, and torch's on a GPU.
"polysem, train run" is the command's own loop with data, log lines and accelerate, without evaluation and checkpoints.
`--profile` prints instead where the time of polysem's bare step goes, and that of the compiled peer.
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
from math import comb
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from train.launch import ALLOCATOR, WAITING  # noqa: E402

REFERENCE = "TransformerLens"
TRAINER = "HF Trainer"
LOOP = "polysem, train run"
BARE = "polysem, bare step"
PEAK = "matrix products"
COMPILED = "nanoGPT-like, allocator, compiled"
CONTESTANTS = {
    PEAK: True,
    REFERENCE: False,
    TRAINER: False,
    "nanoGPT-like, allocator": True,
    COMPILED: True,
    BARE: True,
    "polysem, bare step, compiled": True,
    LOOP: True,
}
"""Whether each runs with the settings of `train/launch.py`."""

SETTLE = 0.2
"""Seconds before a window, in which the last one's threads stop spinning."""


class Ended(Exception):
    """A contestant's process is gone."""


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
            raise Ended(f"{self.name}: the process ended; its messages are above")
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


def start(name: str, model: str, precision: str, args: argparse.Namespace) -> Worker:
    """Start a contestant; returns when it has warmed up."""
    settings = ALLOCATOR | WAITING
    environment = {key: value for key, value in os.environ.items() if key not in settings}
    environment |= {"OMP_NUM_THREADS": str(args.threads)} | (settings if CONTESTANTS[name] else {})
    command = [sys.executable, __file__, "--worker", name, "--models", model, "--precision", precision]
    command += ["--data", str(args.data), "--device", args.device]
    worker = Worker(name, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment))
    worker.answer()
    return worker


def work(name: str, model: str, precision: str, args: argparse.Namespace) -> None:
    """A contestant's process: a window for every line on standard input, its time on standard output."""
    from benchmarks.contestants import SHAPES, build, loop, quiet_stdout

    shape = SHAPES[model]
    with os.fdopen(quiet_stdout(), "w") as out:
        gate = turnstile(out, args.device)
        if name == LOOP:
            loop(shape, shape.source(args.data), precision, args.device, gate)
        if name == TRAINER:
            from benchmarks.hf_trainer import trainer

            trainer(shape, shape.source(args.data), precision, args.device, gate)
        advance = build(name, shape, args.data, precision, args.device)
        while True:
            advance(shape.steps)
            gate()


def turnstile(out: IO[str], device: str) -> Callable[[], None]:
    """A function that tells the time since it last returned, and waits for the next window; the first is warm-up."""
    import torch

    started = [0.0, 0.0]

    def processor() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def gate() -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        times = {"clock": time.perf_counter() - started[0], "processor": processor() - started[1]}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps(times | {"peak_mb": peak}), file=out, flush=True)
        if not sys.stdin.readline():
            raise SystemExit
        started[:] = time.perf_counter(), processor()

    return gate


def race(model: str, precision: str, args: argparse.Namespace) -> list[Worker]:
    """Run every contestant's windows. One that does not start, as for want of memory, is named and left out."""
    names = [name for name in CONTESTANTS if name == PEAK or not args.only or name in args.only]
    together = args.device == "cpu"
    workers: list[Worker] = []
    for group in [names] if together else [[name] for name in names]:
        alive = []
        for name in group:
            try:
                alive.append(start(name, model, precision, args))
            except Ended as failure:
                print(failure, file=sys.stderr, flush=True)
        for index in range(args.windows):
            for worker in alive[:: -1 if index % 2 else 1]:
                time.sleep(SETTLE if together else 0)
                worker.window()
        for worker in alive:
            worker.process.communicate()
        workers += alive
    return workers


def table(model: str, precision: str, workers: list[Worker], args: argparse.Namespace) -> dict[str, Any]:
    """Print one race and return its figures."""
    from benchmarks.contestants import MATRIX, SHAPES, flops_per_token

    shape = SHAPES[model]
    tokens = shape.source(args.data)
    by_name = {worker.name: worker for worker in workers}
    peers = [worker for worker in workers if worker.name.startswith("nanoGPT")]
    against = {"TransformerLens": by_name.get(REFERENCE), "Trainer": by_name.get(TRAINER)}
    strongest = min(peers, key=lambda worker: statistics.median(worker.clock)) if peers else None
    against["strongest peer"] = strongest
    n_tokens, size = shape.steps * shape.rows * tokens.n_ctx, MATRIX[args.device]
    peak = 2 * size**3 * shape.steps / min(by_name[PEAK].clock)
    share = flops_per_token(shape.config(tokens)) * n_tokens / peak
    print(
        f"\n{model}: {precision}, {args.device}, {args.threads} thread(s), {args.windows} windows of {shape.steps} "
        f"steps; products of {size} x {size} matrices: {peak / 1e9:,.0f} GFLOP/s\n"
    )
    heads = ["", "tokens/s", "tokens a processor second", "peak MB", "of peak"]
    heads += [f"x {name} {by}" for name, theirs in against.items() if theirs for by in ("(clock)", "(processor)")]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    rows = []
    for worker in workers:
        if worker.name == PEAK:
            continue
        clock, processor = statistics.median(worker.clock), statistics.median(worker.processor)
        row: dict[str, Any] = {
            "name": worker.name,
            "tokens_per_s": n_tokens / clock,
            "tokens_per_processor_s": n_tokens / processor,
            "peak_mb": worker.peak_mb,
            "share_of_peak": share / clock,
        }
        cells = [f"{n_tokens / clock:,.0f}", f"{n_tokens / processor:,.0f}", f"{worker.peak_mb:,.0f}"]
        cells.append(f"{share / clock:.0%}")
        for name, theirs in against.items():
            if theirs:
                row[name] = {
                    "clock": ratio(theirs.clock, worker.clock),
                    "processor": ratio(theirs.processor, worker.processor),
                }
                cells += ["{:.2f} [{:.2f}, {:.2f}]".format(*each) for each in row[name].values()]
        rows.append(row)
        print(f"| {worker.name} | {' | '.join(cells)} |")
    if strongest:
        print(f"\nstrongest peer: {strongest.name}")
    if BARE in by_name and LOOP in by_name:
        by_clock = ratio(by_name[BARE].clock, by_name[LOOP].clock)
        by_processor = ratio(by_name[BARE].processor, by_name[LOOP].processor)
        print(
            "train run / bare step: {:.3f} [{:.3f}, {:.3f}] by the clock, ".format(*by_clock)
            + "{:.3f} [{:.3f}, {:.3f}] by processor time".format(*by_processor),
            flush=True,
        )
    head = {"model": model, "precision": precision, "device": args.device, "threads": args.threads}
    return head | {"windows": args.windows, "matrix_gflops": peak / 1e9, "rows": rows}


def ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """How many times as fast: the median over rounds, and the order statistics that hold it at 95 %."""
    ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    n, cut = len(ratios), 0
    # The median lies outside the (cut + 1)-th smallest and largest with twice the chance of at most `cut` heads.
    while 2 * sum(comb(n, k) for k in range(cut + 2)) / 2**n <= 0.05:
        cut += 1
    return statistics.median(ratios), ratios[cut], ratios[n - 1 - cut]


def profile(model: str, precision: str, args: argparse.Namespace) -> None:
    """Print where the time of a step goes: polysem's and the compiled peer's."""
    import torch
    from torch.profiler import profile as profiler

    from benchmarks.contestants import SHAPES, build

    torch.set_num_threads(args.threads)
    for name in (BARE, COMPILED):
        advance = build(name, SHAPES[model], args.data, precision, args.device)
        advance(3)
        with profiler() as found:
            advance(5)
        print(f"\n{name}, {model}, {precision}, 5 steps")
        print(found.key_averages().table(sort_by=f"self_{args.device}_time_total", row_limit=20), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "default", help="what `train prepare` wrote")
    models = ("A", "B", "C", "D", "quickstart", "paper", "paper-wide", "tiny")
    parser.add_argument("--models", nargs="+", choices=models, default=["A", "quickstart"])
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", choices=tuple(CONTESTANTS), help="these contestants; default: all")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--profile", action="store_true", help="print where a step's time goes, and race nobody")
    parser.add_argument("--worker", choices=tuple(CONTESTANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.models[0], args.precision[0], args)
    tables = []
    for model in args.models:
        for precision in args.precision:
            if args.profile:
                profile(model, precision, args)
                continue
            tables.append(table(model, precision, race(model, precision, args), args))
            if args.json:
                args.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
