"""One label on one layer: sparse probes of growing size, the best neuron, the dense probe, and shifted labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.metrics import average_precision, best_f1_threshold
from analyze.probing.columns import Columns, Layer, thinned
from analyze.probing.logistic import Logistic, fit_logistic, half_balanced
from analyze.probing.precision import Called, DocumentBootstrap, Interval, called
from analyze.scores.forward_selection import forward_selection

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FEWEST_DOCUMENTS = 30
"""A label needs so many documents in either half."""
FIT_TOKENS = 2**15
"""Tokens a probe is fitted on, of the larger class those with the least hash; each stands for as many as it should."""
SINGLES = 32
"""Neurons, those with the largest correlation, among which the best single one is looked for."""
SHIFTS = 5
"""Shifted labels that say what chance makes of as many neurons."""
ENOUGH = 0.9
"""Share of the dense probe's AUPRC above the base rate that a sparse probe must reach."""
_RIDGE = 1e-3


@dataclass(frozen=True)
class Probe:
    """One probe, judged on eval tokens."""

    kind: str
    """sparse, single, dense or shifted."""
    neurons: tuple[int, ...]
    """In the order taken; of a dense probe none are named."""
    k: int
    auprc: float
    auprc_interval: Interval
    called: Called
    f1_interval: Interval


@dataclass(frozen=True)
class Shifted:
    """AUPRC and F1 of sparse probes of labels that were moved along the corpus, one a draw."""

    k: int
    auprc: tuple[float, ...]
    f1: tuple[float, ...]


@dataclass(frozen=True)
class Support:
    """How much of a label there is."""

    documents_fit: int
    documents_eval: int
    tokens_fit: int
    tokens_eval: int
    base_rate: float
    """Of the eval tokens: the AUPRC of a probe that knows nothing."""

    @property
    def is_enough(self) -> bool:
        """Whether both halves have FEWEST_DOCUMENTS documents with the label, and tokens without it."""
        fewest = min(self.documents_fit, self.documents_eval)
        return fewest >= FEWEST_DOCUMENTS and 0 < self.base_rate < 1

    @classmethod
    def of(cls, layer: Layer, y: Bool[ndarray, "t"]) -> "Support":
        """Count tokens and documents of a label on the tokens of a layer."""
        halves = slice(layer.n_fit), slice(layer.n_fit, None)
        documents = [len(np.unique(layer.document[half][y[half]])) for half in halves]
        tokens = [int(y[half].sum()) for half in halves]
        base_rate = tokens[1] / max(len(y) - layer.n_fit, 1)
        return cls(documents[0], documents[1], tokens[0], tokens[1], base_rate)


@dataclass(frozen=True)
class Probed:
    """Everything about one label; without probes where there is too little of it."""

    support: Support
    sparse: tuple[Probe, ...] = ()
    single: Probe | None = None
    dense: Probe | None = None
    shifted: tuple[Shifted, ...] = ()

    @property
    def sparsity(self) -> int | None:
        """The smallest k whose probe reaches ENOUGH of the dense probe's AUPRC above the base rate.

        None where none does, or where the dense probe itself does no better than the best shifted label.
        """
        if self.dense is None or not self.is_there:
            return None
        base = self.support.base_rate
        needed = base + ENOUGH * (self.dense.auprc - base)
        return next((probe.k for probe in self.sparse if probe.auprc >= needed), None)

    @property
    def is_there(self) -> bool:
        """Whether the dense probe finds the label at all: better than every shifted one, of whatever size."""
        chance = max((value for each in self.shifted for value in each.auprc), default=self.support.base_rate)
        return self.dense is not None and self.dense.auprc > max(chance, self.support.base_rate)


