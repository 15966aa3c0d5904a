"""The scores of one run, layer and hook in figures: shares, numbers and medians, and the same of its nulls."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.store import DEAD, RARE, SCORED, sample_of
from analyze.comparison.results import Cell
from analyze.nulls import shown_nulls
from analyze.scores import SCORES
from analyze.scores.base import Verdict
from train.errors import BadInput

_SINGLE_TOKEN = "single_token"
"""Column of scores.parquet: whether a neuron answers to one token only."""


@dataclass(frozen=True)
class ComparedScore:
    """A score whose verdict comparisons show."""

    name: str
    title: str
    rank: str
    """Column of scores.parquet, higher = more monosemantic."""
    verdict: Verdict


def compared_scores(columns: Iterable[str]) -> tuple[ComparedScore, ...]:
    """The scores with a verdict to show whose columns are there, in the order of SCORES."""
    columns = set(columns)
    return tuple(
        ComparedScore(score.name, score.title, score.rank, score.verdict)
        for score in SCORES.values()
        if score.verdict is not None and score.verdict.shown and score.verdict.column in columns
    )


@dataclass(frozen=True)
class Called:
    """What a score says yes of among the neurons of a layer or of a null, each cluster of duplicates once."""

    mono: float
    judged: float
    values: Float[ndarray, "n"]
    """The figure that the verdict goes by, of each judged cluster."""
    of_layer: float = 1.0
    """Neurons of the layer for each that the score reads: above 1 where it reads a sample of a wide layer."""

    @property
    def number(self) -> float:
        """So many in the whole layer."""
        return self.mono * self.of_layer

    @property
    def share(self) -> float:
        """Of the judged; NaN where none is."""
        return self.mono / self.judged if self.judged else nan


@dataclass(frozen=True)
class Rows:
    """The neurons of a cell, or the rows of one null, under every score."""

    called: dict[str, Called]
    """By the name of a score with a verdict."""
    ranks: dict[str, Float[ndarray, "n"]]
    """By the name of a score: the number that is higher for the more monosemantic, each cluster once."""


@dataclass(frozen=True)
class ScoreInCell:
    """One score over the neurons of one cell; shares are of judged neurons unless they say otherwise."""

    median: float
    """Of the figure that the verdict goes by, each cluster once."""
    n_judged: int
    na_share: float
    """Of the scored neurons, those that the score does not judge."""
    share: float
    share_all: float
    """Of all neurons."""
    number: float
    """In the whole layer."""
    single_token_share: float
    """Of the monosemantic neurons."""
    judged_by: float
    """Median over scored neurons of the figure that decides whether they are judged; NaN: no such figure."""
    sampling_error: float
    """Standard error of `share` that comes from reading a sample of a wide layer; 0 where all neurons are read."""
    seen: float
    """Share of the neurons with a figure that are like those the score was fitted on; NaN: it was not fitted."""
    verdicts: Float[ndarray, "n"]
    """1 or 0 of every judged neuron, in the order of `ranks` and `clusters`."""
    ranks: Float[ndarray, "m"]
    """Of every judged neuron that has a rank."""
    clusters: Int[ndarray, "n"]


@dataclass(frozen=True)
class CellSummary:
    """One cell in figures, with the untrained network's and its nulls'."""

    cell: Cell
    dead_share: float
    rare_share: float
    dense_share: float
    always_on_share: float
    firing_rate: float
    """Median over scored neurons of the share of tokens on which a neuron fires."""
    scores: dict[str, ScoreInCell]
    own: Rows
    nulls: dict[str, Rows]
    """By the name of a null; those that have rows."""

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.cell.meta.seed

    @property
    def twin(self) -> tuple[int, str]:
        """Seed and training data: runs of two variants that share both saw the same rows in the same order."""
        return self.cell.meta.seed, self.cell.meta.train_data_hash


def summarize(cell: Cell, scores: Sequence[ComparedScore], untrained: Rows | None) -> CellSummary:
    """The figures of one cell and of its nulls.

    Args:
        untrained: the neurons of the network that the cell's weights descend from.

    Raises:
        BadInput: damaged scores, or ones that lack a score.
    """
    everything = cell.scores()
    for score in scores:
        if score.verdict.column not in everything.columns:
            raise BadInput(f"{cell.path}: without {score.name}, which the reference has; score it as well")
    own = everything.filter(pl.col("null") == "none")
    nulls = {} if untrained is None else {"untrained": untrained}
    for null in shown_nulls():
        rows = everything.filter(pl.col("null") == null.name)
        if rows.height:
            nulls[null.name] = rows_of(rows, scores)
    status = own["status"].to_numpy()
    return CellSummary(
        cell,
        dead_share=float(np.mean(status == DEAD)),
        rare_share=float(np.mean(status == RARE)),
        dense_share=_mean(own["dense"]),
        always_on_share=_mean(own["always_on"]),
        firing_rate=_median(own.filter(pl.col("status") == SCORED)["firing_rate"]),
        scores={score.name: _score_in_cell(own, score) for score in scores},
        own=_of_layer(rows_of(own, scores), own.height, scores),
        nulls=nulls,
    )


def rows_of(neurons: pl.DataFrame, scores: Sequence[ComparedScore]) -> Rows:
    """Some rows of scores.parquet under every score that they have."""
    columns = {name: score.rank for name, score in SCORES.items()}
    ranks = {name: over_clusters(neurons, rank) for name, rank in columns.items() if rank in neurons.columns}
    called = {score.name: _called(neurons, score) for score in scores if score.verdict.column in neurons.columns}
    return Rows(called, {name: values.to_numpy() for name, values in ranks.items()})


def _of_layer(rows: Rows, n_neurons: int, scores: Sequence[ComparedScore]) -> Rows:
    """The rows of a layer, numbers of sampled scores those of the whole layer."""
    of_layer = n_neurons / max(int(sample_of(n_neurons).sum()), 1)
    sampled = {score.name for score in scores if score.verdict.sampled}
    called = {name: replace(each, of_layer=of_layer) if name in sampled else each for name, each in rows.called.items()}
    return replace(rows, called=called)


def _score_in_cell(own: pl.DataFrame, score: ComparedScore) -> ScoreInCell:
    verdict, n_neurons = score.verdict, own.height
    if verdict.sampled:
        own = own.filter(pl.Series(sample_of(n_neurons)))
    of_layer = n_neurons / max(own.height, 1)
    scored = own.filter(pl.col("status") == SCORED)
    judged = own.filter(pl.col(verdict.column).is_not_null())
    verdicts = judged[verdict.column].cast(pl.Float64).to_numpy()
    # Cast, because a column without a single verdict is of no type.
    mono = judged.filter(pl.col(verdict.column).cast(pl.Boolean))
    share = float(verdicts.mean()) if judged.height else nan
    return ScoreInCell(
        median=_median(over_clusters(judged, verdict.value)),
        n_judged=judged.height,
        na_share=1 - judged.height / max(scored.height, 1),
        share=share,
        share_all=mono.height / max(own.height, 1),
        number=mono.height * of_layer,
        single_token_share=_mean(mono[_SINGLE_TOKEN]) if _SINGLE_TOKEN in own.columns else nan,
        judged_by=nan if verdict.judged_by is None else _median(scored[verdict.judged_by.column]),
        sampling_error=sqrt(share * (1 - share) / judged.height * (1 - 1 / of_layer)) if judged.height else nan,
        seen=_mean(own[verdict.seen]) if verdict.seen in own.columns else nan,
        verdicts=verdicts,
        ranks=judged[score.rank].cast(pl.Float64).drop_nulls().drop_nans().to_numpy(),
        clusters=cluster_ids(judged),
    )


def _called(neurons: pl.DataFrame, score: ComparedScore) -> Called:
    judged = neurons.filter(pl.col(score.verdict.column).is_not_null())
    values = over_clusters(judged, score.verdict.value).to_numpy()
    _, index, sizes = np.unique(cluster_ids(judged), return_inverse=True, return_counts=True)
    verdicts = judged[score.verdict.column].cast(pl.Float64).to_numpy()
    # A cluster counts as one neuron, which its members share.
    return Called(float(np.sum(verdicts / sizes[index])), float(sizes.size), values)


def cluster_ids(neurons: pl.DataFrame) -> Int[ndarray, "n"]:
    """Cluster of duplicates of each neuron; a neuron in none gets a negative number of its own."""
    ids = neurons["duplicate_cluster"].cast(pl.Int64).fill_null(-1).to_numpy()
    return np.where(ids < 0, -1 - neurons["neuron"].cast(pl.Int64).to_numpy(), ids)


def over_clusters(neurons: pl.DataFrame, column: str) -> pl.Series:
    """A figure of every neuron, each cluster of duplicates once, at the mean of its members that have one."""
    known = neurons.select(pl.Series("cluster", cluster_ids(neurons)), pl.col(column).cast(pl.Float64).fill_nan(None))
    return known.drop_nulls().group_by("cluster", maintain_order=True).mean()[column]


def _median(values: pl.Series) -> float:
    median = values.cast(pl.Float64).drop_nulls().drop_nans().median()
    return nan if median is None else float(median)  # pyright: ignore[reportArgumentType]


def _mean(values: pl.Series) -> float:
    mean = values.cast(pl.Float64).drop_nulls().mean()
    return nan if mean is None else float(mean)  # pyright: ignore[reportArgumentType]
