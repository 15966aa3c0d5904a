"""The table of scores of one layer: a row a neuron, and below them the rows of its nulls."""

from collections.abc import Iterable, Sequence
from math import nan

import numpy as np
import polars as pl

from analyze.activations.duplicates import duplicate_clusters
from analyze.activations.store import Activations
from analyze.nulls import DEFAULT_NULLS, NULLS, checked_nulls
from analyze.nulls.matching import match
from analyze.scores import SCORES, checked_names
from analyze.scores.made import first_hand, table_of, with_second_hand


def score_table(acts: Activations, names: Iterable[str] | None = None, null: str = "none") -> pl.DataFrame:
    """One row a neuron: status, flags, firing rate, cluster of duplicates, and the columns of each score.

    What cannot be scored is null.

    Args:
        names: which of SCORES; by default `default_names`.
        null: what the rows are: "none" for the neurons themselves, or the name of a null.

    Raises:
        BadInput: no such score, or a data directory that does not belong to the activations.
    """
    names = checked_names(names)
    made = {name: table_of(acts, SCORES[name]) for name in first_hand(names)}
    return with_scores(neuron_table(acts), with_second_hand(names, made), null)


def neuron_table(acts: Activations) -> pl.DataFrame:
    """One row a neuron: its number, status, flags, firing rate and cluster of duplicates."""
    moments = acts.moments
    return pl.DataFrame(
        {
            "neuron": pl.Series(np.arange(acts.n_neurons), dtype=pl.Int32),
            "status": pl.Series(moments.status, dtype=pl.Int8),
            "dense": pl.Series(moments.dense, dtype=pl.Boolean),
            "always_on": pl.Series(moments.always_on, dtype=pl.Boolean),
            "firing_rate": pl.Series(moments.firing_rate, dtype=pl.Float64),
            "duplicate_cluster": pl.Series(duplicate_clusters(acts), dtype=pl.Int32),
        }
    )


def with_scores(table: pl.DataFrame, added: Sequence[pl.DataFrame], null: str) -> pl.DataFrame:
    """`table` with the columns of scores beside it, and `null` for what the rows are."""
    # A table's missing number is null: polars counts NaN as a value, the largest there is.
    return pl.concat([table, *added], how="horizontal").fill_nan(None).with_columns(null=pl.lit(null))


def score_with_null(
    acts: Activations, names: Iterable[str] | None = None, seed: int = 0, nulls: Iterable[str] = DEFAULT_NULLS
) -> pl.DataFrame:
    """`score_table` of the neurons, below it of each null (column null = its name), and how far the two are apart.

    Two columns a score, for the neurons: `<score>_null_mean`, the mean score of null rows that fire about as often, and
    `<score>_null_z`, (score - mean) / sd over them, both against the first of `nulls` that has rows (see
    analyze.nulls.matching). The score is the column of its `rank`: for k_eff k_eff_score, 1 / K_eff.

    A null that the activations do not allow has no rows (see analyze.nulls).

    Args:
        seed: of the nulls.
        nulls: which of NULLS.

    Raises:
        BadInput: no such score or null, or data that do not belong to the activations.
    """
    names, nulls = checked_names(names), checked_nulls(nulls)
    tables = {"none": score_table(acts, names)}
    for null in nulls:
        make = NULLS[null].make
        made = make(acts, seed) if make else None
        if made is not None:
            tables[null] = score_table(made, names, null)
        del made  # before the next is made: each holds its activations in memory
    first = next((null for null in tables if null != "none"), None)
    return with_matched(pl.concat(tables.values(), how="vertical_relaxed"), names, first)


def with_matched(table: pl.DataFrame, names: Iterable[str], null: str | None) -> pl.DataFrame:
    """`table` with `<score>_null_mean` and `<score>_null_z` of the rows that are no null's, against those of `null`."""
    kind, rate = table["null"].to_numpy(), table["firing_rate"].to_numpy()
    own, of_null = kind == "none", kind == null
    added: dict[str, np.ndarray] = {}
    for name in names:
        values = table[SCORES[name].rank].cast(pl.Float64).fill_null(nan).to_numpy()
        matched = match(values[own], rate[own], values[of_null], rate[of_null])
        for column, figures in ((f"{name}_null_mean", matched.mean), (f"{name}_null_z", matched.z)):
            added[column] = np.full(table.height, np.nan)
            added[column][own] = figures
    columns = [pl.Series(column, figures, dtype=pl.Float64).fill_nan(None) for column, figures in added.items()]
    return table.with_columns(columns)
