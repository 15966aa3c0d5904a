"""Decision lists: the rules, one after another, that best tell where a neuron is active."""

from dataclasses import dataclass
from math import log, nan

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.rules.grammar import FEWEST_TOKENS, Grammar

N_RULES = 32


@dataclass(frozen=True)
class ListSettings:
    """How long a decision list may become."""

    n_rules: int = N_RULES
    """Rules at most."""
    n_candidates: int = 1024
    """Rules that a list is chosen from: those of highest value alone."""
    least_share: float = 0.0005
    """Share of the fit variance below which no further rule is taken."""


DEFAULT = ListSettings()
_ALIKE = 1e-9
"""Rules of the same tokens have sums that differ in the last digits; the first in the grammar is taken."""


@dataclass(frozen=True)
class DecisionList:
    """The rules of one neuron in the order of the list, and their held-out gains."""

    rules: tuple[int, ...]
    gains: tuple[float, ...]
    """Share of the eval variance each rule explains; below zero where it does harm."""
    reach: float
    """Sum of the gains above zero; NaN where the activations on eval tokens do not vary."""

    @property
    def by_gain(self) -> list[int]:
        """Places in the list, the rule with the largest gain first."""
        return np.argsort(-np.array(self.gains), kind="stable").tolist()

    @property
    def best_rule(self) -> int | None:
        """The rule with the largest gain."""
        return self.rules[self.by_gain[0]] if self.rules else None

    def reach_of(self, n: int) -> float:
        """Sum of the gains above zero of the first n rules."""
        return float(np.maximum(self.gains[:n], 0.0).sum()) if self.rules else self.reach


NO_LIST = DecisionList((), (), nan)


def decision_list(
    y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"], grammar: Grammar, settings: ListSettings = DEFAULT
) -> DecisionList:
    """The list of one neuron from its activations on the fit and eval tokens, zero where it is at rest.

    Each round takes, with r = y - mean(y), the rule that maximises V = (s^2 / n)(1 - 1 / sqrt(n)) over the n
    tokens not yet covered, s = sum of r > 0, n >= FEWEST_TOKENS; its value is mu = s / (n + 1). Its held-out
    gain is (2 mu s_ev - n_ev mu^2) / SST_ev. The mean is always that of the fit tokens: gains are held-out.

    Rules come from the `n_candidates` of largest V at the start. The list ends after `n_rules`, or when V is at most
    `least_share` of the sum of squares of r, or at most 2 ln(rules) var(y): about the largest V among so many rules
    where none has to do with y (the expected maximum of as many squared standard normal numbers).
    """
    y_fit, y_eval = y_fit.astype(np.float64), y_eval.astype(np.float64)
    mean = float(y_fit.mean())
    residual = y_eval - mean
    # Not a BLAS product: its threads cost more than they bring on vectors, and sums depend on their number.
    total = float(np.square(residual).sum())
    if total <= 0 or mean <= 0:
        return NO_LIST
    active = np.flatnonzero(y_fit > 0)
    sums = grammar.sums(y_fit.take(active), active)
    n = grammar.n_fit.astype(np.float64)
    alone, most = _values(sums - mean * n, n), settings.n_candidates
    kept = np.sort(np.argpartition(-alone, most)[:most]) if len(alone) > most else slice(None)
    candidates, sums, n = np.arange(len(grammar))[kept], sums[kept], n[kept]
    few = grammar.candidates(candidates)
    least = max(2 * log(max(len(grammar), 2)) / len(y_fit), settings.least_share) * float(np.square(y_fit - mean).sum())
    left_fit, left_eval = np.ones(len(y_fit), bool), np.ones(len(y_eval), bool)
    rules: list[int] = []
    gains: list[float] = []
    while len(rules) < settings.n_rules:
        values = _values(sums - mean * n, n)
        best = int(np.argmax(values >= values.max() * (1 - _ALIKE)))
        if values[best] <= least:
            break
        rule, s = int(candidates[best]), float(sums[best] - mean * n[best])
        rules.append(rule)
        mu = s / (n[best] + 1)
        of_fit, new_eval = grammar.tokens("fit", (rule,)), grammar.tokens("eval", (rule,))
        is_new, new_eval = left_fit[of_fit], new_eval[left_eval[new_eval]]
        new_fit = of_fit[is_new]
        left_fit[new_fit] = left_eval[new_eval] = False
        gains.append(float((2 * mu * residual[new_eval].sum() - len(new_eval) * mu**2) / total))
        left = y_fit.take(new_fit)
        firing = np.flatnonzero(left)
        sums -= few.sums(left[firing], new_fit[firing])
        n -= grammar.n_among(rule)[kept]
        if len(new_fit) < len(of_fit):
            n += few.sums(np.ones(len(of_fit) - len(new_fit)), of_fit[~is_new])
    return DecisionList(tuple(rules), tuple(gains), float(np.maximum(gains, 0.0).sum()) if gains else 0.0)


def _values(s: Float[ndarray, "rules"], n: Float[ndarray, "rules"]) -> Float[ndarray, "rules"]:
    """V of each rule; zero for those with too few tokens or s <= 0."""
    n = np.maximum(n, 1.0)
    return np.where((s > 0) & (n >= FEWEST_TOKENS), s * s / n * (1 - 1 / np.sqrt(n)), 0.0)
