"""One run's scores in figures: shares, numbers, medians, and the same of its nulls."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.store import DEAD, RARE, SCORED
from analyze.comparison.results import Cell
from analyze.nulls import shown_nulls
from analyze.scores import SCORES
from analyze.scores.store import read_scores


@dataclass(frozen=True)
class Judge:
    """A score that gives a verdict: its columns in scores.parquet."""

    name: str
    title: str
    value: str
    """What the table's median is of."""
    rank: str
    """The protocol's score: higher is more monosemantic."""
    verdict: str
    """True, false, or null where the score does not judge the neuron."""


NULLS_SHOWN = {null.name: null for null in shown_nulls()}
"""What a comparison holds every layer against: rows of scores.parquet by that name, or the run's step 0."""

JUDGES = tuple(
    Judge(score.name, score.title, score.verdict.value, score.rank, score.verdict.column)
    for score in SCORES.values()
    if score.verdict is not None and score.verdict.shown
)


@dataclass(frozen=True)
class Measured:
    """One cell in figures, and per score what paired and pooled comparisons need."""

    cell: Cell
    figures: dict[str, float]
    verdicts: dict[str, Float[ndarray, "n"]]
    ranks: dict[str, Float[ndarray, "n"]]
    clusters: dict[str, Int[ndarray, "n"]]
    chance: dict[tuple[str, str], tuple[float, float]]
    """(score, one of NULLS_SHOWN) -> monosemantic and judged rows, each cluster counted once."""


def measure(
    cell: Cell,
    judges: Sequence[Judge],
    untrained: Cell | None,
    memory: dict[Path, dict[str, tuple[float, float]]],
) -> Measured:
    """The figures of one cell and of its nulls; `memory` keeps those of untrained networks read before."""
    everything, _ = read_scores(cell.directory)
    own = everything.filter(pl.col("null") == "none")
    nulls = {name: everything.filter(pl.col("null") == name) for name in NULLS_SHOWN}
    status = own["status"].to_numpy()
    figures = {
        "n_neurons": float(own.height),
        "dead_share": float(np.mean(status == DEAD)),
        "rare_share": float(np.mean(status == RARE)),
        "dense_share": float(own["dense"].mean()),  # pyright: ignore[reportArgumentType]
        "always_on_share": float(own["always_on"].mean()),  # pyright: ignore[reportArgumentType]
    }
    verdicts, ranks, clusters = {}, {}, {}
    chance: dict[tuple[str, str], tuple[float, float]] = {}
    if untrained is not None and untrained.directory not in memory:
        birth = untrained.neurons()
        memory[untrained.directory] = {judge.name: _counts(birth, judge) for judge in judges}
    for judge in judges:
        judged = own.filter(pl.col(judge.verdict).is_not_null())
        verdict = judged[judge.verdict].cast(pl.Float64).to_numpy()
        # Cast, because a column without a single verdict is of no type.
        mono = judged.filter(pl.col(judge.verdict).cast(pl.Boolean))
        n_mono, n_judged = _counts(own, judge)
        figures |= {
            f"{judge.name}_median": _median(over_clusters(judged, judge.value)),
            f"{judge.name}_na_share": 1 - judged.height / max(int(np.sum(status == SCORED)), 1),
            f"{judge.name}_n_judged": float(judged.height),
            f"{judge.name}_mono_share": float(verdict.mean()) if judged.height else nan,
            f"{judge.name}_mono_share_all": mono.height / max(own.height, 1),
            f"{judge.name}_mono_number": float(mono.height),
            f"{judge.name}_mono_once": n_mono,
            f"{judge.name}_mono_once_share": n_mono / n_judged if n_judged else nan,
            f"{judge.name}_single_token_share": _mean(mono["single_token"]),
        }
        if judge.name == "k_eff":
            figures["k_eff_reach"] = _median(own.filter(pl.col("status") == SCORED)["reach"])
        verdicts[judge.name] = verdict
        ranks[judge.name] = judged[judge.rank].cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
        clusters[judge.name] = cluster_ids(judged)
        if untrained is not None:
            chance[judge.name, "untrained"] = memory[untrained.directory][judge.name]
        chance |= {(judge.name, null): _counts(rows, judge) for null, rows in nulls.items() if rows.height}
        for null in NULLS_SHOWN:
            n_mono, n_judged = chance.get((judge.name, null), (nan, 0.0))
            figures[f"{judge.name}_{null}_share"] = n_mono / n_judged if n_judged else nan
    return Measured(cell, figures, verdicts, ranks, clusters, chance)


def cluster_ids(neurons: pl.DataFrame) -> Int[ndarray, "n"]:
    """Cluster of duplicates of each neuron; one that is in none gets a negative number of its own."""
    ids = neurons["duplicate_cluster"].cast(pl.Int64).fill_null(-1).to_numpy()
    return np.where(ids < 0, -1 - neurons["neuron"].cast(pl.Int64).to_numpy(), ids)


def over_clusters(neurons: pl.DataFrame, column: str) -> pl.Series:
    """A figure of every neuron, each cluster of duplicates once, at the mean of its members that have one."""
    known = neurons.select(pl.Series("cluster", cluster_ids(neurons)), pl.col(column).cast(pl.Float64).fill_nan(None))
    return known.drop_nulls().group_by("cluster", maintain_order=True).mean()[column]


def _counts(neurons: pl.DataFrame, judge: Judge) -> tuple[float, float]:
    """Monosemantic and judged neurons, a cluster of duplicates counting as one shared by its members."""
    judged = neurons.filter(pl.col(judge.verdict).is_not_null())
    if not judged.height:
        return 0.0, 0.0
    _, index, sizes = np.unique(cluster_ids(judged), return_inverse=True, return_counts=True)
    verdict = judged[judge.verdict].cast(pl.Float64).to_numpy()
    return float(np.sum(verdict / sizes[index])), float(sizes.size)


def _median(values: pl.Series) -> float:
    found = values.cast(pl.Float64).drop_nulls().drop_nans().median()
    return nan if found is None else float(found)  # pyright: ignore[reportArgumentType]


def _mean(values: pl.Series) -> float:
    found = values.cast(pl.Float64).drop_nulls().mean()
    return nan if found is None else float(found)  # pyright: ignore[reportArgumentType]
