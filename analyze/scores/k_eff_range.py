"""Mono throughout: K_eff at the top of a neuron's range, in the middle and at its foot, the largest of the three.

A neuron may be about one thing where it is strong and about several where it is weak, or the other way round. The rules
of K_eff are fitted three times: to y = max(a - median, 0) as it is, to y^2, which the strongest firings rule, and to
min(y / (LOW m), 1), m the mean of the TOP largest on fit tokens, in which a firing at a tenth of the peak counts as
much as the peak. The score is one over the largest K_eff; monosemantic throughout only where all three are called so.

Cost: 6 s per 256 neurons and 190 k tokens beside K_eff's own, one thread of an Intel Xeon with AVX-512
(`benchmarks/score.py`).

Known failures: those of K_eff; one of the three that reaches too little leaves the neuron without a figure. Noise at
every token, once it is lifted to a tenth of the peak, is most of what the foot sees.
"""

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.rules.build import grammar_of
from analyze.scores.base import About, NeuronScore, Verdict
from analyze.scores.k_eff import MONO, Shape, as_it_is, fit_all, verdicts

TOP = 20
LOW = 0.1


def squared(y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"]) -> tuple[Float[ndarray, "f"], Float[ndarray, "e"]]:
    """y^2: the strongest firings."""
    return np.square(y_fit, dtype=np.float64), np.square(y_eval, dtype=np.float64)


def saturated(
    y_fit: Float[ndarray, "f"], y_eval: Float[ndarray, "e"]
) -> tuple[Float[ndarray, "f"], Float[ndarray, "e"]]:
    """min(y / (LOW m), 1), m the mean of the TOP largest of y_fit: firing at all. Zeros where m is."""
    top = np.partition(y_fit, -TOP)[-TOP:] if len(y_fit) > TOP else y_fit
    knee = LOW * float(top.mean(dtype=np.float64)) if len(top) else 0.0
    if knee <= 0:
        return np.zeros(len(y_fit)), np.zeros(len(y_eval))
    return np.minimum(y_fit / np.float64(knee), 1.0), np.minimum(y_eval / np.float64(knee), 1.0)


SHAPES: dict[str, Shape] = {"as it is": as_it_is, "squared": squared, "saturated": saturated}


class Throughout(NeuronScore):
    """1 / the largest of three K_eff; NaN where one of them has no figure."""

    name = "throughout"
    title = "mono throughout"
    number = 0
    rank = "throughout_score"
    optional = True
    about = About(
        definition="K_eff of y, of y^2 and of min(y / 0.1 of the peak, 1): one over the largest; mono if all three are",
        cost="6 (beside k_eff)",
        null="that of K_eff, for each of the three",
        fails="those of K_eff; noise at every token is most of what the foot of the range shows",
    )
    needs = ("sample", "text")
    verdict = Verdict(
        column="throughout_mono",
        value="throughout_score",
        threshold=1 / MONO,
        at_most=False,
        meaning=f"Mono throughout: K_eff is at most {MONO} at the top, middle and foot of a neuron's range.",
        shown=False,
    )

    def all_three(self, acts: Activations) -> Float[ndarray, "3 n"]:
        """K_eff of every neuron by each of SHAPES."""
        grammar = grammar_of(acts)
        return np.array([[fitted.k_eff for fitted in fit_all(acts, grammar, shape)] for shape in SHAPES.values()])

    def table(self, acts: Activations) -> pl.DataFrame:
        """throughout_score, throughout_mono, k_eff_squared, k_eff_saturated."""
        k_effs = self.all_three(acts)
        largest = k_effs.max(axis=0)
        return pl.DataFrame(
            {
                "throughout_score": pl.Series(1.0 / largest, dtype=pl.Float64),
                "throughout_mono": pl.Series(verdicts(largest, MONO), dtype=pl.Boolean),
                "k_eff_squared": pl.Series(k_effs[1], dtype=pl.Float64),
                "k_eff_saturated": pl.Series(k_effs[2], dtype=pl.Float64),
            }
        )


SCORE = Throughout()
