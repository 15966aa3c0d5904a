"""K_eff: the effective number of different rules that a neuron answers to.

It leads the tables of reports, as a headline only where its published validity allows (analyze.scores.validity).

The rules are those of a decision list (`analyze.rules.decision_list`), weighed by what each explains of held-out
documents; rules that are alike, by the company their tokens keep or by how they are spelled, count as fewer
(`Grammar.similarity`, `diversity`).

Cost: 1.8 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512 (`benchmarks/score.py`).

Known failures (docs/scores.md has the figures). A feature that no rule states or comes near (a place in a sentence,
what was lately read) is taken for whatever rules lie nearest, or gets no figure. Strong interference at every token
leaves little that rules explain. Of partners ten times as frequent as the others, and of broad features beside narrow
ones, the large part weighs most. Few documents (a quarter of 250 k tokens) leave few rules that hold on others.

Lists of four rules, as the first version had them, explain little of what a neuron does, and left a third of the
planted neurons without a figure; docs/scores.md has what each change since then brought (`benchmarks/k_eff.py`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from weakref import ref

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations
from analyze.metrics import effective_number
from analyze.rules.build import grammar_of
from analyze.rules.decision_list import NO_LIST, DecisionList, decision_list
from analyze.rules.grammar import Grammar
from analyze.scores.base import About, JudgedBy, NeuronScore, Verdict

LEAST_REACH = 0.005
"""Held-out gains that a neuron's rules must reach together, or it gets no figure."""
MONO = 1.5
"""A neuron with K_eff at most this is called monosemantic: of planted neurons of several features (those for tuning) at
most 3 in 100 have so little in any case."""
N_SHOWN = 4
_TURNED, _TILE = 64, 512
"""Neurons that are turned together, 64 MB of 250,000 tokens, and tokens of a tile."""


@dataclass(frozen=True)
class Fitted:
    """The decision list of one neuron, and how many different rules it amounts to."""

    list: DecisionList
    k_eff: float
    """NaN where the reach is below LEAST_REACH."""


NOTHING = Fitted(NO_LIST, nan)
_KEPT: deque[tuple[ref[Activations], ref[Grammar], list[Fitted]]] = deque(maxlen=1)


Shape = Callable[[Float[ndarray, "f"], Float[ndarray, "e"]], tuple[Float[ndarray, "f"], Float[ndarray, "e"]]]
"""Changes a neuron's rectified activations on the fit and the eval tokens before rules are fitted to them. A positive
factor (one over the mean of the 20 largest, to make neurons comparable) would change neither rules nor gains."""


def as_it_is(
    y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"]
) -> tuple[Float[ndarray, "f"], Float[ndarray, "e"]]:
    """Both unchanged."""
    return y_fit, y_eval


