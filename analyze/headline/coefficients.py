"""The headline's coefficients: a logistic regression on figures of a neuron, in a file that people can read.

`polysem fit-headline` writes coefficients.toml. It carries a hash of itself, so that a file edited by hand is refused,
and the hash of the table of planted neurons that it was fitted on.

A figure counts by its rank: where it stands among the neurons of the fit (knots, `N_KNOTS` quantiles), as a normal
score. So no figure counts more for being long-tailed. A missing value has normal score 0 and a weight of its own.

The log odds are a weighted sum of these normal scores, and of how much the neuron resembles each of some planted ones
(examples): exp(-width x squared distance of normal scores). The first part says what speaks for one feature as a rule;
the second lets a figure count otherwise for neurons of another sort (kernel logistic regression on a subset of the
points: Zhu and Hastie, "Kernel Logistic Regression and the Import Vector Machine", 2005).
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import special

from train.errors import BadInput
from train.files import canonical_json, write_atomic

FILE = Path(__file__).with_name("coefficients.toml")
FORMAT_VERSION = 2
N_KNOTS = 41
DIGITS = 9
"""Significant digits of the numbers in the file."""


@dataclass(frozen=True)
class Term:
    """One figure's part in the sum."""

    column: str
    """In scores.parquet."""
    weight: float
    """Of its normal score."""
    missing: float
    """Added where the figure is missing."""
    knots: tuple[float, ...]
    """Quantiles (i + 1/2) / N_KNOTS of the figure among the planted neurons of the fit, ascending."""

    def normal_scores(self, values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """The normal score of each value; 0 where it is missing.

        Beyond the outer knots the ranks go on to the outermost half step.
        """
        knots = np.array(self.knots)
        levels = (np.arange(len(knots)) + 0.5) / len(knots)
        # A value that several knots share stands at their middle.
        low = np.interp(values, knots, levels)
        high = 1 - np.interp(-values, -knots[::-1], (1 - levels)[::-1])
        ranks = (low + high) / 2
        ranks = np.where(
            values > knots[-1], 1 - 0.25 / len(knots), np.where(values < knots[0], 0.25 / len(knots), ranks)
        )
        return np.where(np.isnan(values), 0.0, special.ndtri(np.where(np.isnan(values), 0.5, ranks)))


@dataclass(frozen=True)
class Examples:
    """Planted neurons that others are held against."""

    width: float
    """Of the resemblance exp(-width d^2), d the distance of normal scores."""
    weights: tuple[float, ...]
    """What the resemblance to each adds to the log odds."""
    scores: tuple[tuple[float, ...], ...]
    """Their normal scores, figures in the order of the terms."""
    farthest: float
    """Squared distance from the nearest example that 95 % of planted neurons of families that were left out stay below:
    a neuron farther out is like none that was ever seen."""

    @cached_property
    def _points(self) -> Float[ndarray, "m terms"]:
        return np.array(self.scores, np.float64).reshape(len(self.weights), -1)

    def distances(self, z: Float[ndarray, "n terms"]) -> Float[ndarray, "n m"]:
        """Squared distances of neurons from the examples."""
        found = np.empty((len(z), len(self.weights)))
        for index, row in enumerate(z):  # alone, so that it does not depend on how many neurons there are
            found[index] = np.square(self._points - row).sum(axis=1)
        return found

    def add(self, z: Float[ndarray, "n terms"]) -> Float[ndarray, " n"]:
        """What resemblance adds to the log odds."""
        return (np.exp(-self.width * self.distances(z)) * np.array(self.weights)).sum(axis=1)


@dataclass(frozen=True)
class Coefficients:
    """All that the headline needs to know."""

    intercept: float
    terms: tuple[Term, ...]
    one_from: float
    """P from which a neuron is called one feature;"""
    several_to: float
    """and down to which several; between the two nobody can tell."""
    examples: Examples
    fitted_on: Mapping[str, Any]
    """The hash of the table of the fit, how many neurons of which corpora, and the settings."""

    @property
    def columns(self) -> list[str]:
        """The figures that are read."""
        return [term.column for term in self.terms]

    def scores(self, figures: Mapping[str, Float[ndarray, " n"]]) -> Float[ndarray, "n terms"]:
        """Normal scores, a column a term."""
        return np.stack([term.normal_scores(figures[term.column]) for term in self.terms], axis=1)

    def probability(self, figures: Mapping[str, Float[ndarray, " n"]]) -> Float[ndarray, " n"]:
        """P(one feature) of each neuron.

        Args:
            figures: columns by name; NaN where missing.
        """
        missing = np.stack([np.isnan(figures[term.column]) for term in self.terms], axis=1)
        # Not a BLAS product: its sums depend on how many neurons are scored at once.
        parts = self.scores(figures) * np.array([term.weight for term in self.terms])
        parts += missing * np.array([term.missing for term in self.terms])
        return special.expit(self.intercept + parts.sum(axis=1) + self.examples.add(self.scores(figures)))

    def is_like_planted(self, figures: Mapping[str, Float[ndarray, " n"]]) -> Bool[ndarray, " n"]:
        """Whether a planted neuron like each was ever seen (`Examples.farthest`)."""
        return self.distance(figures) <= self.examples.farthest

    def distance(self, figures: Mapping[str, Float[ndarray, " n"]]) -> Float[ndarray, " n"]:
        """Squared distance of each neuron from the example that is nearest."""
        return self.examples.distances(self.scores(figures)).min(axis=1)


def _body(coefficients: Coefficients) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, **asdict(coefficients)}


