"""4.17: does a small GRU hold the tokens of a sequence by scale, where no subspace is a place's own?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import COLOURS, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.toys.programs.base import ProgramQuestion, Replica, settled
from analyze.toys.programs.memory import (
    GruMemory,
    Memory,
    by_scale,
    by_subspace,
    fitted,
    initial_scale,
    initial_subspace,
    repeated,
    success,
)
from analyze.toys.verdicts.question import toy_rule
from train.toys.programs.base import Parameters, generator
from train.toys.programs.run import ProgramRun

SOLVED = 0.9
"""Share of sequences that a network must repeat without a fault."""
DRAWS = 20


@dataclass(frozen=True)
class Effort:
    """How long interventions are fitted."""

    steps: int = 600
    batch: int = 128
    rate: float = 0.02


@dataclass(frozen=True)
class Interventions:
    """Shares of sequences that come out as wanted, for every replica."""

    repeated: Float[ndarray, " rep"]
    """Without an intervention."""
    scale: Float[ndarray, " rep"]
    subspace: Float[ndarray, " rep"]
    random: Float[ndarray, "draw rep"]
    """Scale less subspace, both with random directions."""


def intervene(memory: Memory, effort: Effort = Effort(), seed: int = 0) -> Interventions:
    """Fit both interventions to every replica of a memory, and try random ones."""
    fit = {"steps": effort.steps, "batch": effort.batch, "rate": effort.rate, "seed": seed}
    scale = fitted(by_scale, initial_scale(memory, seed), memory, **fit)
    subspace = fitted(by_subspace, initial_subspace(memory, seed), memory, **fit)
    random = [
        success(by_scale, _random_directions(scale, seed, draw), memory, 256)
        - success(by_subspace, initial_subspace(memory, 1 + draw, 1.0), memory, 256)
        for draw in range(DRAWS)
    ]
    return Interventions(
        repeated(memory).numpy(),
        success(by_scale, scale, memory).numpy(),
        success(by_subspace, subspace, memory).numpy(),
        torch.stack(random).numpy(),
    )


def _random_directions(scale: Parameters, seed: int, draw: int) -> Parameters:
    """The same sizes, in directions drawn at random for each token."""
    E = scale["E"]
    drawn = torch.randn(E.shape, generator=generator(seed, "random directions", draw))
    return scale | {"E": drawn * (E.norm(dim=2, keepdim=True) / drawn.norm(dim=2, keepdim=True))}


def of_interventions(found: Interventions, details: Sequence[dict[str, float]] = ()) -> list[Measurement]:
    """One measurement a replica."""
    measurements = []
    for r, right in enumerate(found.repeated):
        told = {
            "repeated right": float(right),
            "changed by scale": float(found.scale[r]),
            "changed by subspace": float(found.subspace[r]),
        } | (details[r] if details else {})
        if right < SOLVED:
            measurements.append(Measurement.impossible(f"repeats {right:.0%} of sequences", **told))
        else:
            measurements.append(
                Measurement(float(found.scale[r] - found.subspace[r]), found.random[:, r], details=told)
            )
    return measurements


def measure(run: ProgramRun) -> dict[str, list[Replica]]:
    """The smallest network answers; larger ones stand in the figure."""
    smallest = min(run.variants.values(), key=lambda each: each.settings.hidden)
    details: list[dict[str, float]] = [{} for _ in range(smallest.replicas)]
    for each in run.variants.values():
        if each.name == smallest.name:
            continue
        larger = intervene(GruMemory(each.settings, each.parameters))
        for r, told in enumerate(details):
            told[f"{each.name}: repeated right"] = float(larger.repeated[r])
            told[f"{each.name}: by scale"] = float(larger.scale[r])
            told[f"{each.name}: by subspace"] = float(larger.subspace[r])
    rests = settled(smallest)
    found = of_interventions(intervene(GruMemory(smallest.settings, smallest.parameters)), details)
    return {smallest.name: [Replica(r, replace(each, settled=bool(rests[r]))) for r, each in enumerate(found)]}


def figures(run: ProgramRun, measured: Sequence[Measured]) -> list[Figure]:
    """Success of both interventions, a dot a replica, from what was measured."""
    from matplotlib.figure import Figure as Canvas

    smallest = min(run.variants.values(), key=lambda each: each.settings.hidden)
    columns = [(smallest.name, "changed by scale", "changed by subspace")]
    columns += [(name, f"{name}: by scale", f"{name}: by subspace") for name in run.variants if name != smallest.name]
    with look():
        canvas = Canvas(figsize=(4.6, 3), layout="constrained")
        axes = canvas.subplots()
        for place, (_, *kinds) in enumerate(columns):
            for shift, kind, colour in zip((-0.12, 0.12), kinds, COLOURS):
                values = [each.measurement.details.get(kind, np.nan) for each in measured]
                label = kind.split("by ")[-1] if place == 0 else None
                axes.plot([place + shift] * len(values), values, "o", ms=4, alpha=0.7, color=colour, label=label)
        axes.set(ylim=(-0.03, 1.03), ylabel="sequences that come out as wanted")
        axes.set_xticks(range(len(columns)), [name for name, *_ in columns])
        axes.legend(frameon=False)
        svg = svg_of(canvas)
    caption = (
        "A token at one place is changed in the state: by one direction a token, at a size of the place's own (scale), "
        "or by what a subspace of the place's own holds (subspace). A dot a network."
    )
    return [Figure("interventions", svg, "success of interventions by scale and by subspace", caption)]


QUESTION = ProgramQuestion(
    program="gru",
    problem="4.17",
    rule=toy_rule(
        "yes if changing a token by scale succeeds on at least .3 more of the sequences than changing it by a subspace "
        "of the place's own, beyond 95 % of random directions in every replica, with the whole interval there; no if "
        "it lies below .3",
        0.3,
    ),
    statistic="share of sequences changed as wanted by scale, less the share changed by subspaces",
    null="20 draws of random directions in both interventions, with the sizes that were fitted",
    measure=measure,
    figures=figures,
    doubts=(
        "Both interventions are fitted by gradient descent for equally many steps: one may only be fitted badly.",
        "By scale means one direction a token for all places; a state that adds up such directions is linear in a "
        "wider sense.",
    ),
    sources=("Csordas et al. 2024 (2408.10920)", "Geiger et al. 2024 (distributed alignment search)"),
)