@dataclass(frozen=True)
class _FitTokens:
    """The tokens a probe is fitted on, how many each stands for, and its label there."""

    index: Int[ndarray, "s"]
    counts: Float[ndarray, "s"]
    y: Bool[ndarray, "s"]

    @classmethod
    def of(cls, columns: Columns, y: Bool[ndarray, "t"]) -> "_FitTokens":
        on_fit = y[: columns.n_fit]
        inside, outside = np.flatnonzero(on_fit), np.flatnonzero(~on_fit)
        fewest = min(len(inside), len(outside), FIT_TOKENS // 2)
        kept = [thinned(each, max(FIT_TOKENS // 2, FIT_TOKENS - fewest)) for each in (inside, outside)]
        index = np.concatenate(kept)
        counts = np.concatenate([np.full(len(few), len(all_) / len(few)) for few, all_ in zip(kept, (inside, outside))])
        order = np.argsort(index, kind="stable")
        return cls(index[order], counts[order], y[index[order]])


def probe_label(
    layer: Layer,
    y: Bool[ndarray, "t"],
    ks: Sequence[int] = KS,
    shifts: int = SHIFTS,
    seed: int = 0,
) -> Probed:
    """Sparse probes of every size in `ks`, beside the best neuron, the dense probe and shifted labels.

    Neurons are chosen on fit documents by forward selection of least squares on the label (orthogonalised gains,
    `forward_selection`), which on its first step is the largest correlation, that is the standardised mean
    difference. On those chosen a logistic regression with balanced classes is fitted; its threshold is the one
    with the largest F1 on the fit tokens. All figures are of eval documents (Gurnee et al., Finding Neurons in a
    Haystack, TMLR 2023, section 3, whose choices by mean difference and by adaptive thresholding this stands beside).

    A shifted label is the same one moved along the corpus by a random stretch: as frequent, as bunched, and of
    other tokens. It is chosen for and fitted anew.

    Cost: 2 to 3 s with 256 neurons, 248 k tokens and five shifts, one thread of an Intel Xeon with AVX-512. Of a
    layer wider than MOST_NEURONS neurons are ranked and multiplied anew: 16 s for the label and for each shift, 1.8 GB.

    Args:
        y: which tokens of the layer have the label.
        seed: of the shifts and of the resampling of documents.
    """
    support = Support.of(layer, y)
    if not support.is_enough:
        return Probed(support)
    columns = layer.columns_for(y)
    ks = sorted({k for k in ks if k <= len(columns.neurons)})
    if not ks:
        return Probed(support)
    bootstrap = DocumentBootstrap(layer.document[layer.n_fit :], y[layer.n_fit :], seed=seed)
    fitting = _Fitting(columns, y, ks[-1])
    sparse = fitting.sparse(ks)
    return Probed(
        support,
        tuple(fitting.judged("sparse", k, score, bootstrap) for k, score in sparse.items()),
        fitting.judged("single", 1, fitting.single(), bootstrap),
        fitting.judged("dense", len(columns.neurons), fitting.dense(), bootstrap),
        _shifted(layer, y, ks, shifts, np.random.default_rng(seed)),
    )


def _shifted(
    layer: Layer, y: Bool[ndarray, "t"], ks: Sequence[int], shifts: int, rng: np.random.Generator
) -> tuple[Shifted, ...]:
    """Sparse probes of the label moved along the corpus, `shifts` times."""
    found: dict[int, list[tuple[float, float]]] = {k: [] for k in ks}
    for _ in range(shifts):
        # At least a twentieth of the corpus, so that no draw is nearly the label itself.
        moved = layer.moved(y, int(rng.integers(len(y) // 20, len(y) - len(y) // 20)))
        on_eval = moved[layer.n_fit :]
        if not moved[: layer.n_fit].any() or not on_eval.any():
            continue
        columns = layer.columns_for(moved)
        for k, score in _Fitting(columns, moved, ks[-1]).sparse(ks).items():
            auprc = average_precision(score.on_eval, on_eval)
            found[k].append((auprc, called(score.on_eval, on_eval, score.threshold).f1))
    return tuple(
        Shifted(k, tuple(auprc for auprc, _ in values), tuple(f1 for _, f1 in values)) for k, values in found.items()
    )


@dataclass(frozen=True)
class _Score:
    """What a probe says of the eval tokens, and from where it calls them positive."""

    neurons: tuple[int, ...]
    on_eval: Float[ndarray, "e"]
    threshold: float


class _Fitting:
    """Everything that probes of one label share: the tokens, the neurons in the order chosen, their values."""

    def __init__(self, columns: Columns, y: Bool[ndarray, "t"], most: int) -> None:
        self._columns, self._y = columns, y
        self._tokens = _FitTokens.of(columns, y)
        self._weights, self._worth = half_balanced(self._tokens.y, self._tokens.counts)
        self._products = columns.correlations(y[:, None])
        order = forward_selection(columns.gram, self._products, most, ridge=_RIDGE).order[0]
        self._order = order[order >= 0]

    def sparse(self, ks: Sequence[int]) -> dict[int, _Score]:
        """The probe on the first k neurons, for every k of `ks`; where fewer can be told apart, on those."""
        columns = self._columns
        on_fit = columns.standardised(self._order, self._tokens.index)
        gram = columns.gram[np.ix_(self._order, self._order)]
        fitted: dict[int, Logistic] = {}
        start = Logistic(np.zeros(0), 0.0)
        for k in ks:
            n = min(k, len(self._order))
            start = Logistic(np.append(start.w, np.zeros(n - len(start.w))), start.b)
            start = self._fit(on_fit[:n], gram[:n, :n], start)
            fitted[k] = start
        w = np.zeros((len(ks), len(self._order)))
        for row, one in enumerate(fitted.values()):
            w[row, : len(one.w)] = one.w
        said_fit = (torch.from_numpy(w).float() @ on_fit).double().numpy()
        said_eval = columns.on_eval(w, self._order)
        return {
            k: self._scored(columns.neurons[self._order[:k]], said_fit[row], said_eval[row])
            for row, k in enumerate(fitted)
        }

    def single(self) -> _Score:
        """The neuron with the largest AUPRC on fit tokens, of the SINGLES with the largest correlations."""
        columns, tokens = self._columns, self._tokens
        best = np.argsort(-np.abs(self._products[0]), kind="stable")[:SINGLES]
        sign = np.where(self._products[0][best] < 0, -1.0, 1.0)
        on_fit = columns.standardised(best, tokens.index).double().numpy() * sign[:, None]
        areas = [average_precision(each, tokens.y, tokens.counts) for each in on_fit]
        top = int(np.argmax(areas))
        taken = best[top : top + 1]
        return self._scored(columns.neurons[taken], on_fit[top], columns.on_eval(sign[top].reshape(1, 1), taken)[0])

    def dense(self) -> _Score:
        """The probe on every neuron of the columns."""
        columns = self._columns
        every = np.arange(len(columns.neurons))
        on_fit = columns.standardised(every, self._tokens.index)
        fitted = self._fit(on_fit, columns.gram, None)
        said = (torch.from_numpy(fitted.w).float() @ on_fit).double().numpy()
        return self._scored(columns.neurons[:0], said, columns.on_eval(fitted.w[None], every)[0])

    def judged(self, kind: str, k: int, score: _Score, bootstrap: DocumentBootstrap) -> Probe:
        """A probe with its figures on eval tokens."""
        y = self._y[self._columns.n_fit :]
        return Probe(
            kind=kind,
            neurons=score.neurons,
            k=k,
            auprc=average_precision(score.on_eval, y),
            auprc_interval=bootstrap.auprc(score.on_eval),
            called=called(score.on_eval, y, score.threshold),
            f1_interval=bootstrap.f1(score.on_eval, score.threshold),
        )

    def _fit(self, on_fit: Float[Tensor, "k s"], gram: Float[ndarray, "k k"], start: Logistic | None) -> Logistic:
        return fit_logistic(on_fit, self._tokens.y, self._weights, 1 / self._worth, gram, start)

    def _scored(self, neurons: Int[ndarray, "k"], on_fit: Float[ndarray, "s"], on_eval: Float[ndarray, "e"]) -> _Score:
        threshold = best_f1_threshold(on_fit, self._tokens.y, self._tokens.counts)
        return _Score(tuple(neurons.tolist()), on_eval, threshold)