def fit(y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"], grammar: Grammar) -> Fitted:
    """The decision list of one neuron from its rectified activations on the fit and eval tokens, and its K_eff."""
    rules = decision_list(y_fit, y_eval, grammar)
    return Fitted(rules, diversity(rules.rules, rules.gains, grammar))


def diversity(rules: Sequence[int], gains: Sequence[float], grammar: Grammar) -> float:
    """K_eff of rules and their held-out gains (`effective_number`); NaN where they reach less than LEAST_REACH."""
    if not len(rules):
        return nan
    return effective_number(np.array(gains), grammar.similarity(np.array(rules)), LEAST_REACH)


def fit_block(
    activations: Float[Tensor, "t n"],
    median: Float[ndarray, " n"],
    grammar: Grammar,
    shape: Shape = as_it_is,
    columns: Int[ndarray, "k"] | None = None,
) -> list[Fitted]:
    """`fit` for the neurons of a block; the result does not depend on the block.

    Args:
        columns: which of them; default: all.
    """
    columns = np.arange(activations.shape[1]) if columns is None else columns
    return [fit(*shape(*halves), grammar) for halves in rectified_halves(activations, median, grammar, columns)]


def rectified_halves(
    activations: Float[Tensor, "t n"], median: Float[ndarray, " n"], grammar: Grammar, columns: Int[ndarray, "k"]
) -> Iterator[tuple[Float[ndarray, "f"], Float[ndarray, "e"]]]:
    """max(a - median, 0) of each of some neurons on the fit and on the eval tokens.

    Some neurons at a time are turned, by tiles of tokens: a tile, and then a neuron, stays in the cache.
    """
    values, median = activations.numpy(), median.astype(np.float32)
    for some in np.split(columns, range(_TURNED, len(columns), _TURNED)):
        turned = np.empty((len(some), len(values)), np.float32)
        for first in range(0, len(values), _TILE):
            turned[:, first : first + _TILE] = values[first : first + _TILE].take(some, axis=1).T
        for neuron, row in zip(some.tolist(), turned):
            row -= median[neuron]
            np.maximum(row, 0, out=row)
            yield row.take(grammar.fit), row.take(grammar.eval)


def fit_all(acts: Activations, grammar: Grammar | None = None, shape: Shape = as_it_is) -> list[Fitted]:
    """The decision list of every neuron; NOTHING for those that are dead or rare.

    Keeps those of the last activations, fitted as they are: more than one score asks for them.
    """
    grammar = grammar or grammar_of(acts)
    for kept_acts, kept_grammar, kept in _KEPT:
        if kept_acts() is acts and kept_grammar() is grammar and shape is as_it_is:
            return kept
    fits = [NOTHING] * acts.n_neurons
    for first, stop in blocks(acts.n_neurons):
        scored = np.flatnonzero(acts.moments.status[first:stop] == SCORED)
        if len(scored):
            block = fit_block(acts.block(first, stop), acts.moments.median[first:stop], grammar, shape, scored)
            for neuron, fitted in zip((first + scored).tolist(), block):
                fits[neuron] = fitted
    if shape is as_it_is:
        _KEPT.append((ref(acts), ref(grammar), fits))
    return fits


class KEff(NeuronScore):
    """1 / K_eff: 1 for one rule, or rules alike; 1/32 for 32 rules with nothing in common."""

    name = "k_eff"
    title = "K_eff"
    number = 0
    rank = "k_eff_score"
    about = About(
        definition="effective number of different rules in a list of up to 32, by held-out gains; score 1 / K_eff",
        cost="1.8",
        null="held-out gains: a rule that only fits by chance has none",
        fails="features that no rule states or comes near; strong interference; partners of 10 : 1 in frequency",
    )
    needs = ("sample", "text")
    verdict = Verdict(
        column="k_eff_mono",
        value="k_eff",
        threshold=MONO,
        at_most=True,
        meaning="K_eff is the effective number of different rules a neuron answers to on held-out documents; "
        f"mono where it is at most {MONO}.",
        judged_by=JudgedBy("reach", LEAST_REACH, "share of the held-out variance that the rules explain"),
    )

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """The gain of one set of tokens, as each rule is judged, here on the tokens that it is fitted on."""
        residual = y - y.mean()
        n, s = int(covered.sum()), float(residual[covered].sum())
        total = float(np.square(residual).sum())
        mu = s / (n + 1)
        return (2 * mu * s - n * mu**2) / total if total > 0 else nan

    def table(self, acts: Activations) -> pl.DataFrame:
        """k_eff, k_eff_score, k_eff_mono, reach, n_rules, single_token, and the four rules that gain most."""
        grammar = grammar_of(acts)
        fits = fit_all(acts, grammar)
        lists = [fitted.list for fitted in fits]
        k_eff = np.array([fitted.k_eff for fitted in fits])
        columns: dict[str, pl.Series] = {
            "k_eff": pl.Series(k_eff, dtype=pl.Float64),
            "k_eff_score": pl.Series(1.0 / k_eff, dtype=pl.Float64),
            "k_eff_mono": pl.Series(verdicts(k_eff, MONO), dtype=pl.Boolean),
            "reach": pl.Series([each.reach for each in lists], dtype=pl.Float64),
            "n_rules": pl.Series([len(each.rules) for each in lists], dtype=pl.Int32),
            "single_token": pl.Series([_is_single_token(fitted, grammar) for fitted in fits], dtype=pl.Boolean),
        }
        shown = [[(grammar.phrases[each.rules[at]], each.gains[at]) for at in each.by_gain[:N_SHOWN]] for each in lists]
        for rank in range(N_SHOWN):
            ranked = [rules[rank] if rank < len(rules) else (None, None) for rules in shown]
            columns[f"rule_{rank + 1}"] = pl.Series([phrase for phrase, _ in ranked], dtype=pl.String)
            columns[f"gain_{rank + 1}"] = pl.Series([gain for _, gain in ranked], dtype=pl.Float64)
        return pl.DataFrame(columns)


def verdicts(effective_numbers: Float[ndarray, " n"], most: float) -> list[bool | None]:
    """Whether each neuron is called monosemantic: it has at most so many; None where there is no figure."""
    return [None if np.isnan(number) else bool(number <= most) for number in effective_numbers]


def _is_single_token(fitted: Fitted, grammar: Grammar) -> bool:
    """Whether a neuron called monosemantic answers best to one current token, in one spelling or in several."""
    best = fitted.list.best_rule
    if best is None or not fitted.k_eff <= MONO:
        return False
    return grammar.kinds[best] in ("token", "form") and grammar.views[grammar.view_of[best]].name == "current"


SCORE = KEff()
