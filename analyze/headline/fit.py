"""Fits the headline to a table of planted neurons, and says what comes of neurons that were left out.

A table has a row a neuron: k, set, layer, corpus, families, kinds (lists) and a column for each figure. Neurons of one
and of several features weigh alike, in every set; every layer of truth weighs as much as every other.

The regression is scikit-learn's. Its ridge, and how wide and heavy the resemblance to its examples is, are what
families and corpora that were left out did well with; nothing else was tuned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.headline.coefficients import N_KNOTS, Coefficients, Examples, Term, rounded

RIDGE = 0.05
"""C of the regression: one over the weight of the ridge."""
N_EXAMPLES = 400
"""Planted neurons that others are held against, evenly spaced over the table of the fit,"""
WIDTH = 0.006
"""of resemblances exp(-WIDTH d^2),"""
STRETCH = 20.0
"""which count so much more than normal scores before the ridge."""
LEAST_EIGENVALUE = 1e-3
"""Of the examples' resemblances to each other: examples that are nearly the same are not blown up."""
N_FOLDS = 10
"""Families and kinds are left out in so many groups, by a hash of their names."""
MOST_WRONG = 0.05
"""Of the neurons of several features in any group that is left out, at most so many may be called one feature; and of
those of one feature at most so many, on average, several."""
WITHIN = 0.95
"""Of planted neurons that were left out of the fit, so many lie within the domain."""
FEWEST_IN_GROUP = 300
"""Neurons of several features in a group for its rate of errors to count."""


@dataclass(frozen=True)
class Planted:
    """Planted neurons as arrays."""

    figures: dict[str, Float[ndarray, " n"]]
    one: Bool[ndarray, " n"]
    """Whether a neuron has one feature."""
    weight: Float[ndarray, " n"]
    table: pl.DataFrame

    @classmethod
    def of(cls, table: pl.DataFrame, columns: Sequence[str]) -> "Planted":
        """From a table; the neurons of unknown figures stay."""
        figures = {name: table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns}
        one = table["k"].to_numpy() == 1
        return cls(figures, one, _weights(table, one), table)

    def where(self, chosen: Bool[ndarray, " n"]) -> "Planted":
        """Some of the neurons."""
        figures = {name: values[chosen] for name, values in self.figures.items()}
        table = self.table.filter(pl.Series(chosen))
        return Planted(figures, self.one[chosen], _weights(table, self.one[chosen]), table)


