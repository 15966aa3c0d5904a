"""4.15: do attention heads share trigrams, so that no trigram is one head's and no head is one trigram's?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.figures import COLOURS, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.toys.programs.base import ProgramQuestion, Replica, settled
from analyze.toys.verdicts.question import toy_rule
from train.toys.programs.attention import AttentionSettings, excess, rows, written
from train.toys.programs.base import Parameters, generator
from train.toys.programs.run import ProgramRun, VariantRun

ROWS = 8_192
SOLVED = 0.1
"""Excess loss in nats from which a trigram counts as learned; knowing nothing costs about 1."""
HALF = 0.5
"""A head is needed by a trigram if taking it away costs at least this part of what taking all away costs."""


@dataclass(frozen=True)
class Ablations:
    """What taking heads away costs, in nats, for every replica and trigram."""

    excess: Float[ndarray, "rep trigram"]
    """Of the whole network: 0 where a trigram is done right."""
    each: Float[ndarray, "rep head trigram"]
    all: Float[ndarray, "rep trigram"]

    @property
    def learned(self) -> Bool[ndarray, "rep trigram"]:
        """Trigrams that the network does; only they can be shared."""
        return self.excess <= SOLVED

    @property
    def needed(self) -> Int[ndarray, "rep trigram"]:
        """How many heads each trigram needs."""
        return (self.each >= HALF * np.maximum(self.all[:, None], 1e-9)).sum(1)

    @property
    def shared(self) -> Float[ndarray, " rep"]:
        """Share of the learned trigrams that need at least two heads; NaN where none is."""
        with np.errstate(invalid="ignore"):
            return ((self.needed >= 2) & self.learned).sum(1) / self.learned.sum(1)

    @property
    def interaction(self) -> Float[ndarray, " rep"]:
        """D12 - D1 - D2 over D12, of all learned trigrams together: below 0 where heads need each other, above 0 where
        each can stand in for the other."""
        alone, together = (np.where(self.learned, each, 0).sum(1) for each in (self.each.sum(1), self.all))
        return (together - alone) / np.maximum(together, 1e-9)


def ablate(settings: AttentionSettings, parameters: Parameters, seed: int = 0) -> Ablations:
    """Replace what heads write by its mean over rows, one head at a time and all at once."""
    tokens, trigram, there = rows(settings, ROWS, generator(seed, "ablation"))
    with torch.no_grad():
        heads = written(parameters, tokens)
        mean = heads.mean(1, keepdim=True)
        whole = heads.sum(2)

        def by_trigram(logits: torch.Tensor) -> Float[ndarray, "rep trigram"]:
            of_rows = excess(settings, logits, trigram, there).double()
            return torch.stack([of_rows[:, trigram == t].mean(1) for t in range(settings.trigrams)], 1).numpy()

        base = by_trigram(whole)
        each = [by_trigram(whole - heads[:, :, h] + mean[:, :, h]) - base for h in range(settings.heads)]
        return Ablations(base, np.stack(each, 1), by_trigram(mean.sum(2).expand_as(whole)) - base)


def of_ablations(shared: Ablations, own: Ablations, details: Sequence[dict[str, float]] = ()) -> list[Measurement]:
    """One measurement a replica, against the replicas whose trigrams have a source each."""
    null = own.shared[np.isfinite(own.shared)]
    found = []
    for r, learned in enumerate(shared.learned):
        told = {
            "trigrams learned": float(learned.sum()),
            "interaction (D12 - D1 - D2) / D12": float(shared.interaction[r]),
        } | (details[r] if details else {})
        if 2 * learned.sum() < len(learned) or not len(null):
            found.append(Measurement.impossible(f"learned {learned.sum()} of {len(learned)} trigrams", **told))
        else:
            found.append(Measurement(float(shared.shared[r]), null, details=told))
    return found


def measure(run: ProgramRun) -> dict[str, list[Replica]]:
    """Two heads on trigrams that share their source, against two heads on trigrams with one each."""
    answering, null = run.variants["shared-2"], run.variants["own-2"]
    one = run.variants["shared-1"].losses if "shared-1" in run.variants else np.full(answering.replicas, np.nan)
    details = [{"loss": float(answering.losses[r]), "loss with one head": float(one[r])} for r in range(len(one))]
    found = of_ablations(_of(answering), _of(null), details)
    rests = settled(answering)
    return {"shared source": [Replica(r, replace(each, settled=bool(rests[r]))) for r, each in enumerate(found)]}


def _of(run: VariantRun) -> Ablations:
    return ablate(run.settings, run.parameters)


def figures(run: ProgramRun, measured: Sequence[Measured]) -> list[Figure]:
    """What each trigram loses without one head and without both, in the best replica of either task."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(7.5, 2.8), layout="constrained")
        panels = canvas.subplots(1, 2, sharey=True)
        for axes, name, title in zip(panels, ("shared-2", "own-2"), ("one source for all", "a source each")):
            each = run.variants[name]
            costs = ablate(each.settings, each.replica(int(each.losses.argmin())))
            places = np.arange(each.settings.trigrams)
            for h in range(each.settings.heads):
                axes.bar(places + 0.27 * h, costs.each[0, h], 0.25, color=COLOURS[h], label=f"without head {h}")
            axes.bar(places + 0.27 * each.settings.heads, costs.all[0], 0.25, color=COLOURS[2], label="without both")
            axes.set(title=title, xlabel="trigram", xticks=[])
        panels[0].set_ylabel("loss that is added, nats")
        panels[1].legend(frameon=False)
        svg = svg_of(canvas)
    caption = (
        "The replica of lowest loss of each task: what every trigram loses when what a head writes is set to its mean."
    )
    return [Figure("ablations", svg, "cost of taking away either head or both, by trigram", caption)]


QUESTION = ProgramQuestion(
    program="attention",
    problem="4.15",
    rule=toy_rule(
        "yes if the share of learned trigrams that need both heads lies at least .5 above that of trigrams with a "
        "source each, above 95 % of these networks in every replica, with the whole interval there; no if it lies "
        "below .5",
        0.5,
    ),
    statistic="share of learned trigrams for which taking away either head costs at least half of what both cost",
    null="the same of networks of two heads whose trigrams have a source each",
    measure=measure,
    figures=figures,
    doubts=(
        "Needing both heads is not yet superposition in the sense of directions: one head may write an answer and the "
        "other take it back where the source is missing, a conditional made of two parts.",
        "Two heads can do all trigrams, but training leaves some of them undone; a replica that learned fewer than "
        "half does not answer. (The rule first asked for a network that had learned all; none had, and it was changed "
        "before any statistic was computed.)",
        "Embeddings are one-hot and nothing bypasses the heads; a direct path would do one head's work.",
    ),
    sources=("Jermyn, Olah and Henighan 2023", "Conerly, Jermyn and Olah 2023 (July update)"),
)
