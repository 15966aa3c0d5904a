"""Rule share: how many of the strongest examples one rule explains (the SoLU paper's rating, by machine).

Softmax Linear Units (2022), section 4.3.7: a neuron is called interpretable if one rule explains 80 % of its
strongest firings. Here the rule is induced from the 20 strongest fit examples (20 documents), and the score is
the share of the 20 strongest eval examples that it covers; monosemantic from MONO, if the rule's base rate over
all eval tokens is at most MOST_BASE_RATE.

Cost: 0.2 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512 (`benchmarks/score.py`).

Known failures. It sees the top alone: a neuron with one strong and one weak feature has one rule at the top
(AUROC .53 in a trial, no better than chance), and a neuron that answers to many things at low activation passes.
Top examples are a poor guide for comparing architectures: what an activation function does to the top is not what it
does to the rest (SoLU squeezes everything but the top). A rule that is broader than the cap or that the grammar cannot
state counts as none, so most broad but coherent neurons are called polysemantic, and so are nearly all planted neurons
of one feature that no rule states (docs/scores.md has the figures).

Nulls take their strongest examples from the sampled tokens, neurons from all tokens. Where the sample is much smaller
than the text, nulls have weaker examples, and the excess over them comes out too large. Collect without
`--sample-tokens` to compare the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations
from analyze.rules.build import grammar_of
from analyze.rules.conjunctions import MOST_BASE_RATE, Atoms, Conjunctions, induce_from_examples
from analyze.scores.base import About, NeuronScore, Verdict

N_EXAMPLES = 20
MONO = 0.8


@dataclass(frozen=True)
class Shares:
    """The induced rule of each neuron (None: none) and the share of its eval examples it covers (or NaN)."""

    rules: tuple[Atoms | None, ...]
    share: Float[ndarray, " n"]


def strongest(acts: Activations, half: str) -> Int[ndarray, "n k"]:
    """Stream positions of each neuron's N_EXAMPLES strongest firings of one half; -1 where there are fewer.

    A document where the neuron does not fire (its peak is at or below `moments.threshold`) is no example.
    """
    examples = acts.examples.filter((pl.col("half") == half) & (pl.col("rank") < N_EXAMPLES))
    neuron = examples["neuron"].to_numpy()
    fires = examples["activation"].to_numpy() > acts.moments.threshold[neuron]
    positions = np.full((acts.n_neurons, N_EXAMPLES), -1, np.int64)
    positions[neuron[fires], examples["rank"].to_numpy()[fires]] = examples["stream_position"].to_numpy()[fires]
    return positions


def shares(fit: Int[ndarray, "n k"], held_out: Int[ndarray, "n k"], conjunctions: Conjunctions) -> Shares:
    """Induce one rule from the examples at the stream positions `fit` and test it on `held_out`.

    A neuron with an example missing (-1) gets no rule and NaN, as does one with no rule narrow enough.
    """
    share = np.full(len(fit), np.nan)
    rules: list[Atoms | None] = [None] * len(fit)
    whole = np.flatnonzero((fit >= 0).all(axis=1) & (held_out >= 0).all(axis=1))
    for first, stop in blocks(len(whole)):
        block = whole[first:stop]
        own, others = (
            conjunctions.grammar.holds(at[block].ravel()).reshape(len(block), at.shape[1], -1) for at in (fit, held_out)
        )
        for neuron, seen, tested in zip(block.tolist(), own, others):
            rule = rules[neuron] = induce_from_examples(seen, conjunctions)
            if rule is not None:
                share[neuron] = tested[:, list(rule)].all(axis=1).mean()
    return Shares(tuple(rules), share)


def share_all(acts: Activations, conjunctions: Conjunctions) -> tuple[Shares, Int[ndarray, " n"]]:
    """The rule and share of every neuron (none for dead and rare ones), and how many examples each half has."""
    fit, held_out = (strongest(acts, half) for half in ("fit", "eval"))
    n_examples = np.minimum((fit >= 0).sum(axis=1), (held_out >= 0).sum(axis=1))
    fit[acts.moments.status != SCORED] = -1
    return shares(fit, held_out, conjunctions), n_examples


class RuleShare(NeuronScore):
    """Share of the 20 strongest held-out firings that the rule of the 20 strongest fit firings covers."""

    name = "rule_share"
    title = "rule share"
    number = 1
    rank = "rule_share"
    about = About(
        definition="share of the 20 strongest held-out firings that the rule of the 20 strongest fit firings covers",
        cost="0.2",
        null="a rule may hold for at most 5 % of tokens",
        fails="sees the top alone, so a weak second feature escapes it; a rotation of the layer scores alike",
    )
    needs = ("examples", "text")
    verdict = Verdict(
        column="rule_share_mono",
        value="rule_share",
        threshold=MONO,
        at_most=False,
        meaning=f"Rule share (the SoLU paper's proxy): one rule covers at least {100 * MONO:.0f} % of the {N_EXAMPLES} "
        f"strongest held-out examples and holds for at most {100 * MOST_BASE_RATE:.0f} % of all tokens.",
    )

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """Share of the 20 largest values that one set of tokens covers; 0 where it is too broad to be a rule."""
        top = np.argsort(-y, kind="stable")[:N_EXAMPLES]
        return float(covered[top].mean()) if covered.mean() <= MOST_BASE_RATE else 0.0

    def table(self, acts: Activations) -> pl.DataFrame:
        """rule_share, the rule as a sentence, its base rate over eval tokens, whether that is mono, and
        rule_share_examples: in how many documents of the half with fewer of them the neuron fires, up to 20."""
        conjunctions = Conjunctions(grammar_of(acts))
        shares, n_examples = share_all(acts, conjunctions)
        sentences = [None if rule is None else conjunctions.sentence(rule) for rule in shares.rules]
        base_rates = [nan if rule is None else conjunctions.base_rate("eval", rule) for rule in shares.rules]
        judged = zip(shares.rules, shares.share.tolist(), base_rates)
        mono = [None if rule is None else share >= MONO and rate <= MOST_BASE_RATE for rule, share, rate in judged]
        return pl.DataFrame(
            {
                "rule_share": pl.Series(shares.share, dtype=pl.Float64),
                "rule_share_rule": pl.Series(sentences, dtype=pl.String),
                "rule_share_base_rate": pl.Series(base_rates, dtype=pl.Float64),
                "rule_share_mono": pl.Series(mono, dtype=pl.Boolean),
                "rule_share_examples": pl.Series(n_examples, dtype=pl.Int32),
            }
        )

    def sentence(self, row: Mapping[str, Any]) -> str:
        """How much of the top the rule covers, the rule, and how many tokens it holds for."""
        share, rule, base_rate = (row.get(f"rule_share{column}") for column in ("", "_rule", "_base_rate"))
        if share is None or rule is None:
            return "Rule share: not judged."
        called = {None: "not judged", True: "mono", False: "not mono"}[row.get("rule_share_mono")]
        rate = "" if base_rate is None else f", which holds for {100 * base_rate:.2g} % of all tokens"
        return f"Rule share: {100 * share:.0f} % of the strongest held-out examples: {rule}{rate} ({called})."


SCORE = RuleShare()
