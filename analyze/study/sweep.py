"""Train the variants of a study at several peak learning rates, measure them, and say which rate wins."""

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from analyze.activations.collect import collect
from analyze.comparison.results import find_cells
from analyze.comparison.summary import compared_scores, summarize
from analyze.nulls import DEFAULT_NULLS
from analyze.scores import PRIMARY, SCORES
from analyze.scores.run import score_directory, scored_step
from analyze.study.plan import load_study
from analyze.study.rates import RULE, RatePoint, best_rate, common_rate, rates_figure, rates_table, spread_line
from train.config import RunConfig
from train.configfile import merge, validate
from train.cores import usable_cores
from train.data.resolve import ensure_data
from train.errors import BadInput, Diverged
from train.files import locked, write_atomic
from train.training_run import run as train_run

PAGE = """\
# Peak learning rates

The rule, written before the runs: {rule}

{chosen}

{common}

Rate beside activation. {spread}

![Share, dead share, firing rate and loss against the peak rate]({figure})

{table}

One run each: {tokens:,} tokens, seed {seed}, which no study uses; {sample:,} held-out tokens scored. Loss: nats a
token, all held-out rows, last step. Firing: per cent of tokens on which the median scored neuron fires. One seed says
nothing about how much seeds differ. Made again by

    {command}

on {machine}, torch {torch}, {threads}, {device}.
"""


@dataclass(frozen=True)
class Sweep:
    """What to train at which rates, and where."""

    study: Path
    rates: tuple[float, ...]
    variants: tuple[str, ...]
    seed: int
    tokens: int | None
    """Of each run; None: as the study's base run."""
    out: Path
    page: Path


def sweep(asked: Sweep) -> None:
    """Train, collect and score what is not there yet; then, unless only some variants were asked for, write the page.

    Raises:
        BadInput: a seed of the study, a variant that it does not have, or no rate.
    """
    study, base = load_study(asked.study, [])
    if asked.seed in study.seeds:
        raise BadInput(f"--seed {asked.seed}: is one of the study's seeds; tune on another")
    for name in asked.variants:
        if name not in study.variants:
            raise BadInput(f"--variants {name}: is no variant of {asked.study}")
    if not asked.rates:
        raise BadInput("--rates: needs at least one rate")
    checkpoints = asked.out / "checkpoints" / f"sweep-{asked.study.stem}"
    results = asked.out / "results" / f"sweep-{asked.study.stem}"
    data = ensure_data(base["data"], asked.out / "data")
    first = validate(RunConfig, merge(base, next(iter(study.variants.values()))), study.base)
    tokens = asked.tokens or first.train.tokens
    points: dict[str, list[RatePoint]] = {}
    for name in asked.variants or study.variants:
        for rate in asked.rates:
            over = {"seed": asked.seed, "data": str(data), "optim": {"lr": rate}, "train": {"tokens": tokens}}
            merged = merge(merge(base, study.variants[name]), over)
            config = validate(RunConfig, merged, f"{asked.study}: variants.{name}")
            directory = checkpoints / f"{name}-{rate:g}"
            with locked(results / directory.name):
                points.setdefault(name, []).append(
                    _point(name, rate, config, directory, data, results, study.analysis.sample_tokens)
                )
            print(points[name][-1], flush=True)
    if not asked.variants:
        _write_page(asked, points, tokens, study.analysis.sample_tokens)


def _point(
    name: str, rate: float, config: RunConfig, directory: Path, data: Path, results: Path, sample_tokens: int
) -> RatePoint:
    nan = float("nan")
    try:
        loss = train_run(config, directory).checkpoint.state["evaluation"]["loss"]
    except Diverged as failure:
        print(f"warning: {failure}", flush=True)
        return RatePoint(name, rate, float("inf"), nan, nan, nan, nan, 0.0)
    null = DEFAULT_NULLS[0]
    again = scored_step(directory, data, results, sample_tokens, names=[PRIMARY], nulls=[null])
    # Of a network with a mid LayerNorm: `mid`, which every network has.
    hooks = again or collect(directory, data, results, sample_tokens=sample_tokens, say=lambda line: None)
    scored = score_directory(hooks[0], [PRIMARY], drop_samples=True, nulls=[null])
    cells = [cell for cell in find_cells([scored.directory.parent]) if cell.place.hook == "mid"]
    summary = summarize(cells[0], compared_scores(cells[0].neurons().columns), None)
    own = summary.own.called[PRIMARY]
    by_chance = summary.nulls[null].called[PRIMARY].share if null in summary.nulls else nan
    return RatePoint(name, rate, loss, summary.dead_share, summary.firing_rate, own.share, by_chance, own.judged)


def _write_page(asked: Sweep, points: dict[str, list[RatePoint]], tokens: int, sample_tokens: int) -> None:
    title = SCORES[PRIMARY].title
    figure = asked.page.with_suffix(".svg")
    common, processor = common_rate(points), torch.cpu.get_capabilities().get("cpu_name", "a processor")
    page = PAGE.format(
        rule=RULE,
        chosen="; ".join(f"{name}: **{_said(best_rate(each))}**" for name, each in points.items()) + ".",
        common=f"One rate for all: **{_said(common)}**.",
        spread=spread_line(points, title),
        figure=figure.name,
        table=rates_table(points, title).markdown(),
        tokens=tokens,
        seed=asked.seed,
        sample=sample_tokens,
        command=_command(asked, tokens),
        machine=f"{usable_cores()} cores of {processor} ({platform.machine()}, {platform.system()})",
        torch=torch.__version__,
        threads="1 thread" if (n := torch.get_num_threads()) == 1 else f"{n} threads",
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
    )
    asked.page.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(figure, rates_figure(points, title).encode())
    write_atomic(asked.page, page.encode())
    print(page)


def _said(rate: float | None) -> str:
    return "no rate tried is allowed" if rate is None else f"{rate:g}"


def _command(asked: Sweep, tokens: int) -> str:
    rates: Sequence[str] = [f"{rate:g}" for rate in asked.rates]
    words = ["polysem", "rates", str(asked.study), "--rates", *rates, "--seed", str(asked.seed)]
    return shlex.join([*words, "--tokens", str(tokens)])
