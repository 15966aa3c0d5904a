"""Tokens a second of collecting, against TransformerLens.

    python benchmarks/collect.py data/default [--wide]
    python benchmarks/collect.py --model paper --device cuda --json collecting.json

Model A: 1 layer, d_model 128, 4 heads, d_mlp 512, n_ctx 256, GELU (tanh form), untrained; the data's held-out
rows. `--model paper`, for a GPU, is that of `benchmarks/train.py`, on random tokens whose frequencies fall off as
those of words; `tiny` shows that the benchmark itself runs. Four workers take turns; each line gives the median of
its windows by the clock, and tokens a processor second, which a busy machine disturbs less (with `--threads 1`
hardly at all).

- TransformerLens: `run_with_cache` with a names filter, top 20 of every neuron merged batch by batch; and the
  same told to stop after the layer;
- the top 20 alone: forward to the hook, one example a document, in each half;
- the full pass: `collect` as the command runs it: moments, quantiles, histograms, examples of the top and of the
  bands, sums per token, the sample; written, hashed and sealed.

All in one process with the allocator settings that the project's commands run under. Peak memory is the process',
and on a GPU also torch's there, of all workers together. `--wide` instead collects from d_mlp = 12,800 (d_model 128,
ReLU, untrained) and tells the peak memory and the density of the sums per token; `--sample-tokens` then makes it hold
a part of the tokens, so that the source is run twice.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from train.launch import with_process_settings

if __name__ == "__main__":
    with_process_settings()

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from analyze.activations.collect import collect_source
from analyze.activations.passes import micro_batches
from analyze.activations.sample import blocks
from analyze.activations.settings import DEFAULT
from analyze.activations.source import CheckpointSource
from analyze.activations.token_sample import counted_in_sample, make_plan
from analyze.activations.top_examples import N_EXAMPLES, TopExamples
from benchmarks.contestants import SHAPES
from benchmarks.random_data import write_random_data
from train.checkpoint import load, save_checkpoint
from train.config import ModelConfig
from train.cores import usable_cores
from train.data.tokens import TokenFile
from train.lens import to_bridge
from train.model import Transformer

HOOK = "blocks.0.mlp.hook_post"
PEER = "TransformerLens run_with_cache, top 20"
N_TOKENS = {"paper": 250_000, "tiny": 20_000}
"""Random held-out tokens."""


def checkpoint_of(config: ModelConfig, tokens: TokenFile, root: Path) -> Path:
    """An untrained checkpoint that fits the data."""
    state = {
        "run": "benchmark",
        "variant": "benchmark",
        "root_variant": "benchmark",
        "seed": 0,
        "step": 0,
        "tokens": 0,
        "tokens_before": 0,
        "n_params": config.n_params,
        "factor": 1,
        "start": None,
        "evaluation": None,
        "data": {"hash": tokens.data_hash, "tokenizer_sha256": tokens.tokenizer_sha256},
    }
    tokenizer = (tokens.directory / "tokenizer.json").read_bytes()
    return save_checkpoint(root / "run", Transformer(config), {}, state, tokenizer, None)


@torch.no_grad()
def with_transformer_lens(bridge: torch.nn.Module, tokens: TokenFile, n_rows: int, stop: bool) -> None:
    """Top activations of every neuron by run_with_cache, 8 rows at a time."""
    size = DEFAULT.micro_batch_rows(tokens.n_ctx)
    more = {"stop_at_layer": 1} if stop else {}
    device = next(bridge.parameters()).device
    best = None
    for rows in micro_batches(tokens, n_rows, size, 64):
        _, cache = bridge.run_with_cache(rows[:, : tokens.n_ctx].to(device), names_filter=[HOOK], **more)  # pyright: ignore[reportCallIssue]
        values = cache[HOOK].flatten(0, 1)
        best = (values if best is None else torch.cat((best, values))).topk(N_EXAMPLES, dim=0).values
    if best is not None:
        best.cpu()  # waits until the device is done


@torch.no_grad()
def top_alone(source: CheckpointSource, tokens: TokenFile, n_rows: int) -> None:
    """The top examples of every neuron as collecting finds them, and nothing else."""
    plan, size = make_plan(tokens, n_rows, share=1.0), DEFAULT.micro_batch_rows(tokens.n_ctx)
    examples, first = TopExamples(source.facts.n_neurons), 0
    for rows in micro_batches(tokens, n_rows, size, 64):
        values = source.activations(rows[:, : tokens.n_ctx]).flatten(0, 1)
        flat, kept = counted_in_sample(plan.tokens, first, first + len(rows), tokens.n_ctx)
        first += len(rows)
        examples.update(values, kept, flat)
    examples.finish()


def full_pass(source: CheckpointSource, tokens: TokenFile, n_rows: int, out: Path) -> None:
    """`collect`, into a directory that is not there."""
    collect_source(source, tokens, out / "L0.mid", max_tokens=n_rows * tokens.n_ctx, say=lambda _: None)


def compare(config: ModelConfig, tokens: TokenFile, root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Print the table of a model, and return its figures."""
    opened, device = load(checkpoint_of(config, tokens, root)), torch.device(args.device)
    source, bridge = CheckpointSource(opened, 0, device=device), to_bridge(opened.model().to(device))
    n_rows = min(tokens.n_rows, args.max_rows or tokens.n_rows)
    workers: dict[str, Callable[[], None]] = {
        PEER: lambda: with_transformer_lens(bridge, tokens, n_rows, stop=False),
        "the same, stopped after the layer": lambda: with_transformer_lens(bridge, tokens, n_rows, stop=True),
        "top 20 alone": lambda: top_alone(source, tokens, n_rows),
        "full pass": lambda: full_pass(source, tokens, n_rows, root / "out"),
    }
    n_tokens = n_rows * tokens.n_ctx
    wall: dict[str, list[float]] = {name: [] for name in workers}
    processor: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(args.repeats + 1):
        for name, work in workers.items():
            clocks = time.perf_counter(), time.process_time()
            work()
            if turn:  # the first turn warms up
                wall[name].append(n_tokens / (time.perf_counter() - clocks[0]))
                processor[name].append(n_tokens / (time.process_time() - clocks[1]))
            shutil.rmtree(root / "out", ignore_errors=True)  # no part of collecting
    threads = torch.get_num_threads()
    print(
        f"{args.model}: {n_tokens:,} tokens, {args.device}, {threads} threads, {args.repeats} windows; tokens a second"
    )
    print(f"{'':40} {'by the clock':>12} {'best':>9} {'':>6} {'processor':>12}")
    rows = []
    for name in workers:
        ratios = [statistics.median(found[name]) / statistics.median(found[PEER]) for found in (wall, processor)]
        row = {"name": name, "tokens_per_s": statistics.median(wall[name]), "best": max(wall[name])}
        row |= {"tokens_per_processor_s": statistics.median(processor[name])}
        rows.append({**row, "x_clock": ratios[0], "x_processor": ratios[1]})
        print(
            f"{name:40} {row['tokens_per_s']:12,.0f} {row['best']:9,.0f} {ratios[0]:5.2f}x "
            f"{row['tokens_per_processor_s']:12,.0f} {ratios[1]:5.2f}x",
            flush=True,
        )
    peaks = {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
    if device.type == "cuda":
        peaks["device_peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    print(", ".join(f"{name.removesuffix('_mb').replace('_', ' ')} {value:,.0f} MB" for name, value in peaks.items()))
    head = {"model": args.model, "device": args.device, "threads": threads, "n_tokens": n_tokens}
    return {**head, **peaks, "rows": rows}


def wide(tokens: TokenFile, root: Path, max_rows: int | None, sample_tokens: int | None) -> None:
    """Print speed, peak memory and the sums' density at d_mlp = 12,800."""
    config = ModelConfig(
        n_layers=1, d_model=128, n_heads=4, n_ctx=256, d_vocab=tokens.d_vocab, act="relu", widths=(12_800,)
    )
    source = CheckpointSource(load(checkpoint_of(config, tokens, root)), 0)
    n_rows = min(tokens.n_rows, max_rows or tokens.n_rows)
    clocks = time.perf_counter(), time.process_time()
    n_tokens = n_rows * tokens.n_ctx
    acts = collect_source(source, tokens, root / "out" / "L0.mid", max_tokens=n_tokens, sample_tokens=sample_tokens)
    wall, processor = (n_tokens / (now - then) for now, then in zip((time.perf_counter(), time.process_time()), clocks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    assert acts.token_sums is not None
    entries = sum(len(acts.token_sums.block(*block).token) for block in blocks(acts.n_neurons))
    print(
        f"d_mlp 12,800: {n_tokens:,} tokens, {wall:,.0f} a second by the clock, {processor:,.0f} a processor second; "
        f"peak memory {peak:,.0f} MB; sums for {entries / acts.n_neurons / tokens.d_vocab:.1%} of neurons x ids"
    )


def main() -> None:
    """Run what is asked for in a directory that is removed again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="what `train prepare` wrote; paper and tiny make their own")
    parser.add_argument("--model", choices=("A", "paper", "tiny"), default="A")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--max-rows", type=int, help="use only the first rows")
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--sample-tokens", type=int, help="with --wide: hold so many tokens whole")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    shape = SHAPES[args.model]
    if (args.data is None) == (shape.random is None):
        parser.error("give a data directory, or a model that makes its own, and not both")
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as directory:
        root, data = Path(directory), args.data
        if shape.random:
            n_ctx, d_vocab = shape.random
            counts = {"fit": 2 * n_ctx, "eval": N_TOKENS[args.model]}
            data = write_random_data(root / "data", n_ctx, d_vocab, counts)
        tokens = TokenFile.open(data, "eval", n_ctx=shape.random[0] if shape.random else 256)
        if args.wide:
            wide(tokens, root, args.max_rows, args.sample_tokens)
            return
        figures = compare(shape.config(tokens), tokens, root, args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
