"""Scores of neurons: one file a score, SCORES their registry, `score` the table."""

import pkgutil
from collections.abc import Iterable
from importlib import import_module

import numpy as np
import polars as pl

from analyze.duplicates import duplicate_clusters
from analyze.nulls import can_rotate, rotated
from analyze.scores.base import NeuronScore
from analyze.store import Activations
from train.errors import BadInput, did_you_mean


def _found() -> dict[str, NeuronScore]:
    """The SCORE of every module in this package, so that adding a score is adding a file."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    scores: list[NeuronScore] = [module.SCORE for module in modules if hasattr(module, "SCORE")]
    return {one.name: one for one in sorted(scores, key=lambda one: (one.number, one.name))}


SCORES: dict[str, NeuronScore] = _found()

__all__ = ["SCORES", "score", "score_with_null"]


def score(acts: Activations, names: Iterable[str] | None = None, null: str = "none") -> pl.DataFrame:
    """One row a neuron: status, flags, firing rate, cluster of duplicates, and the columns of each score.

    What cannot be scored is null.

    Args:
        names: which of SCORES; all by default.
        null: what the rows are: "none" for the neurons themselves, or the name of a null.

    Raises:
        BadInput: no such score, or a data directory that does not belong to the activations.
    """
    names = list(SCORES) if names is None else list(names)
    for name in names:
        if name not in SCORES:
            raise BadInput(f"score {name!r} is not known{did_you_mean(name, list(SCORES))}")
    moments = acts.moments
    table = pl.DataFrame(
        {
            "neuron": pl.Series(np.arange(acts.n_neurons), dtype=pl.Int32),
            "status": pl.Series(moments.status, dtype=pl.Int8),
            "dense": pl.Series(moments.dense, dtype=pl.Boolean),
            "always_on": pl.Series(moments.always_on, dtype=pl.Boolean),
            "firing_rate": pl.Series(moments.firing_rate, dtype=pl.Float64),
            "duplicate_cluster": pl.Series(duplicate_clusters(acts), dtype=pl.Int32),
        }
    )
    added = [SCORES[name].table(acts) for name in names]
    # A table's missing number is null: polars counts NaN as a value, the largest there is.
    return pl.concat([table, *added], how="horizontal").fill_nan(None).with_columns(null=pl.lit(null))


def score_with_null(acts: Activations, names: Iterable[str] | None = None, seed: int = 0) -> pl.DataFrame:
    """`score` of the neurons, and below it of a Haar rotation of them (null = "rotated")."""
    names = None if names is None else list(names)
    own = score(acts, names)
    if not can_rotate(acts):
        return own
    return pl.concat([own, score(rotated(acts, seed), names, null="rotated")])
