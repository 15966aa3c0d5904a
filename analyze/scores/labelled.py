"""Labelled features: how many different labels of a bank a neuron answers to, where labels reach it at all."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.store import Activations, TokenSample
from analyze.activations.strong_firings import rectified
from analyze.activations.token_sample import position_hash
from analyze.labels.bank import LabelBank, bank_of
from analyze.metrics import effective_number
from analyze.rules.grammar import FEWEST_TOKENS
from analyze.scores.base import About, NeuronScore, Verdict
from analyze.scores.blocks import scored_blocks
from analyze.scores.forward_selection import forward_selection
from analyze.scores.k_eff import fit_all as label_free
from analyze.scores.k_eff import verdicts

N_LABELS = 8
"""Labels taken at most."""
N_SHOWN = 4
LEAST_REACH = 0.05
LEAST_SHARE = 0.7
"""Labels must explain this share of what the first N_COMPARED rules of K_eff do, or there is no score."""
N_COMPARED = 4
MONO = 1.3
"""A neuron with an effective number of labels at most this is called monosemantic."""
AT_ONCE = 64
"""Neurons converted to fp64 at a time."""


@dataclass(frozen=True)
class SampledLabels:
    """Labels of a bank that occur often enough in a sample of tokens, and the products of them that fits need."""

    names: tuple[str, ...]
    fit: sp.csr_array
    """[labels, fit tokens], ones."""
    eval: sp.csr_array
    share: Float[ndarray, "l"]
    """Share of the fit tokens."""
    gram_fit: Float[ndarray, "l l"]
    """Products of the labels centred on their fit means, over the fit tokens."""
    gram_eval: Float[ndarray, "l l"]
    """The same over the eval tokens, centred on the fit means too."""
    similarity: Float[ndarray, "l l"]

    @classmethod
    def of(cls, names: Collection[str], columns: sp.csc_array, is_fit: Bool[ndarray, "t"]) -> "SampledLabels":
        """Leave out labels with fewer than FEWEST_TOKENS fit tokens inside or outside, and repeated ones.

        Args:
            names: of the labels.
            columns: [t, labels], ones where a label holds.
            is_fit: which tokens are of the fit half.
        """
        by_label = sp.csr_array(columns.T, dtype=np.float64)
        of_fit, n_tokens = np.flatnonzero(is_fit), int(is_fit.sum())
        fit, other = (sp.csr_array(by_label[:, half]) for half in (of_fit, np.flatnonzero(~is_fit)))
        n_fit = np.diff(fit.indptr)
        seen: set[bytes] = set()
        kept = []
        for label in np.flatnonzero((n_fit >= FEWEST_TOKENS) & (n_fit <= n_tokens - FEWEST_TOKENS)).tolist():
            code = np.sort(by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]).tobytes()
            if code not in seen:
                seen.add(code)
                kept.append(label)
        fit, other = sp.csr_array(fit[kept]), sp.csr_array(other[kept])
        together_fit, together_eval = (fit @ fit.T).toarray(), (other @ other.T).toarray()
        n_fit, n_eval = np.diag(together_fit), np.diag(together_eval)
        share = n_fit / max(n_tokens, 1)
        gram_eval = together_eval - np.outer(share, n_eval) - np.outer(n_eval, share)
        listed = list(names)
        return cls(
            names=tuple(listed[label] for label in kept),
            fit=fit,
            eval=other,
            share=share,
            gram_fit=together_fit - np.outer(share, n_fit),
            gram_eval=gram_eval + np.outer(share, share) * int((~is_fit).sum()),
            similarity=likeness(together_fit, n_tokens),
        )

    @classmethod
    def on(cls, bank: LabelBank, tokens: TokenSample, families: frozenset[str] | None = None) -> "SampledLabels":
        """The labels of a bank, or of some of its families, on a sample of tokens."""
        columns = bank.matrix(np.asarray(tokens.stream_position))
        wanted = [i for i, label in enumerate(bank.labels) if families is None or label.family in families]
        names = [bank.labels[i].name for i in wanted]
        return cls.of(names, sp.csc_array(columns[:, wanted]), np.asarray(tokens.is_fit, dtype=np.bool_))


def likeness(together: Float[ndarray, "l l"], n: int) -> Float[ndarray, "l l"]:
    """Loevinger's H of every two sets of `n` tokens, clipped to [0, 1]: 1 where one lies in the other, 0 at chance.

    H = (o - e) / (m - e), o tokens in both, e the number expected of independent sets, m the most there could be,
    the size of the smaller set (Loevinger, Psychological Bulletin 45, 1948). So "digits" and "a number" are one
    thing, while a rare label that only sometimes coincides with a frequent one is not like it.

    Args:
        together: tokens in both of two sets; on the diagonal, in each.
    """
    size = np.diag(together)
    expected, most = np.outer(size, size) / max(n, 1), np.minimum(size[:, None], size)
    room = most - expected
    h = np.where(room > 0, (together - expected) / np.where(room > 0, room, 1.0), 0.0)
    z = np.clip(h, 0.0, 1.0)
    np.fill_diagonal(z, 1.0)
    return z


@dataclass(frozen=True)
class Fits:
    """The labels that explain some neurons, in the order of selection (-1: none), and their held-out gains."""

    order: Int[ndarray, "n k"]
    gains: Float[ndarray, "n k"]
    """Share of the eval variance each explains beside those before it; below zero where it does harm."""
    reach: Float[ndarray, " n"]
    """Sum of the gains above zero; NaN where the activations do not vary."""
    effective: Float[ndarray, " n"]
    """Effective number of labels; NaN where the reach is below LEAST_REACH."""

    def put(self, neurons: Int[ndarray, "m"] | slice, fits: "Fits") -> None:
        """Write the fits of some of the neurons."""
        for name, values in vars(fits).items():
            getattr(self, name)[neurons] = values


def nothing(n: int) -> Fits:
    """The fits of n neurons that are not scored."""
    empty = np.full((n, N_LABELS), np.nan)
    return Fits(np.full((n, N_LABELS), -1, np.int64), empty, np.full(n, np.nan), np.full(n, np.nan))


def fit_labels(y_fit: Float[ndarray, "f n"], y_eval: Float[ndarray, "e n"], labels: SampledLabels) -> Fits:
    """Least squares of each neuron on up to N_LABELS labels, chosen forward on fit tokens, judged on eval tokens.

    Each step takes, among labels that the neuron rises with beside those it has, the one with the largest
    fit gain times (1 - 1 / sqrt n), as K_eff does; n + 1 stands for n in its square. Held-out gain of a step:
    what the squared errors on eval tokens fall by, over those about the fit mean. With p = gains above zero /
    reach, the effective number is exp(-sum_i p_i log sum_j Z_ij p_j) (Leinster and Cobbold, Ecology 93, 2012),
    Z = `likeness`.
    """
    fits = nothing(y_fit.shape[1])
    mean = np.ascontiguousarray(y_fit.T).mean(axis=1)
    total = np.square(np.ascontiguousarray(y_eval.T) - mean[:, None]).sum(axis=1)
    alive = np.flatnonzero((total > 0) & (mean > 0))
    if not len(alive) or not len(labels.names):
        fits.reach[alive] = 0.0
        return fits
    n_fit = labels.share * len(y_fit)
    on_fit = (labels.fit @ y_fit).T - mean[:, None] * n_fit
    on_eval = (labels.eval @ y_eval).T - mean[:, None] * np.diff(labels.eval.indptr)
    on_eval -= labels.share * (y_eval.sum(axis=0) - mean * len(y_eval))[:, None]
    weight = 1 - 1 / np.sqrt(n_fit)
    chosen = forward_selection(labels.gram_fit, on_fit[alive], N_LABELS, ridge=1.0, weight=weight, only_positive=True)
    for row, neuron in enumerate(alive.tolist()):
        order = chosen.order[row][chosen.order[row] >= 0]
        gains = held_out_gains(order, on_fit[neuron], on_eval[neuron], labels) / total[neuron]
        fits.order[neuron, : len(order)] = order
        fits.gains[neuron, : len(order)] = gains
        fits.reach[neuron] = np.maximum(gains, 0.0).sum()
        fits.effective[neuron] = effective_number(gains, labels.similarity[np.ix_(order, order)], LEAST_REACH)
    return fits


def held_out_gains(
    order: Int[ndarray, "k"], on_fit: Float[ndarray, "l"], on_eval: Float[ndarray, "l"], labels: SampledLabels
) -> Float[ndarray, "k"]:
    """What the eval sum of squared errors falls by with each further label, all coefficients of the fit tokens."""
    explained = [0.0]
    gram_fit = labels.gram_fit[np.ix_(order, order)] + np.eye(len(order))
    gram_eval = labels.gram_eval[np.ix_(order, order)]
    for k in range(1, len(order) + 1):
        w = np.linalg.solve(gram_fit[:k, :k], on_fit[order[:k]])
        explained.append(float(2 * w @ on_eval[order[:k]] - w @ gram_eval[:k, :k] @ w))
    return np.diff(explained)


def fit_block(
    activations: Float[Tensor, "t n"], median: Float[ndarray, " n"], labels: SampledLabels, is_fit: ndarray
) -> Fits:
    """`fit_labels` of rectified activations, AT_ONCE neurons at a time. Overwrites the activations."""
    y = rectified(activations, median)
    fits = nothing(y.shape[1])
    halves = [torch.from_numpy(np.flatnonzero(half)) for half in (is_fit, ~is_fit)]
    for first in range(0, y.shape[1], AT_ONCE):
        neurons = slice(first, first + AT_ONCE)
        y_fit, y_eval = (y[:, neurons].index_select(0, half).double().numpy() for half in halves)
        fits.put(neurons, fit_labels(y_fit, y_eval, labels))
    return fits


def fit_all(acts: Activations, labels: SampledLabels) -> Fits:
    """The labels of every neuron; `nothing` for those that are dead or rare."""
    is_fit = np.asarray(acts.tokens.is_fit, dtype=np.bool_)
    fits = nothing(acts.n_neurons)
    for neurons, activations in scored_blocks(acts):
        fits.put(neurons, fit_block(activations, acts.moments.median[neurons], labels, is_fit))
    return fits


def half_of(families: Iterable[str], other: bool = False) -> frozenset[str]:
    """Half of some families (the larger half where they are odd), by a hash of their names; or the other half."""
    ranked = sorted(set(families), key=lambda family: sha256(f"half-of-families/{family}".encode()).hexdigest())
    middle = (len(ranked) + 1) // 2
    return frozenset(ranked[middle:] if other else ranked[:middle])


class Labelled(NeuronScore):
    """1 / effective number of labels, between 1/8 and 1; NaN where labels explain too little of a neuron.

    A neuron has a score where its labels reach LEAST_SHARE of what K_eff's first N_COMPARED rules do (and those
    LEAST_REACH). The number of rules is the same for every neuron: a list of dozens reaches what no label could.

    Cost: 2.8 s per 256 neurons and 190 k tokens with 450 labels, and once a sample 1.6 s for products of labels, one
    thread of an Intel Xeon with AVX-512; K_eff's fit beside it, if K_eff is not asked for as well.

    Known failures: a neuron about one thing that several labels state in part and none whole (months, in a bank of
    single words) counts as several; a neuron about two things, one of them in the bank, counts as one if that one
    carries LEAST_SHARE; the score ignores labels that keep a neuron silent.
    """

    name = "labelled"
    title = "labelled features"
    number = 6
    rank = "labelled"
    about = About(
        definition="effective number of labels of a bank of known features that explain it; score one over it",
        cost="2.8 (+ 1.6 a layer)",
        null="held-out gains; scored only where labels reach 0.7 of what rules do",
        fails="one thing that the bank knows in parts counts as several",
    )
    needs = ("sample", "text", "labels")
    verdict = Verdict(
        column="labelled_mono",
        value="labelled",
        threshold=1 / MONO,
        at_most=False,
        meaning=f"Labelled features: the effective number of labels that explain a neuron is at most {MONO}.",
        shown=False,
    )

    def __init__(self, families: Collection[str] | None = None, half: int | None = None) -> None:
        """Uses all labels, those of some families, or of half of the bank's families (0, or 1: the other half)."""
        self.families, self.half = None if families is None else frozenset(families), half
        self._sampled: tuple[LabelBank, TokenSample, SampledLabels] | None = None

    @property
    def knowing_less(self) -> dict[str, NeuronScore]:
        """With half of the families of labels missing, by a hash of their names, and with the other half missing."""
        return {"half of the families missing": Labelled(half=0), "the other half missing": Labelled(half=1)}

    def table(self, acts: Activations) -> pl.DataFrame:
        """labelled, labelled_mono, labelled_reach, and the four labels that explain most, with their gains."""
        labels = self.sampled_labels(acts)
        fits = fit_all(acts, labels)
        score = self._scores(acts, fits)
        columns = {
            "labelled": pl.Series(score, dtype=pl.Float64),
            "labelled_mono": pl.Series(verdicts(1 / score, MONO), dtype=pl.Boolean),
            "labelled_reach": pl.Series(fits.reach, dtype=pl.Float64),
        }
        by_gain = np.argsort(-np.nan_to_num(fits.gains, nan=-np.inf), axis=1, kind="stable")
        order, gains = (np.take_along_axis(values, by_gain, axis=1) for values in (fits.order, fits.gains))
        for rank in range(N_SHOWN):
            names = [labels.names[label] if label >= 0 else None for label in order[:, rank].tolist()]
            columns[f"labelled_{rank + 1}"] = pl.Series(names, dtype=pl.String)
            columns[f"labelled_gain_{rank + 1}"] = pl.Series(gains[:, rank], dtype=pl.Float64)
        return pl.DataFrame(columns)

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """The held-out gain of one set of tokens: fitted on one half of the tokens, judged on the other, both ways.

        Halves by a hash of the place in the arrays. NaN where y does not vary or the set holds none or all of a half.
        """
        half = position_hash(np.arange(len(y))) % np.uint64(2) == 0
        gains = []
        for fit in (half, ~half):
            n, mean = int(covered[fit].sum()), float(y[fit].mean()) if fit.any() else 0.0
            residual = y[~fit] - mean
            total, share = float(np.square(residual).sum()), n / max(int(fit.sum()), 1)
            if total <= 0 or not 0 < share < 1:
                return float("nan")
            w = float((y[fit] - mean) @ covered[fit]) / (n * (1 - share) + 1)
            centred = covered[~fit] - share
            gains.append(float(2 * w * residual @ centred - w * w * centred @ centred) / total)
        return float(np.mean(gains))

    def toy(self, y: Float[ndarray, "t n"], features: Bool[ndarray, "t f"]) -> Float[ndarray, " n"]:
        """The score with a toy's own features for labels; NaN where they explain less than LEAST_REACH."""
        is_fit = np.arange(len(y)) % 2 == 0
        names = [f"feature {index}" for index in range(features.shape[1])]
        labels = SampledLabels.of(names, sp.csc_array(features.astype(np.float64)), is_fit)
        activations = torch.from_numpy(y.astype(np.float32))
        return 1.0 / fit_block(activations, np.median(y, axis=0), labels, is_fit).effective

    def sampled_labels(self, acts: Activations) -> SampledLabels:
        """The labels on the sample of `acts`; kept until the next call with another bank or sample."""
        bank = bank_of(acts)
        if self._sampled is None or self._sampled[0] is not bank or self._sampled[1] is not acts.tokens:
            of_half = None if self.half is None else half_of((label.family for label in bank.labels), bool(self.half))
            self._sampled = bank, acts.tokens, SampledLabels.on(bank, acts.tokens, of_half or self.families)
        return self._sampled[2]

    def _scores(self, acts: Activations, fits: Fits) -> Float[ndarray, " n"]:
        needed = np.array([fitted.list.reach_of(N_COMPARED) for fitted in label_free(acts)])
        scorable = (needed >= LEAST_REACH) & (fits.reach >= LEAST_SHARE * needed)
        return np.where(scorable, 1.0 / fits.effective, np.nan)


SCORE = Labelled()