def _weights(table: pl.DataFrame, one: Bool[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Each set's two kinds of neurons alike, each layer's sets together alike; mean 1."""
    _, sets = np.unique(table["set"].to_numpy(), return_inverse=True)
    layers, layer = np.unique(table["layer"].to_numpy(), return_inverse=True)
    cell = 2 * sets + one
    weight = 1 / np.bincount(cell)[cell]
    weight /= np.bincount(layer, weight)[layer]
    return weight * len(one) / max(len(layers), 1)


@dataclass(frozen=True)
class Ranks:
    """Terms without weights: how figures become normal scores."""

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, planted: Planted) -> "Ranks":
        """By the neurons of a fit; figures that do not vary there are left out."""
        levels = (np.arange(N_KNOTS) + 0.5) / N_KNOTS
        terms = []
        for name, values in planted.figures.items():
            known = values[~np.isnan(values)]
            if len(known) and known.min() < known.max():
                knots = tuple(rounded(knot) for knot in np.quantile(known, levels).tolist())
                terms.append(Term(name, 0.0, 0.0, knots))
        return cls(tuple(terms))

    def matrix(self, planted: Planted) -> Float[ndarray, "n columns"]:
        """Normal scores, then a column for each figure that says where it is missing."""
        scores = np.stack([term.normal_scores(planted.figures[term.column]) for term in self.terms], axis=1)
        missing = np.stack([np.isnan(planted.figures[term.column]) for term in self.terms], axis=1)
        return np.hstack([scores, missing])


@dataclass(frozen=True)
class Regression:
    """A fitted regression."""

    ranks: Ranks
    weights: Float[ndarray, " columns"]
    intercept: float
    examples: Examples

    def probability(self, planted: Planted) -> Float[ndarray, " n"]:
        """P(one feature)."""
        x = self.ranks.matrix(planted)
        z = x[:, : len(self.ranks.terms)]
        return 1 / (1 + np.exp(-(self.intercept + x @ self.weights + self.examples.add(z))))

    def distance(self, planted: Planted) -> Float[ndarray, " n"]:
        """Squared distance of each neuron from the nearest example."""
        return self.examples.distances(self.ranks.matrix(planted)[:, : len(self.ranks.terms)]).min(axis=1)


def regression(planted: Planted, ridge: float = RIDGE, n_examples: int = N_EXAMPLES) -> Regression:
    """Fit the weights."""
    from sklearn.linear_model import LogisticRegression

    ranks = Ranks.of(planted)
    x = ranks.matrix(planted)
    z = x[:, : len(ranks.terms)]
    chosen = np.unique(np.linspace(0, len(z) - 1, min(n_examples, len(z))).astype(np.int64))
    points = tuple(tuple(round(value, 3) for value in row) for row in z[chosen].tolist())
    examples = Examples(WIDTH, (0.0,) * len(points), points, 0.0)
    # In the coordinates of the inverse root the ridge is that of kernel regression.
    values, vectors = np.linalg.eigh(np.exp(-WIDTH * examples.distances(np.array(points))))
    root = STRETCH * vectors / np.sqrt(np.maximum(values, LEAST_EIGENVALUE))
    resemblance = np.exp(-WIDTH * examples.distances(z)) @ root
    fitted = LogisticRegression(C=ridge, solver="newton-cholesky", max_iter=100, tol=1e-8)
    fitted.fit(np.hstack([x, resemblance]), planted.one, sample_weight=planted.weight)
    weights = np.asarray(fitted.coef_, np.float64)[0]
    of_examples = root @ weights[x.shape[1] :]
    examples = replace(examples, weights=tuple(rounded(weight) for weight in of_examples.tolist()))
    return Regression(ranks, weights[: x.shape[1]], float(np.asarray(fitted.intercept_)[0]), examples)


def fold_of(name: str, n: int = N_FOLDS) -> int:
    """The group that a family or kind is left out with."""
    return sha256(f"left out/{name}".encode()).digest()[0] % n


def groups(table: pl.DataFrame, by: str) -> dict[str, tuple[Bool[ndarray, " n"], Bool[ndarray, " n"]]]:
    """The groups that are left out: which neurons judge each, and which may be fitted on then.

    Args:
        by: "corpus", "layer", or "families" or "kinds": a neuron judges if all of its features are of the group, or (of
            several features) any; it is fitted on if none is.
    """
    if by in ("corpus", "layer"):
        values = table[by].cast(pl.String).to_numpy()
        return {name: (values == name, values != name) for name in np.unique(values).tolist()}
    names = table[by].to_list()
    folds = [{fold_of(each) for each in row} for row in names]
    if by == "kinds":
        every = sorted({each for row in names for each in row})
        number = {name: index for index, name in enumerate(every)}
        folds = [{number[each] for each in row} for row in names]
        labels = every
    else:
        labels = [f"tenth {index + 1}" for index in range(N_FOLDS)]
    found = {}
    for index, label in enumerate(labels):
        inside = np.array([index in row for row in folds])
        if inside.any() and not inside.all():
            found[label] = (inside, ~inside)
    return found


@dataclass(frozen=True)
class LeftOut:
    """What a fit without each group makes of that group; a neuron may judge in several groups."""

    group: list[str]
    """Of each judgement."""
    neuron: Int[ndarray, " m"]
    """Row of the table."""
    p: Float[ndarray, " m"]
    one: Bool[ndarray, " m"]
    distance: Float[ndarray, " m"]
    """Squared, from the nearest example of that fit."""


def left_out(planted: Planted, by: str, ridge: float = RIDGE, n_examples: int = N_EXAMPLES) -> LeftOut:
    """Fit without each group in turn."""
    names: list[str] = []
    rows, p, distance = [], [], []
    for name, (judged, fitted) in groups(planted.table, by).items():
        if len(np.unique(planted.one[fitted])) < 2:
            continue
        found, there = regression(planted.where(fitted), ridge, n_examples), planted.where(judged)
        p.append(found.probability(there))
        distance.append(found.distance(there))
        names += [name] * len(p[-1])
        rows.append(np.flatnonzero(judged))
    at = np.concatenate([np.zeros(0, np.int64), *rows])
    return LeftOut(
        names, at, np.concatenate([np.zeros(0), *p]), planted.one[at], np.concatenate([np.zeros(0), *distance])
    )


def thresholds(judged: Sequence[LeftOut]) -> tuple[float, float]:
    """P from which a neuron is called one feature, and to which several, by what was left out.

    Only groups of at least FEWEST_IN_GROUP neurons of several features count. In each of them, and among all of one
    way of leaving out, at most MOST_WRONG of these neurons lie above the first; among all, at most MOST_WRONG of the
    neurons of one feature lie below the second. Without such groups neither is ever said.
    """
    above, below = [], []
    for each in judged:
        names = np.array(each.group)
        alone = [names == name for name in np.unique(names)]
        large = [chosen for chosen in alone if (chosen & ~each.one).sum() >= FEWEST_IN_GROUP]
        if large:
            together = np.logical_or.reduce(large)
            above += [float(np.quantile(each.p[chosen & ~each.one], 1 - MOST_WRONG)) for chosen in (together, *large)]
            if (one := each.p[together & each.one]).size:
                below.append(float(np.quantile(one, MOST_WRONG)))
    one_from = max(above, default=1.0)
    return rounded(one_from), rounded(min(*below, one_from) if below else 0.0)


def fit(planted: Planted, fitted_on: dict[str, Any], judged: Mapping[str, LeftOut]) -> Coefficients:
    """The whole headline: weights from all neurons, thresholds from those that were left out in turn, and the domain.

    Args:
        fitted_on: what to write into the file about the table.
        judged: what `left_out` gave by each of THRESHOLDS_BY.
    """
    one_from, several_to = thresholds([judged[by] for by in THRESHOLDS_BY])
    found = regression(planted)
    n = len(found.ranks.terms)
    terms = tuple(
        Term(term.column, rounded(found.weights[index]), rounded(found.weights[n + index]), term.knots)
        for index, term in enumerate(found.ranks.terms)
    )
    farthest = max(float(np.quantile(each.distance, WITHIN)) for each in (judged[by] for by in DOMAIN_BY))
    examples = replace(found.examples, farthest=rounded(farthest))
    return Coefficients(rounded(found.intercept), terms, one_from, several_to, examples, fitted_on)


THRESHOLDS_BY = ("families", "corpus", "kinds")
"""What thresholds go by: each family, each corpus and each larger kind has been left out."""
DOMAIN_BY = ("families", "corpus")
"""What the domain goes by."""
