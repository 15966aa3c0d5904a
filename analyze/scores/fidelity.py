"""One-rule fidelity: how well the best single rule predicts a neuron's activation on all held-out tokens.

The rule (a conjunction of up to three atoms, `analyze.rules.conjunctions`) is induced on the fit tokens; y is the
activation above the neuron's median, max(a - median, 0), on the eval tokens, and `covered` where the rule holds.
The table has Pearson's r of the two (the score), the variance that the rule's two fit means explain, the average
precision with which activation finds the rule's tokens, and F1 of rule against firing. Oikarinen, Yan and Weng (ICML
2025, arXiv 2506.05774) test such figures by taking labels away and adding wrong ones; these pass.

It measures fidelity, not unity: how much of the neuron the best rule explains. A clean neuron with two features of
unequal size scores above a noisy neuron with a single feature, and a neuron with a single feature that the grammar
cannot state scores low. On planted features that no rule states it hardly separates one feature from several, and where
strong interference hides features it has them the wrong way round: several features vary more than one (docs/scores.md
has the figures). Neither the charge for an atom (LEAST_GAIN 1.05 to 1.4) nor the width of the beam changed that by
more than .015.

Cost: 1.5 s (relu) to 1.9 s (gelu) per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512 under
other load (`benchmarks/score.py`).
"""

from dataclasses import dataclass
from math import nan

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.metrics import average_precision, f1, pearson
from analyze.rules.build import grammar_of
from analyze.rules.conjunctions import Atoms, Conjunctions, induce
from analyze.scores.base import About, NeuronScore
from analyze.scores.blocks import scored_blocks


@dataclass(frozen=True)
class Fidelity:
    """The best single rule of a neuron and how well it does on the eval tokens; NaN where that is undefined."""

    rule: Atoms | None = None
    pearson: float = nan
    r2: float = nan
    """Share of the eval variance explained; below zero where the rule does harm."""
    auprc: float = nan
    f1: float = nan


NOTHING = Fidelity()


def fidelity(activations: Float[ndarray, "t"], median: float, threshold: float, conjunctions: Conjunctions) -> Fidelity:
    """The best rule of one neuron and its held-out fit.

    Args:
        activations: on all sampled tokens.
        median: of the activations; below it the neuron is at rest.
        threshold: the neuron fires above it (for F1).

    The variance explained is 1 - sum (y - prediction)^2 / sum (y - mean)^2 over the eval tokens, where the
    prediction is the mean of the fit tokens inside or outside of the rule and `mean` that of all fit tokens.
    """
    grammar = conjunctions.grammar
    held_out = activations[grammar.eval]
    y_fit, y_eval = (np.maximum(half - np.float32(median), 0) for half in (activations[grammar.fit], held_out))
    rule = induce(y_fit, conjunctions)
    if rule is None:
        return NOTHING
    covered = conjunctions.covered("eval", rule)
    explained = _explained(y_fit, grammar.tokens("fit", rule), y_eval, grammar.tokens("eval", rule))
    return Fidelity(
        rule, pearson(y_eval, covered), explained, average_precision(y_eval, covered), f1(held_out, covered, threshold)
    )


def _explained(
    y_fit: Float[ndarray, "f"], in_fit: Int[ndarray, "_"], y_eval: Float[ndarray, "e"], in_eval: Int[ndarray, "_"]
) -> float:
    y_fit, y_eval = y_fit.astype(np.float64), y_eval.astype(np.float64)
    total, within = float(y_fit.sum()), float(y_fit[in_fit].sum())
    mean, inside = total / len(y_fit), within / len(in_fit)
    outside = (total - within) / max(len(y_fit) - len(in_fit), 1)
    covered, n = y_eval[in_eval], len(y_eval)
    # sum (y - b)^2 = sum y^2 - 2 b sum y + n b^2, so that one pass over the tokens gives both sums of squares;
    # nothing cancels, since y is at rest on half of them.
    sum_, squares = float(y_eval.sum()), float(np.square(y_eval).sum())
    variance = squares - 2 * mean * sum_ + n * mean**2
    left = squares - 2 * outside * sum_ + n * outside**2
    left += float((np.square(covered - inside) - np.square(covered - outside)).sum())
    return 1 - left / variance if variance > 0 else nan


def fidelity_all(acts: Activations, conjunctions: Conjunctions) -> list[Fidelity]:
    """The best rule of every neuron; NOTHING for those that are dead or rare."""
    fits = [NOTHING] * acts.n_neurons
    median, threshold = acts.moments.median.tolist(), acts.moments.threshold.tolist()
    for neurons, activations in scored_blocks(acts):
        for neuron, values in zip(neurons.tolist(), activations.T.contiguous().numpy()):
            fits[neuron] = fidelity(values, median[neuron], threshold[neuron], conjunctions)
    return fits


class OneRuleFidelity(NeuronScore):
    """Held-out correlation of a neuron with its best single rule, -1 to 1."""

    name = "fidelity"
    title = "fidelity"
    number = 2
    rank = "fidelity"
    about = About(
        definition="held-out Pearson r between activation and the best single rule, a conjunction of up to three atoms",
        cost="1.9",
        null="r = 0 for a rule that does not hold on held-out documents",
        fails="measures how much one rule explains, not whether the neuron is one thing",
    )
    needs = ("sample", "text")

    def table(self, acts: Activations) -> pl.DataFrame:
        """fidelity (Pearson's r), fidelity_r2, fidelity_auprc, fidelity_f1, and the rule as a sentence."""
        conjunctions = Conjunctions(grammar_of(acts))
        fits = fidelity_all(acts, conjunctions)
        rules = [None if fit.rule is None else conjunctions.sentence(fit.rule) for fit in fits]
        return pl.DataFrame(
            {
                "fidelity": pl.Series([fit.pearson for fit in fits], dtype=pl.Float64),
                "fidelity_r2": pl.Series([fit.r2 for fit in fits], dtype=pl.Float64),
                "fidelity_auprc": pl.Series([fit.auprc for fit in fits], dtype=pl.Float64),
                "fidelity_f1": pl.Series([fit.f1 for fit in fits], dtype=pl.Float64),
                "fidelity_rule": pl.Series(rules, dtype=pl.String),
            }
        )

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """The fit the score rests on: Pearson's r of activations and a set of tokens."""
        return pearson(y, covered)


SCORE = OneRuleFidelity()
