"""What P(one feature) is worth: figures over planted neurons whose P comes from a fit that has not seen their kind."""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import stats

from analyze.metrics import auroc
from analyze.statistics import wilson

N_BINS = 8
CALIPER = 0.05
"""Largest |ln| of the ratio of firing rates in a pair of neurons of equal rate."""


@dataclass(frozen=True)
class Judged:
    """Neurons with P and the truth."""

    p: Float[ndarray, " n"]
    """NaN where there is none."""
    k: Int[ndarray, " n"]
    firing_rate: Float[ndarray, " n"]
    told: Bool[ndarray, " n"]
    """Whether a verdict may be given: the neuron has a P and lies in the domain."""

    def where(self, chosen: Bool[ndarray, " n"]) -> "Judged":
        """Some of them."""
        return Judged(self.p[chosen], self.k[chosen], self.firing_rate[chosen], self.told[chosen])


@dataclass(frozen=True)
class Worth:
    """Figures of some neurons; NaN where one side is missing."""

    n_one: int
    n_several: int
    auroc: float
    one_against_two: float
    at_equal_rate: float
    """AUROC over pairs of neurons, one of each side, that fire as often."""
    n_pairs: int
    by_rate: float
    """AUROC of the firing rate alone, low = one feature."""
    with_rate: float
    """Spearman's correlation of P with the firing rate, among neurons of one feature."""
    wrongly: float
    """Share of neurons of several features that are called one feature,"""
    wrongly_high: float
    """and the upper end of Wilson's 95 % interval."""
    rightly: float
    """Share of neurons of one feature that are called so; cannot tell counts against it."""
    told: float
    """Share of all neurons that get a verdict."""


def worth(judged: Judged, one_from: float, several_to: float) -> Worth:
    """The figures of some neurons."""
    one, two = judged.k == 1, judged.k == 2
    called_one = judged.told & (judged.p >= one_from)
    told = called_one | (judged.told & (judged.p <= several_to))
    n_several = int((~one).sum())
    wrong = int((called_one & ~one).sum())
    a, b = equal_rate_pairs(judged.firing_rate, one)
    p = np.where(np.isnan(judged.p), -1.0, judged.p)
    pairs = float(((p[a] > p[b]) + 0.5 * (p[a] == p[b])).mean()) if len(a) else nan
    alone = one & ~np.isnan(judged.p)
    return Worth(
        n_one=int(one.sum()),
        n_several=n_several,
        auroc=auroc(judged.p, one),
        one_against_two=auroc(judged.p[one | two], one[one | two]),
        at_equal_rate=pairs,
        n_pairs=len(a),
        by_rate=auroc(-judged.firing_rate, one),
        with_rate=_rank_correlation(judged.p[alone], judged.firing_rate[alone]),
        wrongly=wrong / n_several if n_several else nan,
        wrongly_high=wilson(float(wrong), float(n_several))[1] if n_several else nan,
        rightly=float(called_one[one].mean()) if one.any() else nan,
        told=float(told.mean()) if len(told) else nan,
    )


def _rank_correlation(a: Float[ndarray, " n"], b: Float[ndarray, " n"]) -> float:
    """Spearman's; NaN where either does not vary."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def equal_rate_pairs(
    rate: Float[ndarray, " n"], one: Bool[ndarray, " n"]
) -> tuple[Int[ndarray, " pairs"], Int[ndarray, " pairs"]]:
    """Pairs (of one feature, of several) that fire as often, each neuron in one pair at most; closest rates first."""
    log = np.log(np.maximum(rate, 1e-9))
    first, second = np.flatnonzero(one), np.flatnonzero(~one)
    apart = np.abs(log[first][:, None] - log[second])
    rows, columns = np.nonzero(apart <= CALIPER)
    order = np.argsort(apart[rows, columns], kind="stable")
    used_a, used_b, pairs = set(), set(), []
    for i, j in zip(rows[order].tolist(), columns[order].tolist()):
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            pairs.append((first[i], second[j]))
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    return a, b


def reliability(
    p: Float[ndarray, " n"], one: Bool[ndarray, " n"], weight: Float[ndarray, " n"] | None = None
) -> list[tuple[float, float, int]]:
    """Mean P, share of one feature and number of neurons in bins of P; weights make the two kinds of neurons alike."""
    known = ~np.isnan(p)
    p, one = p[known], one[known]
    weight = np.ones(len(p)) if weight is None else weight[known]
    bins = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    found = []
    for index in range(N_BINS):
        inside = bins == index
        if inside.any():
            mean = float(np.average(p[inside], weights=weight[inside]))
            found.append((mean, float(np.average(one[inside], weights=weight[inside])), int(inside.sum())))
    return found


Groups = dict[str, Bool[ndarray, " n"]]


def by_group(judged: Judged, groups: Groups, one_from: float, several_to: float) -> dict[str, Worth]:
    """The figures of every group."""
    return {name: worth(judged.where(chosen), one_from, several_to) for name, chosen in groups.items()}
