"""A variant's layer and hook over its seeds: means with intervals, excess over chance, differences to the reference."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import TypeVar

import numpy as np

from analyze.activations.store import ActivationsMeta
from analyze.comparison.results import Place
from analyze.comparison.summary import CellSummary, ComparedScore, ScoreInCell
from analyze.nulls import shown_nulls
from analyze.statistics import (
    Estimate,
    benjamini_hochberg,
    cliffs_delta,
    cluster_bootstrap,
    holm,
    mean_interval,
    paired_interval,
    sign_flip_if_enough,
    two_share_z,
    wilson,
)

T = TypeVar("T")


@dataclass(frozen=True)
class NullSummary:
    """What a score calls monosemantic in one null, over seeds; each cluster of duplicates counts once."""

    share: float
    low: float
    high: float
    """Wilson's interval over the judged rows of all seeds."""
    excess: Estimate
    """Of the trained share over this one, paired by seed."""
    z: float
    """(share - null share) / sqrt(p (1 - p) (1 / n + 1 / n_null)), p the pooled share, over the neurons of all seeds.
    It takes neurons for independent and seeds for fixed."""
    n: float
    """Judged rows of all seeds; 0 where the null is not there."""


@dataclass(frozen=True)
class ScoreSummary:
    """One score over seeds; of shares and numbers, "once" counts each cluster of duplicates once."""

    median: float
    n_judged: float
    na_share: float
    share_all: float
    single_token_share: float
    judged_by: float
    """Median of the figure that decides whether a neuron is judged; NaN where the score has no such figure."""
    sampling_error: float
    """Of the share at one seed, in a wide layer that the score reads a sample of; else 0."""
    seen: float
    """Of neurons with a figure, those like the ones that the score was fitted on; NaN where it was not fitted."""
    share: Estimate
    share_by_seed: tuple[float, ...]
    number: Estimate
    once: Estimate
    once_share: Estimate
    within: Estimate
    """Spread of neurons at these seeds: bootstrap over clusters of duplicates, each within one seed."""
    nulls: dict[str, NullSummary]
    difference: Estimate
    """Of `once_share` to the reference's, paired by seed."""
    cliffs_delta: float
    p: float
    """Of the sign-flip test of the difference; NaN where no test was made."""
    p_adjusted: float = nan


@dataclass(frozen=True)
class VariantResult:
    """A variant's neurons at one place, over the last step of its seeds."""

    variant: str
    place: Place
    cells: tuple[CellSummary, ...]
    """By seed, in their order."""
    eval_loss: Estimate
    """Losses are nats a token, those of a unigram and a bigram model on the same rows; NaN where one is not known."""
    unigram_loss: float
    bigram_loss: float
    dead_share: float
    """Shares of all neurons, means over seeds."""
    rare_share: float
    dense_share: float
    always_on_share: float
    firing_rate: float
    """Median over scored neurons of the share of tokens on which a neuron fires, mean over seeds."""
    scores: dict[str, ScoreSummary]
    """By the name of the score."""

    def __str__(self) -> str:
        return f"{self.variant} {self.place}"

    @property
    def meta(self) -> ActivationsMeta:
        """Of the first seed."""
        return self.cells[0].cell.meta

    @property
    def metas(self) -> list[ActivationsMeta]:
        """Of every seed."""
        return [each.cell.meta for each in self.cells]

    @property
    def n_seeds(self) -> int:
        """Runs of this variant."""
        return len(self.cells)

    @property
    def is_arm(self) -> bool:
        """Whether it starts from a checkpoint."""
        return any(self.starts)

    @property
    def starts(self) -> tuple[str | None, ...]:
        """Hash of the checkpoint that each of its runs starts from."""
        return tuple(meta.start_hash for meta in self.metas)

    @property
    def start_runs(self) -> tuple[str, ...]:
        """Names of the runs that its runs start from."""
        return tuple(Path(meta.start_run).name for meta in self.metas if meta.start_run)

    @property
    def peak_rates(self) -> tuple[float, ...]:
        """Peak learning rates of its runs, sorted, each once; empty where their configs are not known (or imported)."""
        recipes = [json.loads(meta.recipe) for meta in self.metas if meta.recipe is not None]
        return tuple(
            sorted({recipe["optim"]["lr"] for recipe in recipes if "optim" in recipe})
        )  # none of imported models

    @property
    def tokens_seen(self) -> int:
        """By the run that saw most."""
        return max(meta.tokens_seen for meta in self.metas)


Results = dict[str, dict[Place, VariantResult]]
"""By variant and place, in the order of tables."""


def reference_at(cells: Mapping[str, Mapping[Place, T]], reference: str, place: Place) -> T | None:
    """The reference's same layer and hook, or its `mid`, which stands for both where it has no mid LayerNorm."""
    places = cells.get(reference, {})
    return places.get(place) or places.get(Place(place.layer, "mid"))


