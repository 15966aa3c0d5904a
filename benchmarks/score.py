"""What each score costs, side by side: seconds for 256 neurons and 190,000 tokens.

    python benchmarks/score.py results/quickstart/gelu_new-s0/step-000001465/L0.mid [...]

Every score in SCORES makes its table of the same collected activations, on one thread. `first` includes what a
study pays once for its text (views, embeddings, clusters, labels), whichever score asks for it first; `wall` and
`processor` are the least of `--repeats` further runs. Those two are scaled to 256 scored neurons (dead and rare
ones cost next to nothing) and 190,000 sampled tokens.

Below stand the wall seconds of whole tables by the number of processes (`--jobs`), nulls apart: K_eff alone and all
scores. Processes are started and have read the text before the clock starts, as in a study after its first layer.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analyze.activations.store import SCORED, open_activations
from analyze.scores import SCORES, default_names
from analyze.scores.base import NeuronScore
from analyze.scores.parts import Layer, score_in_workers
from train.errors import BadInput
from train.workers import workers

N_NEURONS = 256
N_TOKENS = 190_000


def seconds(score: NeuronScore, directory: Path) -> tuple[float, float]:
    """Wall and processor seconds of one table, of activations opened anew: some scores keep what they found."""
    acts = open_activations(directory)
    wall, processor = time.perf_counter(), time.process_time()
    score.table(acts)
    return time.perf_counter() - wall, time.process_time() - processor


def seconds_by_jobs(directory: Path, names: list[str], jobs: int, repeats: int) -> float:
    """Least wall seconds of a table without nulls, made by so many processes that have read the text before."""
    acts, layer = open_activations(directory), Layer(directory.resolve())
    runs = []
    with workers(jobs) as pool:
        for _ in range(repeats + 2):  # with luck the first two have every process read every text that it needs
            start = time.perf_counter()
            score_in_workers(layer, acts, names, 0, [], pool)
            runs.append(time.perf_counter() - start)
    return min(runs[2:])


def main() -> None:
    """Print a table for each directory."""
    parser = argparse.ArgumentParser(description="What each score costs.")
    parser.add_argument("activations", type=Path, nargs="+", help="directories that `polysem collect` wrote")
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), default=list(SCORES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, nargs="*", default=[1, 2], help="numbers of processes; none: leave out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for directory in args.activations:
        try:
            acts = open_activations(directory)
        except BadInput as failure:
            sys.exit(str(failure))
        scored = int((acts.moments.status == SCORED).sum())
        scale = N_NEURONS / max(scored, 1) * N_TOKENS / max(len(acts.tokens), 1)
        print(f"{directory}: {scored} scored neurons, {len(acts.tokens)} tokens, figures x {scale:.2f}")
        print(f"{'score':<20}{'first':>10}{'wall':>10}{'processor':>12}   seconds")
        for name in args.scores:
            first, _ = seconds(SCORES[name], directory)
            runs = [seconds(SCORES[name], directory) for _ in range(args.repeats)]
            wall, processor = (min(run[i] for run in runs) * scale for i in range(2))
            print(f"{name:<20}{first:>10.2f}{wall:>10.2f}{processor:>12.2f}", flush=True)
        for title, names in (("k_eff", ["k_eff"]), ("all", default_names())) if args.jobs else ():
            by_jobs = ((jobs, seconds_by_jobs(directory, names, jobs, args.repeats) * scale) for jobs in args.jobs)
            print(f"{title:<20}" + "".join(f"   {jobs} processes {wall:.2f}" for jobs, wall in by_jobs), flush=True)


if __name__ == "__main__":
    main()
