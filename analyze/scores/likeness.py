"""Likeness by contexts: K_eff's rules, counted as one where the firings that they cover stand in like contexts.

K_eff takes two rules for alike by the company and the spelling of their tokens. Here they are alike also where the
strong firings that one covers have the mean context of those that the other covers: Z_ij = max(K_eff's own, clip(c_ij /
FULL, 0, 1)), c_ij the cosine of the two means in a space of `analyze.contexts.spaces`. Products are taken across the
halves, and divided by the lengths that each mean has across them, so that the noise of one half is not in them.

Known failures: as K_eff, a feature that no rule states or comes near; parts that share contexts and nothing else.
"""

from math import nan

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.contexts.firings import Firings, firings_of
from analyze.contexts.part import part_of
from analyze.contexts.spaces import SPACES, Space, prepare, spaces_of
from analyze.metrics import effective_number
from analyze.rules.build import grammar_of
from analyze.rules.decision_list import DecisionList
from analyze.rules.grammar import Grammar
from analyze.scores.base import About, NeuronScore
from analyze.scores.contexts_base import lacks_for_some
from analyze.scores.k_eff import LEAST_REACH, fit_all

FULL = {"": 0.2, "_strict": 0.8}
"""Cosine of mean contexts from which two rules count as one, by the suffix of the column."""
FEWEST = 5
"""A rule that covers fewer strong firings of a half is like no other by its contexts."""


def cosines(
    grammar: Grammar,
    positions: Int[ndarray, "t"],
    rules: Int[ndarray, "k"],
    space: Space,
    firings: tuple[Firings, Firings],
) -> Float[ndarray, "k k"]:
    """The cosine of the mean contexts of each two rules, across the halves; 0 where a rule covers too few firings."""
    means = []
    for half in firings:
        inside = grammar.covers(rules, positions[half.rows]).astype(np.float32)
        n = inside.sum(axis=1, keepdims=True)
        means.append(np.where(n >= FEWEST, (inside @ space.z[half.rows]) / np.maximum(n, 1), 0))
    across = (means[0] @ means[1].T).astype(np.float64)
    across = (across + across.T) / 2
    own = np.diag(across)
    length = np.sqrt(np.where(own > 0, own, 1))
    return np.where((own > 0)[:, None] & (own > 0), across / length[:, None] / length, 0)


def effective_rules(
    fitted: DecisionList,
    grammar: Grammar,
    positions: Int[ndarray, "t"],
    spaces: tuple[Space, ...],
    firings: tuple[Firings, Firings],
) -> dict[str, float]:
    """The effective number of a neuron's rules by each likeness, by the suffix of its column."""
    gains = np.array(fitted.gains)
    kept = gains > 0
    if gains[kept].sum() < LEAST_REACH:
        return {}
    rules, gains = np.array(fitted.rules)[kept], gains[kept]
    own = grammar.similarity(rules)
    found = {}
    for space in spaces:
        alike = cosines(grammar, positions, rules, space, firings)
        for suffix, full in FULL.items():
            z = np.maximum(own, np.clip(alike / full, 0, 1))
            np.fill_diagonal(z, 1.0)
            found[f"{suffix}_{space.name}"] = effective_number(gains, z)
    return found


class Likeness(NeuronScore):
    """1 / the effective number of rules that differ in their contexts, too."""

    name = "likeness"
    title = "likeness"
    number = 8
    rank = "likeness_around"
    about = About(
        definition="1 / K_eff, with rules counted as one where the firings that they cover stand in like contexts",
        cost="0.9 (AMD EPYC; beside k_eff)",
        null="that of K_eff",
        fails="features that no rule states or comes near; parts alike in contexts alone",
    )
    needs = ("sample", "text")
    optional = True
    shares = "decision lists"
    by_neuron = True

    def prepare(self, acts: Activations) -> None:
        """The vectors of the sentence model."""
        prepare(part_of(acts))

    def lacks(self) -> str:
        """The package without which figures of a space are missing."""
        return lacks_for_some()

    def table(self, acts: Activations) -> pl.DataFrame:
        """likeness_left, likeness_around, and both with a stricter measure of what is alike (likeness_strict_...)."""
        grammar, part = grammar_of(acts), part_of(acts)
        spaces = tuple(space for space in spaces_of(part) if space.name in SPACES)
        positions = np.asarray(part.tokens.stream_position, np.int64)
        found = [
            {} if firings is None else effective_rules(fitted.list, grammar, positions, spaces, firings)
            for fitted, firings in zip(fit_all(acts, grammar), firings_of(part))
        ]
        columns = [f"{suffix}_{space}" for space in SPACES for suffix in FULL]
        values = {f"{self.name}{column}": [1 / each.get(column, nan) for each in found] for column in columns}
        return pl.DataFrame({name: pl.Series(column, dtype=pl.Float64) for name, column in values.items()})


SCORE = Likeness()
