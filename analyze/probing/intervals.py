"""Precision, recall and F1 of a probe, and intervals of AUPRC and F1 over resampled documents."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.metrics import average_precision

DRAWS = 200
MOST_BINS = 512


@dataclass(frozen=True)
class Called:
    """Calling tokens positive from a threshold on; precision is 0 where no token is called."""

    precision: float
    recall: float
    f1: float


def called(score: Float[ndarray, "t"], y: Bool[ndarray, "t"], threshold: float) -> Called:
    """Precision, recall and F1 of calling tokens at or above a threshold."""
    above = score >= threshold
    hits, n_above, n = float((above & y).sum()), float(above.sum()), float(y.sum())
    return Called(hits / n_above if n_above else 0.0, hits / n if n else float("nan"), 2 * hits / max(n_above + n, 1.0))


@dataclass(frozen=True)
class Interval:
    """95 % percentile interval over resampled documents."""

    low: float
    high: float


class DocumentBootstrap:
    """The same resamples of whole documents for all probes of a label, so that they can be compared.

    Tokens of one document are alike: intervals from resampled tokens would be too narrow.
    """

    def __init__(self, document: Int[ndarray, "t"], y: Bool[ndarray, "t"], draws: int = DRAWS, seed: int = 0) -> None:
        _, self._of = np.unique(document, return_inverse=True)
        self._n = int(self._of.max()) + 1 if len(self._of) else 0
        self._y = y
        rng = np.random.default_rng(seed)
        self._times = rng.multinomial(self._n, np.full(self._n, 1 / self._n), size=draws).astype(np.float64)

    def auprc(self, score: Float[ndarray, "t"]) -> Interval:
        """Interval of the AUPRC. Differences between draws come from at most MOST_BINS levels of the score."""
        positive = np.unique(score[self._y])
        if not len(positive):
            return Interval(float("nan"), float("nan"))
        if len(positive) > MOST_BINS:
            positive = np.unique(np.quantile(positive, np.linspace(0, 1, MOST_BINS), method="lower"))
        bins = np.searchsorted(positive, score, side="right")
        n_bins = len(positive) + 1
        cell = self._of * n_bins + bins
        shape = self._n, n_bins
        hits, every = (
            np.bincount(cell[kept], minlength=self._n * n_bins).reshape(shape)[:, :0:-1].astype(np.float64)
            for kept in (self._y, slice(None))
        )
        drawn = self._area(np.vstack([np.ones(self._n), self._times]), hits, every)
        return _interval(average_precision(score, self._y) - drawn[0] + drawn[1:])

    def f1(self, score: Float[ndarray, "t"], threshold: float) -> Interval:
        """Interval of F1 at a threshold."""
        above = score >= threshold
        hits, flagged, n = (
            self._times @ np.bincount(self._of[kept], minlength=self._n) for kept in (above & self._y, above, self._y)
        )
        return _interval(2 * hits / np.maximum(flagged + n, 1.0))

    @staticmethod
    def _area(times: ndarray, hits: ndarray, every: ndarray) -> ndarray:
        positives, flagged = np.cumsum(times @ hits, axis=1), np.cumsum(times @ every, axis=1)
        rises = np.diff(positives, prepend=0.0, axis=1)
        total = np.where(positives[:, -1] > 0, positives[:, -1], np.nan)
        return np.sum(rises * positives / np.maximum(flagged, 1.0), axis=1) / total


def _interval(values: ndarray) -> Interval:
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(np.clip(low, 0.0, 1.0)), float(np.clip(high, 0.0, 1.0)))