def over_seeds(
    cells: Mapping[str, Mapping[Place, tuple[CellSummary, ...]]],
    reference: str,
    scores: Sequence[ComparedScore],
    primaries: Sequence[str],
) -> Results:
    """Every variant and place over its seeds, with its differences to the reference.

    Args:
        cells: variant -> place -> seeds in their order.
        primaries: scores whose differences are the planned tests (Holm); Benjamini and Hochberg correct the others'.
    """
    results: Results = {}
    for variant, places in cells.items():
        for place, own in places.items():
            partners = None if variant == reference else reference_at(cells, reference, place)
            metas = [each.cell.meta for each in own]
            results.setdefault(variant, {})[place] = VariantResult(
                variant,
                place,
                own,
                eval_loss=_mean(meta.eval_loss for meta in metas),
                unigram_loss=_mean(meta.unigram_loss for meta in metas).mean,
                bigram_loss=_mean(meta.bigram_loss for meta in metas).mean,
                dead_share=_mean(each.dead_share for each in own).mean,
                rare_share=_mean(each.rare_share for each in own).mean,
                dense_share=_mean(each.dense_share for each in own).mean,
                always_on_share=_mean(each.always_on_share for each in own).mean,
                firing_rate=_mean(each.firing_rate for each in own).mean,
                scores={score.name: _summary(own, partners or (), score.name) for score in scores},
            )
    planned = [score.name for score in scores if score.name in primaries]
    others = [score.name for score in scores if score.name not in primaries]
    for names, correct in ((planned, holm), (others, benjamini_hochberg)):
        contrasts = [(row, name) for name in names for places in results.values() for row in places.values()]
        p = np.array([row.scores[name].p for row, name in contrasts], dtype=np.float64)
        for (row, name), p_adjusted in zip(contrasts, correct(p).tolist()):
            row.scores[name] = replace(row.scores[name], p_adjusted=p_adjusted)
    return results


def _mean(values: Iterable[float | None]) -> Estimate:
    return mean_interval([float(value) for value in values if value is not None])


def _summary(cells: Sequence[CellSummary], partners: Sequence[CellSummary], name: str) -> ScoreSummary:
    """One score over seeds; `partners` are the reference's cells, paired with their twins."""

    def estimate(figure: Callable[[ScoreInCell], float]) -> Estimate:
        return mean_interval([float(figure(each.scores[name])) for each in cells])

    called = [each.own.called[name] for each in cells]
    twins = {each.twin: each for each in partners}
    pairs = [(each, twins[each.twin]) for each in cells if each.twin in twins]
    # Each cluster of duplicates counts once, so that copies do not move a difference.
    shares = [(own.own.called[name].share, other.own.called[name].share) for own, other in pairs]
    p = sign_flip_if_enough([own - other for own, other in shares])
    deltas = [cliffs_delta(own.scores[name].ranks, other.scores[name].ranks) for own, other in pairs]
    return ScoreSummary(
        median=estimate(lambda score: score.median).mean,
        n_judged=estimate(lambda score: score.n_judged).mean,
        na_share=estimate(lambda score: score.na_share).mean,
        share_all=estimate(lambda score: score.share_all).mean,
        single_token_share=estimate(lambda score: score.single_token_share).mean,
        judged_by=estimate(lambda score: score.judged_by).mean,
        sampling_error=estimate(lambda score: score.sampling_error).mean,
        seen=estimate(lambda score: score.seen).mean,
        share=estimate(lambda score: score.share).clipped(0.0, 1.0),
        share_by_seed=tuple(each.scores[name].share for each in cells),
        number=estimate(lambda score: score.number).clipped(0.0),
        once=mean_interval([each.number for each in called]).clipped(0.0),
        once_share=mean_interval([each.share for each in called]).clipped(0.0, 1.0),
        within=_within(cells, name).clipped(0.0, 1.0),
        nulls={null.name: _against(cells, name, null.name) for null in shown_nulls()},
        difference=paired_interval([own for own, _ in shares], [other for _, other in shares]).clipped(-1.0, 1.0),
        cliffs_delta=mean_interval(deltas).mean,
        p=nan if p is None else p,
    )


def _within(cells: Sequence[CellSummary], name: str) -> Estimate:
    scores = [each.scores[name] for each in cells]
    pairs = [np.stack([np.full(score.clusters.size, seed), score.clusters]) for seed, score in enumerate(scores)]
    _, clusters = np.unique(np.concatenate(pairs, axis=1), axis=1, return_inverse=True)
    return cluster_bootstrap(np.concatenate([score.verdicts for score in scores]), clusters.reshape(-1), draws=400)


def _against(cells: Sequence[CellSummary], name: str, null: str) -> NullSummary:
    # An untrained network that fewer scores have read has no rows under the others.
    called = [each.nulls[null].called.get(name) if null in each.nulls else None for each in cells]
    by_chance = [each for each in called if each is not None]
    mono, judged = float(sum(each.mono for each in by_chance)), float(sum(each.judged for each in by_chance))
    shares = [nan if each is None else each.share for each in called]
    own = [each.own.called[name] for each, by_null in zip(cells, called) if by_null is not None]
    low, high = wilson(mono, judged)
    return NullSummary(
        share=mean_interval(shares).mean,
        low=low,
        high=high,
        excess=paired_interval([each.own.called[name].share for each in cells], shares),
        z=two_share_z((sum(each.mono for each in own), mono), (sum(each.judged for each in own), judged)),
        n=judged,
    )
