"""Scored cells of 40 neurons, and the results that a comparison makes of them."""

import numpy as np
import polars as pl

from analyze.comparison.comparison import Comparison
from analyze.comparison.results import Place
from analyze.comparison.variants import ScoreSummary, VariantResult
from tests.analyze.activations.synthetic import made_up_scores


def mono_scores(n: int, n_mono: int, null: str = "none") -> pl.DataFrame:
    """n neurons, all scored and judged, the last n_mono of them at K_eff 1 and the others at 3."""
    k_eff = np.where(np.arange(n) >= n - n_mono, 1.0, 3.0)
    rng = np.random.default_rng(0)
    frame = made_up_scores(n, k_eff, rng, null)
    everything = made_up_scores(20 * n, np.tile(k_eff, 20), rng, null).tail(n)
    return everything.with_columns(neuron=frame["neuron"], duplicate_cluster=frame["neuron"])


def row_of(comparison: Comparison, variant: str, hook: str = "mid") -> VariantResult:
    return comparison.results[variant][Place(0, hook)]


def k_eff(comparison: Comparison, variant: str, hook: str = "mid") -> ScoreSummary:
    return row_of(comparison, variant, hook).scores["k_eff"]
