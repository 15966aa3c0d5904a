"""What P(one feature) makes of one layer of a trained run, beside its nulls and K_eff."""

from dataclasses import dataclass
from math import nan

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.activations.store import SCORED
from analyze.comparison.results import Cell, Place
from analyze.comparison.separation import superiority
from analyze.comparison.summary import cluster_ids
from analyze.headline.judge import equal_rate_pairs
from analyze.statistics import rank_correlation

VERDICTS = ("one", "several", "cannot tell")


@dataclass(frozen=True)
class Group:
    """Neurons of a layer or of a null that have a P; each cluster of duplicates once."""

    n: int
    p: Float[ndarray, " n"]
    k_eff: Float[ndarray, " n"]
    """NaN where K_eff gives none."""
    rate: Float[ndarray, " n"]
    """Firing rate."""
    seen: float
    """Share in the domain."""
    verdicts: dict[str, float]
    """Shares of all three."""
    by_k_eff: dict[tuple[str, str], int]
    """How many get each pair of verdicts, K_eff's ("one rule", "several rules", "no figure") first."""

    @property
    def rate_correlation(self) -> float:
        """Spearman's, of P with the firing rate."""
        return rank_correlation(self.p, self.rate)

    @property
    def k_eff_correlation(self) -> float:
        """Spearman's, of P with 1 / K_eff where there is one."""
        known = ~np.isnan(self.k_eff)
        return rank_correlation(self.p[known], -self.k_eff[known])

    @property
    def mean(self) -> float:
        """Of P."""
        return float(self.p.mean()) if self.n else nan

    @property
    def k_eff_share(self) -> float:
        """Of those that K_eff judges, the share of one word rule."""
        one, several = (sum(n for (k, _), n in self.by_k_eff.items() if k == called) for called in K_EFF[:2])
        return one / (one + several) if one + several else nan


K_EFF = ("one rule", "several rules", "no figure")


@dataclass(frozen=True)
class AgainstNull:
    """How far P tells a layer from a null."""

    auroc: float
    error: float
    """Standard error within the seed: neurons taken for independent, the sample of a wide layer included."""
    at_equal_rate: float
    """Over pairs of a neuron and a null's that fire as often."""
    n_pairs: int
    by_k_eff: float
    """AUROC of 1 / K_eff, where it gives one."""


@dataclass(frozen=True)
class LayerFigures:
    """One layer and hook of one run."""

    variant: str
    place: Place
    seed: int
    n_neurons: int
    """That were collected."""
    own: Group
    nulls: dict[str, Group]
    against: dict[str, AgainstNull]


def figures_of(cell: Cell, untrained: Cell | None = None) -> LayerFigures:
    """The figures of one layer; its untrained network counts as one more null."""
    rows = cell.scores()
    own = group_of(rows.filter(pl.col("null") == "none"))
    names = [name for name in rows["null"].unique(maintain_order=True) if name != "none"]
    nulls = {name: group_of(rows.filter(pl.col("null") == name)) for name in names}
    if untrained is not None:
        nulls["untrained"] = group_of(untrained.neurons())
    against = {name: against_null(own, null) for name, null in nulls.items()}
    n_neurons = rows.filter(pl.col("null") == "none").height
    return LayerFigures(cell.meta.variant, cell.place, cell.meta.seed, n_neurons, own, nulls, against)


def group_of(rows: pl.DataFrame) -> Group:
    """The neurons of some rows of scores.parquet that are scored and have a P."""
    known = rows.filter((pl.col("status") == SCORED) & pl.col("one_feature").is_not_nan())
    known = known.filter(pl.col("one_feature").is_not_null())
    # Of a cluster of duplicates the first.
    known = known.filter(pl.Series(np.isin(np.arange(known.height), _firsts(known)), dtype=pl.Boolean))
    called = [
        {True: VERDICTS[0], False: VERDICTS[1], None: VERDICTS[2]}[mono] for mono in known["one_feature_mono"].to_list()
    ]
    ruled = [{True: K_EFF[0], False: K_EFF[1], None: K_EFF[2]}[mono] for mono in known["k_eff_mono"].to_list()]
    pairs = list(zip(ruled, called))
    return Group(
        n=known.height,
        p=known["one_feature"].to_numpy(),
        k_eff=known["k_eff"].cast(pl.Float64).fill_null(nan).to_numpy(),
        rate=known["firing_rate"].cast(pl.Float64).to_numpy(),
        seen=_share(sum(bool(seen) for seen in known["one_feature_seen"]), known.height),
        verdicts={name: _share(called.count(name), known.height) for name in VERDICTS},
        by_k_eff={(k, name): pairs.count((k, name)) for k in K_EFF for name in VERDICTS},
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else nan


def _firsts(rows: pl.DataFrame) -> ndarray:
    return np.unique(cluster_ids(rows), return_index=True)[1]


def against_null(own: Group, null: Group) -> AgainstNull:
    """The AUROC of a layer's neurons over a null's; NaN where either has none."""
    auroc, error = superiority(own.p, null.p)
    both = np.concatenate([own.p, null.p])
    is_own = np.arange(len(both)) < own.n
    a, b = equal_rate_pairs(np.concatenate([own.rate, null.rate]), is_own)
    pairs = float(((both[a] > both[b]) + 0.5 * (both[a] == both[b])).mean()) if len(a) else nan
    rules = [-group.k_eff[~np.isnan(group.k_eff)] for group in (own, null)]
    return AgainstNull(auroc, error, pairs, len(a), superiority(rules[0], rules[1])[0])
