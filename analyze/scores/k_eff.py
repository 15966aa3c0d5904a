"""K_eff: the effective number of different rules that a neuron answers to.

It leads the tables of reports, as a headline only where its published validity allows (analyze.validity).

Cost: 0.6 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512 (`benchmarks/score.py`).
"""

from collections import deque
from dataclasses import dataclass
from math import exp, nan
from weakref import ref

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.grammar import grammar_of
from analyze.rules import FEWEST_TOKENS, Grammar
from analyze.sample import blocks
from analyze.scores.base import About
from analyze.store import SCORED, Activations

N_RULES = 4
LEAST_REACH = 0.05
MONO = 1.3
"""A neuron with K_eff at most this is called monosemantic."""


@dataclass(frozen=True)
class Fitted:
    """The decision list of one neuron: its rules in the order taken, and their held-out gains."""

    rules: tuple[int, ...]
    gains: tuple[float, ...]
    """Share of the eval variance each rule explains; below zero where it does harm."""
    reach: float
    """Sum of the gains above zero; NaN where the activations on eval tokens do not vary."""
    k_eff: float
    """NaN where the reach is below LEAST_REACH."""

    @property
    def best_rule(self) -> int | None:
        """The rule with the largest gain."""
        return self.rules[int(np.argmax(self.gains))] if self.rules else None


NOTHING = Fitted((), (), nan, nan)
_KEPT: deque[tuple[ref[Activations], ref[Grammar], list[Fitted]]] = deque(maxlen=1)


def rectified(activations: Float[Tensor, "t n"], median: Float[ndarray, " n"]) -> Float[Tensor, "t n"]:
    """max(a - median, 0), written over the activations: what is above a neuron's median.

    Whatever positive number this is divided by (the mean of the 20 largest, to make neurons comparable),
    rules, gains and K_eff come out the same, so it is not.
    """
    return activations.sub_(torch.from_numpy(median.astype(np.float32))).clamp_(min=0)


