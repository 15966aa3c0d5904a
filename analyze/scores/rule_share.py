"""Rule share: how many of the strongest examples one rule explains (the SoLU paper's rating, by machine).

Softmax Linear Units (2022), section 4.3.7: a neuron is called interpretable if one rule explains 80 % of its
strongest firings.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.grammar import grammar_of
from analyze.rules import Grammar
from analyze.sample import blocks
from analyze.store import SCORED, Activations

N_EXAMPLES = 20
MOST_BASE_RATE = 0.05
"""Without this cap "letters only" passes for most sets of tokens."""
MONO = 0.8


@dataclass(frozen=True)
class Shares:
    """The induced rule of each neuron (-1: none) and the share of its eval examples it covers (or NaN)."""

    rule: Int[ndarray, " n"]
    share: Float[ndarray, " n"]


def strongest(examples: pl.DataFrame, half: str, n_neurons: int) -> Int[ndarray, "n k"]:
    """Stream positions of each neuron's N_EXAMPLES examples of one half; -1 where there are fewer."""
    held = examples.filter((pl.col("half") == half) & (pl.col("rank") < N_EXAMPLES))
    positions = np.full((n_neurons, N_EXAMPLES), -1, np.int64)
    positions[held["neuron"].to_numpy(), held["rank"].to_numpy()] = held["stream_position"].to_numpy()
    return positions


def shares(fit: Int[ndarray, "n k"], held_out: Int[ndarray, "n k"], grammar: Grammar) -> Shares:
    """Induce one rule from the examples at the stream positions `fit` and test it on `held_out`.

    The rule covers most of the fit examples among those with a base rate of at most MOST_BASE_RATE over the
    fit tokens; ties go to the lower base rate. A neuron with an example missing (-1) gets no rule and NaN.
    """
    n = len(fit)
    rule, share = np.full(n, -1, np.int64), np.full(n, np.nan)
    narrow = np.flatnonzero(grammar.base_rate_fit <= MOST_BASE_RATE)
    whole = np.flatnonzero((fit >= 0).all(axis=1) & (held_out >= 0).all(axis=1))
    if not len(whole) or not len(narrow):
        return Shares(rule, share)
    # Base rates are below 1, so subtracting them orders rules by count first and by base rate among equals.
    covered = grammar.covers(fit[whole])[:, narrow] - grammar.base_rate_fit[narrow]
    rule[whole] = narrow[np.argmax(covered, axis=1)]
    tested = grammar.covers(held_out[whole])
    share[whole] = tested[np.arange(len(whole)), rule[whole]] / held_out.shape[1]
    return Shares(rule, share)


def share_all(acts: Activations, grammar: Grammar) -> Shares:
    """The rule and share of every neuron of a layer; none for those that are dead or rare."""
    fit, held_out = (strongest(acts.examples, half, acts.n_neurons) for half in ("fit", "eval"))
    fit[acts.moments.status != SCORED] = -1
    parts = [shares(fit[first:stop], held_out[first:stop], grammar) for first, stop in blocks(acts.n_neurons)]
    return Shares(np.concatenate([part.rule for part in parts]), np.concatenate([part.share for part in parts]))


class RuleShare:
    """Share of the 20 strongest held-out examples that the rule of the 20 strongest fit examples covers."""

    name = "rule_share"
    number = 1
    needs = ("examples", "text")

    def __call__(self, acts: Activations) -> Float[ndarray, " n"]:
        """The share of every neuron; NaN for dead and rare neurons and where there are fewer examples."""
        return share_all(acts, grammar_of(acts)).share

    def table(self, acts: Activations) -> pl.DataFrame:
        """rule_share, the rule as a sentence, its base rate over eval tokens, whether that is mono."""
        grammar = grammar_of(acts)
        found = share_all(acts, grammar)
        known = found.rule >= 0
        base_rate = np.where(known, grammar.base_rate_eval[found.rule], np.nan)
        mono = (found.share >= MONO) & (base_rate <= MOST_BASE_RATE)
        return pl.DataFrame(
            {
                "rule_share": pl.Series(found.share, dtype=pl.Float64),
                "rule_share_rule": pl.Series(
                    [grammar.phrases[rule] if rule >= 0 else None for rule in found.rule.tolist()],
                    dtype=pl.String,
                ),
                "rule_share_base_rate": pl.Series(base_rate, dtype=pl.Float64),
                "rule_share_mono": pl.Series(
                    [bool(value) if is_known else None for value, is_known in zip(mono, known)],
                    dtype=pl.Boolean,
                ),
            }
        )


SCORE = RuleShare()
