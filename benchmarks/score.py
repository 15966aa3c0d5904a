"""What scoring costs: seconds for 256 neurons and 190,000 tokens. `python benchmarks/score.py DATA_DIR`

Neurons are planted on the data's held-out tokens: each answers to three rules drawn at random, over noise;
`gelu` is above zero on about half of the tokens, `relu` on about a tenth. Wall and processor seconds are the
least of `--repeats` runs; the text side (views, embeddings, clusters) is timed once, as a study pays it once.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analyze.grammar import grammar_on
from analyze.rules import Grammar
from analyze.scores.k_eff import fit_block
from analyze.scores.rule_share import N_EXAMPLES, shares
from train.tokens import TokenFile

N_NEURONS = 256
N_TOKENS = 190_000


def held_out(data: TokenFile) -> tuple[np.ndarray, np.ndarray]:
    """Stream positions of all held-out tokens but separators, and which of them are in a made-up fit half."""
    document = data.document_of_rows(0, data.n_rows)[:, 1:].ravel()
    positions = np.flatnonzero(document >= 0)
    return positions, document[positions] % 2 == 0


def planted(grammar: Grammar, n_tokens: int, act: str) -> torch.Tensor:
    """[t N_NEURONS] activations; the same for every call."""
    rng = np.random.default_rng(0)
    total = torch.from_numpy(rng.standard_normal((n_tokens, N_NEURONS)).astype(np.float32)) * 0.3
    for neuron in range(N_NEURONS):
        for rule in rng.choice(len(grammar), 3, replace=False).tolist():
            alone = grammar.step((rule,))
            covered = np.concatenate([grammar.fit[alone.new_fit], grammar.eval[alone.new_eval]])
            total[torch.from_numpy(covered), neuron] += 1
    return torch.nn.functional.gelu(total) if act == "gelu" else (total - 0.4).relu()


def least(work: Callable[[Any], object], given: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Wall and processor seconds of the quickest run of `work` on what `given` makes, unmeasured."""
    times = []
    for _ in range(repeats):
        held = given()
        wall, processor = time.perf_counter(), time.process_time()
        work(held)
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What scoring costs.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(2)
    data = TokenFile.open(args.data, split="eval")
    positions, is_fit = held_out(data)
    start = time.perf_counter()
    grammar = grammar_on(data, positions, is_fit)
    print(f"{len(positions)} tokens, {len(grammar)} rules, {torch.get_num_threads()} threads")
    print(f"text side, once a study        {time.perf_counter() - start:6.2f} s")
    scale = N_TOKENS / len(positions)
    every = np.ones(N_NEURONS, np.int64)
    for act in ("gelu", "relu"):
        activations = planted(grammar, len(positions), act)
        median = activations.median(dim=0).values.double().numpy()

        def k_eff(values: torch.Tensor, median: np.ndarray = median) -> object:
            return fit_block(values, median, every, grammar)

        wall, processor = least(k_eff, activations.clone, args.repeats)
        wall, processor = wall * scale, processor * scale
        print(f"K_eff, {act}, a block            {wall:6.2f} s wall {processor:6.2f} s processor")
    rng = np.random.default_rng(0)
    examples = rng.choice(positions, (2, N_NEURONS, N_EXAMPLES))
    wall, processor = least(lambda held: shares(held[0], held[1], grammar), lambda: examples, args.repeats)
    print(f"rule share, a block            {wall:6.2f} s wall {processor:6.2f} s processor")


if __name__ == "__main__":
    main()