def fit(y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"], grammar: Grammar) -> Fitted:
    """The decision list of one neuron from its rectified activations on the fit and eval tokens.

    Each round takes, with r = y - mean(y), the rule that maximises (s^2 / n)(1 - 1 / sqrt(n)) over the n
    tokens not yet covered, s = sum of r > 0, n >= FEWEST_TOKENS; its value is mu = s / (n + 1). Its held-out
    gain is (2 mu s_ev - n_ev mu^2) / SST_ev. With p = gains above zero / reach,
    K_eff = exp(-sum_i p_i log sum_j Z_ij p_j): similarity-sensitive diversity of order 1 (Leinster and
    Cobbold, Ecology 93, 2012). The mean is that of the fit tokens throughout: gains are held-out.
    """
    y_fit, y_eval = y_fit.astype(np.float64), y_eval.astype(np.float64)
    mean = float(y_fit.mean())
    residual = y_eval - mean
    # Not a BLAS product: its threads cost more than they bring on vectors, and sums depend on their number.
    total = float(np.square(residual).sum())
    if total <= 0 or mean <= 0:
        return NOTHING
    active = np.flatnonzero(y_fit > 0)
    sums, n = grammar.sums(y_fit[active], active), grammar.n_fit
    rules: list[int] = []
    gains: list[float] = []
    for _ in range(N_RULES):
        s = sums - mean * n
        allowed = np.flatnonzero((n >= FEWEST_TOKENS) & (s > 0))
        if not len(allowed):
            break
        size = n[allowed]
        taken = int(allowed[np.argmax(s[allowed] ** 2 / size * (1 - 1 / np.sqrt(size)))])
        mu = s[taken] / (n[taken] + 1)
        rules.append(taken)
        step = grammar.step(tuple(rules))
        gains.append(float((2 * mu * residual[step.new_eval].sum() - len(step.new_eval) * mu**2) / total))
        touched = step.new_fit[y_fit[step.new_fit] > 0]
        sums, n = sums - grammar.sums(y_fit[touched], touched), step.n_left
    reach = float(np.maximum(gains, 0.0).sum()) if gains else 0.0
    return Fitted(tuple(rules), tuple(gains), reach, diversity(rules, gains, grammar))


def diversity(rules: list[int], gains: list[float], grammar: Grammar) -> float:
    """K_eff of rules and their held-out gains; NaN where they reach less than LEAST_REACH together."""
    p = np.maximum(gains, 0.0)
    if not len(p) or p.sum() < LEAST_REACH:
        return nan
    p = p / p.sum()
    likeness = grammar.similarity(np.array(rules)) @ p
    held = p > 0
    return exp(-float(p[held] @ np.log(likeness[held])))


def fit_block(
    activations: Float[Tensor, "t n"],
    median: Float[ndarray, " n"],
    scored: Int[ndarray, " n"],
    grammar: Grammar,
) -> list[Fitted]:
    """`fit` for every neuron of a block where `scored` is not 0; the result does not depend on the block.

    The activations are overwritten.
    """
    kept = np.flatnonzero(scored)
    if not len(kept):
        return [NOTHING] * len(scored)
    y = rectified(activations, median)
    y_fit, y_eval = (
        y.index_select(0, torch.from_numpy(half)).T.contiguous().numpy() for half in (grammar.fit, grammar.eval)
    )
    fitted = [NOTHING] * len(scored)
    for neuron in kept.tolist():
        fitted[neuron] = fit(y_fit[neuron], y_eval[neuron], grammar)
    return fitted


def fit_all(acts: Activations, grammar: Grammar | None = None) -> list[Fitted]:
    """The decision list of every neuron; NOTHING for those that are dead or rare.

    Those of the last activations are kept, since more than one score asks for them.
    """
    grammar = grammar or grammar_of(acts)
    for of_acts, of_grammar, held in _KEPT:
        if of_acts() is acts and of_grammar() is grammar:
            return held
    fitted: list[Fitted] = []
    for first, stop in blocks(acts.n_neurons):
        scored = (acts.moments.status[first:stop] == SCORED).astype(np.int64)
        if scored.any():
            fitted += fit_block(acts.block(first, stop), acts.moments.median[first:stop], scored, grammar)
        else:
            fitted += [NOTHING] * (stop - first)
    _KEPT.append((ref(acts), ref(grammar), fitted))
    return fitted


class KEff:
    """1 / K_eff, between 0.25 (four rules with nothing in common) and 1 (one rule, or rules alike)."""

    name = "k_eff"
    number = 0
    about = About(
        definition="effective number of different rules in a list of four, weighed by held-out gains; score 1 / K_eff",
        cost="0.6",
        null="held-out gains: a rule that only fits by chance has none",
        fails="features that no rule states or comes near; strong interference; partners of 10 : 1 in frequency",
    )
    needs = ("sample", "text")

    def __call__(self, acts: Activations) -> Float[ndarray, " n"]:
        """1 / K_eff of every neuron; NaN for dead and rare neurons and where reach < LEAST_REACH."""
        return 1.0 / np.array([fitted.k_eff for fitted in fit_all(acts)])

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """The gain of one set of tokens, as each rule is judged, here on the tokens that it is fitted on."""
        residual = y - y.mean()
        n, s = int(covered.sum()), float(residual[covered].sum())
        total = float(np.square(residual).sum())
        mu = s / (n + 1)
        return (2 * mu * s - n * mu**2) / total if total > 0 else nan

    def table(self, acts: Activations) -> pl.DataFrame:
        """k_eff, k_eff_score, k_eff_mono, reach, single_token, and each rule as a sentence with its gain."""
        grammar = grammar_of(acts)
        fitted = fit_all(acts, grammar)
        k_eff = np.array([one.k_eff for one in fitted])
        mono = [None if np.isnan(value) else bool(value <= MONO) for value in k_eff]
        single = [
            bool(is_mono)
            and one.best_rule is not None
            and grammar.kinds[one.best_rule] in ("token", "form")
            and grammar.views[grammar.view_of[one.best_rule]].name == "current"
            for is_mono, one in zip(mono, fitted)
        ]
        columns: dict[str, pl.Series] = {
            "k_eff": pl.Series(k_eff, dtype=pl.Float64),
            "k_eff_score": pl.Series(1.0 / k_eff, dtype=pl.Float64),
            "k_eff_mono": pl.Series(mono, dtype=pl.Boolean),
            "reach": pl.Series([one.reach for one in fitted], dtype=pl.Float64),
            "single_token": pl.Series(single, dtype=pl.Boolean),
        }
        for rank in range(N_RULES):
            rules = [grammar.phrases[one.rules[rank]] if rank < len(one.rules) else None for one in fitted]
            gains = [one.gains[rank] if rank < len(one.gains) else None for one in fitted]
            columns[f"rule_{rank + 1}"] = pl.Series(rules, dtype=pl.String)
            columns[f"gain_{rank + 1}"] = pl.Series(gains, dtype=pl.Float64)
        return pl.DataFrame(columns)


SCORE = KEff()
