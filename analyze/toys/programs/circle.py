"""4.18: does the number of features that an autoencoder finds settle as its dictionary grows?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.toys.programs.base import ProgramQuestion, Replica, settled
from analyze.toys.verdicts.question import toy_rule
from train.toys.programs.base import generator
from train.toys.programs.bumps import latents, samples
from train.toys.programs.run import ProgramRun, VariantRun

SAMPLES = 20_000
LEAST_FIRING = 1e-3
"""Share of samples that a live latent is kept on."""
SAME = 0.998
"""Cosine from which two live latents count as one: 3.6 degrees."""


def distinct(directions: Float[ndarray, "n d"]) -> int:
    """Live latents, those that point the same way counted once: greedy, the most used first (rows in that order)."""
    kept: list[ndarray] = []
    for row in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        if not kept or float(np.max(np.stack(kept) @ row)) <= SAME:
            kept.append(row)
    return len(kept)


def live(run: VariantRun, seed: int = 0) -> list[int]:
    """Distinct live latents of every replica."""
    x = samples(run.settings, SAMPLES, generator(seed, "live latents"))
    counts = []
    with torch.no_grad():
        for r in range(run.replicas):
            values, which = latents(run.settings, run.replica(r), x)
            fired = np.bincount(which[0][values[0] > 0].numpy(), minlength=run.settings.latents)
            order = np.argsort(-fired, kind="stable")
            order = order[fired[order] >= LEAST_FIRING * SAMPLES]
            counts.append(distinct(run.parameters["decoder"][r].double().numpy()[order]))
    return counts


def growth(sizes: Sequence[int], counts: Sequence[int]) -> float:
    """Slope of log(live latents) against log(dictionary size): 1 where all of any dictionary live, 0 at a plateau."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(counts, 1)), 1)[0])


def of_counts(
    sizes: Sequence[int], circle: Sequence[Sequence[int]], points: Sequence[Sequence[int]]
) -> list[Measurement]:
    """One measurement a replica; counts are [replica][size]."""
    null = np.array([growth(sizes, counts) for counts in points])
    return [
        Measurement(
            growth(sizes, counts), null, details={f"live of {size}": float(count) for size, count in zip(sizes, counts)}
        )
        for counts in circle
    ]


def measure(run: ProgramRun) -> dict[str, list[Replica]]:
    """Replicas by what they do over all sizes."""
    sizes, counts = _counts(run)
    found = of_counts(sizes, counts["circle"].T.tolist(), counts["points"].T.tolist())
    rests = np.all([settled(each) for each in run.variants.values() if each.settings.angles == "circle"], axis=0)
    return {"circle": [Replica(r, replace(each, settled=bool(rests[r]))) for r, each in enumerate(found)]}


def _counts(run: ProgramRun) -> tuple[list[int], dict[str, ndarray]]:
    """Dictionary sizes, and live latents [size rep] by the kind of angles."""
    by_kind: dict[str, dict[int, list[int]]] = {"circle": {}, "points": {}}
    for each in run.variants.values():
        by_kind[each.settings.angles][each.settings.latents] = live(each)
    sizes = sorted(by_kind["circle"].keys() & by_kind["points"].keys())
    return sizes, {kind: np.array([counts[size] for size in sizes]) for kind, counts in by_kind.items()}


def figures(run: ProgramRun, measured: Sequence[Measured]) -> list[Figure]:
    """Live latents against the size of the dictionary."""
    from matplotlib.figure import Figure as Canvas

    sizes, counts = _counts(run)
    points = next(iter(run.variants.values())).settings.points
    with look():
        canvas = Canvas(figsize=(4.6, 3.2), layout="constrained")
        axes = canvas.subplots()
        for (kind, values), colour in zip(counts.items(), COLOURS):
            label = "the whole circle" if kind == "circle" else f"{points} points of equal covariance"
            axes.plot(sizes, values, "-", color=colour, lw=0.7, alpha=0.6)
            axes.plot(sizes, values.mean(1), "o-", color=colour, ms=4, label=label)
        axes.plot(sizes, sizes, ":", color=FAINT, lw=1)
        axes.set(xscale="log", yscale="log", xlabel="latents in the dictionary", ylabel="latents that live")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.legend(frameon=False)
        svg = svg_of(canvas)
    caption = (
        "Distinct latents that are kept on at least one sample in a thousand; dotted: all of them. A thin line a seed."
    )
    return [Figure("live", svg, "live latents against dictionary size, for a circle and for points on it", caption)]


QUESTION = ProgramQuestion(
    program="bumps",
    problem="4.18",
    rule=toy_rule(
        "yes if the number of live latents grows as the dictionary's size to a power that lies at least .3 above that "
        "of the twin of 20 points, above 95 % of its replicas in every replica, with the whole interval there; no if "
        "it lies below .3",
        0.3,
    ),
    statistic="slope of log(live latents) against log(latents), from 20 to 160 latents",
    null="the same of data with as many angles as points, whose mean and covariance are equal",
    measure=measure,
    figures=figures,
    doubts=(
        "The network is the autoencoder itself, and its latents begin at samples of the data, so that few of them die.",
        "Latents within 3.6 degrees count as one: a finer dictionary than that would seem to settle.",
    ),
    sources=("2602.15029, on months as points of a circle",),
)
