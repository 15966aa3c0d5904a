"""The benchmark's figures: AUROC of one feature against several, over sets of planted neurons."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.metrics import auroc, auroc_draws
from analyze.validation.bench.measured import MeasuredSet
from analyze.validation.discrimination import COVERAGE, weights

DRAWS = 1000
FEWEST = 10
"""Neurons of one feature, and of several, that an AUROC takes."""


@dataclass(frozen=True)
class Figure:
    """Mean AUROC over some sets, with the ends of its interval."""

    value: float
    low: float
    high: float
    n_one: int
    n_several: int
    n_sets: int


Chosen = Bool[ndarray, "n"]


def mean_auroc(sets: Iterable[tuple[MeasuredSet, Chosen]], name: str) -> Figure | None:
    """AUROC in each set among the chosen neurons, averaged over sets; None where no set has FEWEST of each kind.

    Scores are compared within a set alone: their scales differ between corpora and layers. The interval is a bootstrap
    over features and neurons in each set (`analyze.validation.discrimination.weights`).
    """
    values, draws, n_one, n_several = [], [], 0, 0
    for index, (measured, chosen) in enumerate(sets):
        single = measured.facts.single[chosen]
        result = measured.results.get(name)
        if result is None or min(single.sum(), (~single).sum()) < FEWEST:
            continue
        score = result.value[chosen]
        rng = np.random.default_rng(index)
        drawn = auroc_draws(score, single, weights(measured.facts.members[chosen], DRAWS, rng))
        values.append(auroc(score, single))
        draws.append(drawn)
        n_one += int(single.sum())
        n_several += int((~single).sum())
    if not values:
        return None
    low, high = np.nanquantile(np.mean(draws, axis=0), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Figure(float(np.mean(values)), float(low), float(high), n_one, n_several, len(values))


def all_of(sets: Iterable[MeasuredSet]) -> list[tuple[MeasuredSet, Chosen]]:
    """Every neuron of some sets."""
    return [(measured, np.ones(len(measured.facts.k), bool)) for measured in sets]


def of_number(sets: Iterable[MeasuredSet], ks: tuple[int, ...]) -> list[tuple[MeasuredSet, Chosen]]:
    """Neurons of several features where there are so many, and their partners of equal firing rate of one feature.

    Neurons of one feature come first in a set, those of several after them, partners in the same order.
    """
    found = []
    for measured in sets:
        k = measured.facts.k
        half = len(k) // 2
        several = np.isin(k[half:], ks)
        found.append((measured, np.concatenate([several, several])))
    return found


def of_kind(sets: Iterable[MeasuredSet], kind: str) -> list[tuple[MeasuredSet, Chosen]]:
    """Neurons of one feature of a kind, and all of several features in the same sets."""
    found = []
    for measured in sets:
        facts = measured.facts
        mine = np.array([feature.kind == kind for feature in facts.features], bool)
        found.append((measured, ~facts.single | facts.members[:, mine].any(axis=1)))
    return found


def kinds_in(sets: Iterable[MeasuredSet]) -> list[tuple[int, str]]:
    """(layer, kind) of every planted feature; layers 1 and 3 alone, whose kinds layer 2 shares."""
    return sorted({(m.facts.layer, feature.kind) for m in sets if m.facts.layer != 2 for feature in m.facts.features})


def kind_alone(sets: Iterable[MeasuredSet]) -> float:
    """AUROC of a guess from the kinds of a neuron's features and nothing else, fitted on the neurons themselves.

    How much kind and number of features go together in a design: .5 where they do not.
    """
    values: list[float] = []
    for measured in sets:
        facts = measured.facts
        kinds, kind_of = np.unique([feature.kind for feature in facts.features], return_inverse=True)
        share = facts.members / np.maximum(facts.k, 1)[:, None]
        by_kind: Float[ndarray, "n kinds"] = np.stack(
            [share[:, kind_of == index].sum(axis=1) for index in range(len(kinds))], axis=1
        )
        single = facts.single
        odds = np.log((by_kind[single].mean(axis=0) + 1e-3) / (by_kind[~single].mean(axis=0) + 1e-3))
        values.append(auroc(by_kind @ odds, single))
    return float(np.mean(values)) if values else float("nan")