def _hash(body: Mapping[str, Any]) -> str:
    return sha256(canonical_json({key: value for key, value in body.items() if key != "sha256"})).hexdigest()


def write(coefficients: Coefficients, path: Path = FILE) -> Path:
    """Write a file of coefficients, with the hash of what it says."""
    body = json.loads(json.dumps(_body(coefficients)))
    plain = {key: value for key, value in body.items() if not isinstance(value, (dict, list))}
    lines = [f'sha256 = "{_hash(body)}"', *_entries(plain), "", "[fitted_on]", *_entries(body["fitted_on"])]
    for term in body["terms"]:
        lines += ["", "[[terms]]", *_entries(term)]
    lines += ["", "[examples]", *_entries(body["examples"])]
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    read.cache_clear()
    return path


def _entries(values: Mapping[str, Any]) -> list[str]:
    """Lines of TOML: what JSON writes of numbers, text and lists is TOML as well."""
    return [f"{key} = {_listed(value)}" for key, value in values.items()]


def _listed(value: Any) -> str:
    rows = isinstance(value, list) and value and isinstance(value[0], list)
    return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n]" if rows else json.dumps(value)


@lru_cache(maxsize=4)
def read(path: Path = FILE) -> Coefficients:
    """The coefficients in a file.

    Raises:
        BadInput: no such file, not of this format, not whole, or edited by hand since it was written.
    """
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise BadInput(f"{path}: cannot be read ({failure}); `polysem fit-headline` writes it") from None
    if body.get("format_version") != FORMAT_VERSION:
        raise BadInput(f"{path}: format_version is not {FORMAT_VERSION}; `polysem fit-headline` writes it anew")
    if body.get("sha256") != _hash(body):
        raise BadInput(f"{path}: edited by hand: sha256 does not fit the rest; `polysem fit-headline` writes it anew")
    try:
        of = body["examples"]
        examples = Examples(of["width"], tuple(of["weights"]), tuple(map(tuple, of["scores"])), of["farthest"])
        terms = tuple(
            Term(each["column"], each["weight"], each["missing"], tuple(each["knots"])) for each in body["terms"]
        )
        return Coefficients(body["intercept"], terms, body["one_from"], body["several_to"], examples, body["fitted_on"])
    except (KeyError, TypeError) as failure:
        raise BadInput(f"{path}: not whole ({failure}); `polysem fit-headline` writes it anew") from None


def rounded(value: float) -> float:
    """To DIGITS significant digits, as the file has it."""
    return float(f"{value:.{DIGITS}g}")
