"""Tune each variant's peak learning rate once, on a seed that no study uses, and write the sweep down.

python scripts/sweep.py configs/study/quickstart.toml --seed 1000 --tokens 1500000 --rates 6e-3 1.2e-2 2.4e-2
"""

from train.launch import with_allocator_settings

if __name__ == "__main__":
    with_allocator_settings()

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from tyro.conf import Positional

from analyze.study.config import StudyConfig
from train.config import RunConfig
from train.configfile import load_config, merge, read_toml, validate
from train.errors import BadInput, Diverged, exit_with_one_line
from train.training_run import run

PAGE = """\
# Peak learning rates

Held-out loss (nats a token, all held-out rows, last step) by peak rate, one run each: {tokens:,} tokens on seed
{seed}, which no study uses. Each variant takes its best rate, the edge of the grid included: a rate beyond it may
be better yet. Nothing else was tuned by variant. Made again by

    {command}

on {machine}, torch {torch}, {threads} threads.

{table}
"""


@dataclass(frozen=True)
class Sweep:
    """Train every variant of a study at every rate and write a table of held-out losses."""

    study: Positional[Path]
    """a study's TOML"""
    rates: tuple[float, ...]
    """peak rates to try"""
    seed: int = 1000
    """must not be one of the study's"""
    tokens: int = 1_500_000
    """of each run"""
    out: Path = Path("checkpoints/sweep")
    """where the runs are kept; runs that are there are not trained again"""
    page: Path = Path("docs/rates.md")
    """the Markdown page to write"""
    debug: bool = False
    """show the traceback of a failure"""


def held_out(config: RunConfig, out: Path) -> float:
    """Final held-out loss of a run; infinite where it diverged."""
    try:
        return run(config, out).checkpoint.state["evaluation"]["loss"]
    except Diverged as failure:
        print(f"warning: {failure}", flush=True)
        return float("inf")


def sweep(command: Sweep) -> None:
    """Run the sweep and write its page."""
    study = load_config(StudyConfig, command.study)
    if command.seed in study.seeds:
        raise BadInput(f"--seed {command.seed}: is one of the study's seeds; tune on another")
    lines = [
        "| variant | " + " | ".join(f"{rate:g}" for rate in command.rates) + " | best |",
        "|---|" + "---|" * (len(command.rates) + 1),
    ]
    for name, values in study.variants.items():
        losses: list[float] = []
        for rate in command.rates:
            over: dict[str, Any] = {"seed": command.seed, "optim": {"lr": rate}, "train": {"tokens": command.tokens}}
            merged = merge(merge(read_toml(study.base), values), over)
            losses.append(
                held_out(validate(RunConfig, merged, f"{command.study}: {name}"), command.out / f"{name}-{rate:g}")
            )
            print(f"{name} {rate:g} {losses[-1]:.4f}", flush=True)
        best = command.rates[losses.index(min(losses))]
        edge = " (edge of the grid)" if best in (min(command.rates), max(command.rates)) else ""
        lines.append(f"| {name} | " + " | ".join(f"{loss:.3f}" for loss in losses) + f" | {best:g}{edge} |")
    rates = " ".join(f"{rate:g}" for rate in command.rates)
    page = PAGE.format(
        tokens=command.tokens,
        seed=command.seed,
        command=f"python scripts/sweep.py {command.study} --seed {command.seed} "
        f"--tokens {command.tokens} --rates {rates}",
        machine=f"{platform.machine()}, {platform.system()}",
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        table="\n".join(lines),
    )
    command.page.parent.mkdir(parents=True, exist_ok=True)
    command.page.write_text(page)
    print(page)


if __name__ == "__main__":
    chosen = tyro.cli(Sweep, prog="python scripts/sweep.py")
    exit_with_one_line(lambda: sweep(chosen), chosen.debug)
