"""Probes of one label on one layer: sparse ones of growing size, the best neuron, the dense probe, shifted labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.metrics import average_precision, best_f1_threshold
from analyze.probing.columns import Columns, Layer, thinned
from analyze.probing.intervals import Called, DocumentBootstrap, Interval, called
from analyze.probing.logistic import Logistic, fit_logistic, half_balanced
from analyze.scores.forward_selection import forward_selection

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FEWEST_DOCUMENTS = 30
"""A label needs this many documents in either half."""
FIT_TOKENS = 2**15
"""Tokens that a probe is fitted on. The larger class is thinned by a hash; each of its tokens then counts for more."""
SINGLES = 32
"""The best single neuron is one of this many, those with the largest correlation."""
SHIFTS = 5
"""Shifted labels, which show what chance makes of as many neurons."""
ENOUGH = 0.9
"""Share of the dense probe's AUPRC above the base rate that a sparse probe must reach."""
_RIDGE = 1e-3


@dataclass(frozen=True)
class Probe:
    """One probe, judged on eval tokens."""

    kind: str
    """sparse, single or dense."""
    neurons: tuple[int, ...]
    """In the order in which they were chosen; empty for a dense probe."""
    k: int
    auprc: float
    auprc_interval: Interval
    called: Called
    f1_interval: Interval


@dataclass(frozen=True)
class Shifted:
    """AUPRC and F1 of sparse probes of shifted labels, one value for each."""

    k: int
    auprc: tuple[float, ...]
    f1: tuple[float, ...]


@dataclass(frozen=True)
class Support:
    """How often a label occurs."""

    documents_fit: int
    documents_eval: int
    tokens_fit: int
    tokens_eval: int
    base_rate: float
    """Share of the eval tokens: the AUPRC of a probe that knows nothing."""

    @property
    def is_enough(self) -> bool:
        """Whether both halves have FEWEST_DOCUMENTS documents with the label, and eval tokens without it."""
        fewest = min(self.documents_fit, self.documents_eval)
        return fewest >= FEWEST_DOCUMENTS and 0 < self.base_rate < 1

    @classmethod
    def of(cls, layer: Layer, y: Bool[ndarray, "t"]) -> "Support":
        """Count the tokens and documents of a label on the tokens of a layer."""
        halves = slice(layer.n_fit), slice(layer.n_fit, None)
        documents = [len(np.unique(layer.document[half][y[half]])) for half in halves]
        tokens = [int(y[half].sum()) for half in halves]
        base_rate = tokens[1] / max(len(y) - layer.n_fit, 1)
        return cls(documents[0], documents[1], tokens[0], tokens[1], base_rate)


@dataclass(frozen=True)
class Probed:
    """All probes of one label; none where it occurs too rarely."""

    support: Support
    sparse: tuple[Probe, ...] = ()
    single: Probe | None = None
    dense: Probe | None = None
    shifted: tuple[Shifted, ...] = ()

    @property
    def sparsity(self) -> int | None:
        """The smallest k whose probe reaches ENOUGH of the dense probe's AUPRC above the base rate.

        None where no k does, or where the dense probe itself is no better than the best shifted label.
        """
        if self.dense is None or not self.is_there:
            return None
        base = self.support.base_rate
        needed = base + ENOUGH * (self.dense.auprc - base)
        return next((probe.k for probe in self.sparse if probe.auprc >= needed), None)

    @property
    def is_there(self) -> bool:
        """Whether the dense probe can tell the label at all: better than every probe of a shifted label."""
        chance = max((value for each in self.shifted for value in each.auprc), default=self.support.base_rate)
        return self.dense is not None and self.dense.auprc > max(chance, self.support.base_rate)


@dataclass(frozen=True)
class _FitTokens:
    """The tokens that a probe is fitted on, how many tokens each stands for, and the label there."""

    index: Int[ndarray, "s"]
    counts: Float[ndarray, "s"]
    y: Bool[ndarray, "s"]

    @classmethod
    def of(cls, columns: Columns, y: Bool[ndarray, "t"]) -> "_FitTokens":
        on_fit = y[: columns.n_fit]
        classes = np.flatnonzero(on_fit), np.flatnonzero(~on_fit)
        fewest = min(len(classes[0]), len(classes[1]), FIT_TOKENS // 2)
        kept = [thinned(tokens, max(FIT_TOKENS // 2, FIT_TOKENS - fewest)) for tokens in classes]
        index = np.concatenate(kept)
        counts = np.concatenate([np.full(len(few), len(tokens) / len(few)) for few, tokens in zip(kept, classes)])
        order = np.argsort(index, kind="stable")
        return cls(index[order], counts[order], y[index[order]])


def probe_label(
    layer: Layer, y: Bool[ndarray, "t"], ks: Sequence[int] = KS, shifts: int = SHIFTS, seed: int = 0
) -> Probed:
    """Sparse probes of every size in `ks`, the best neuron, the dense probe, and probes of shifted labels.

    Forward selection of least squares on the label chooses neurons on fit documents (orthogonalised gains,
    `forward_selection`). Its first step takes the largest correlation, that is, the largest standardised mean
    difference. A logistic regression with half-balanced classes is fitted on the chosen neurons; its threshold gives
    the largest F1 on the fit tokens. All figures are of eval documents. Gurnee et al. (Finding Neurons in a Haystack,
    TMLR 2023, section 3) choose by mean difference and by adaptive thresholding instead.

    A shifted label is the same label moved along the corpus by a random stretch: as frequent and as bunched, on other
    tokens. Neurons are chosen and probes are fitted anew for it.

    Cost: 2 to 3 s with 256 neurons, 248 k tokens and five shifts, one thread of an Intel Xeon with AVX-512. In a layer
    wider than `Limits.neurons`, neurons are ranked and their products taken anew for the label and for each shift: 16 s
    each, 1.8 GB.

    Args:
        y: which tokens of the layer have the label.
        seed: of the shifts and of the bootstrap over documents.
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
    return Probed(
        support,
        tuple(fitting.judged("sparse", k, answer, bootstrap) for k, answer in fitting.sparse(ks).items()),
        fitting.judged("single", 1, fitting.single(), bootstrap),
        fitting.judged("dense", len(columns.neurons), fitting.dense(), bootstrap),
        _shifted(layer, y, ks, shifts, np.random.default_rng(seed)),
    )


def _shifted(
    layer: Layer, y: Bool[ndarray, "t"], ks: Sequence[int], shifts: int, rng: np.random.Generator
) -> tuple[Shifted, ...]:
    """Sparse probes of the label moved along the corpus, `shifts` times."""
    figures: dict[int, list[tuple[float, float]]] = {k: [] for k in ks}
    for _ in range(shifts):
        # By a twentieth of the corpus at least, or the shifted label is nearly the label itself.
        moved = layer.moved(y, int(rng.integers(len(y) // 20, len(y) - len(y) // 20)))
        on_eval = moved[layer.n_fit :]
        if not moved[: layer.n_fit].any() or not on_eval.any():
            continue
        for k, answer in _Fitting(layer.columns_for(moved), moved, ks[-1]).sparse(ks).items():
            f1 = called(answer.on_eval, on_eval, answer.threshold).f1
            figures[k].append((average_precision(answer.on_eval, on_eval), f1))
    return tuple(
        Shifted(k, tuple(auprc for auprc, _ in pairs), tuple(f1 for _, f1 in pairs)) for k, pairs in figures.items()
    )


@dataclass(frozen=True)
class _Answer:
    """A probe's value on every eval token, and the threshold from which it calls a token positive."""

    neurons: tuple[int, ...]
    on_eval: Float[ndarray, "e"]
    threshold: float


class _Fitting:
    """What all probes of one label share: the tokens, and the neurons in the order in which they were chosen."""

    def __init__(self, columns: Columns, y: Bool[ndarray, "t"], most: int) -> None:
        self._columns, self._y = columns, y
        self._tokens = _FitTokens.of(columns, y)
        self._weights, self._n_effective = half_balanced(self._tokens.y, self._tokens.counts)
        self._products = columns.correlations(y[:, None])
        order = forward_selection(columns.gram, self._products, most, ridge=_RIDGE).order[0]
        self._order = order[order >= 0]

    def sparse(self, ks: Sequence[int]) -> dict[int, _Answer]:
        """The probe on the first k neurons for every k, or on fewer where the others add nothing."""
        on_fit = self._columns.standardised(self._order, self._tokens.index)
        w = np.zeros((len(ks), len(self._order)))
        for row, k in enumerate(ks):
            fitted = self._fit(on_fit[:k])
            w[row, : len(fitted.w)] = fitted.w
        answers_fit = (torch.from_numpy(w).float() @ on_fit).double().numpy()
        answers_eval = self._columns.on_eval(w, self._order)
        return {k: self._answer(self._order[:k], answers_fit[row], answers_eval[row]) for row, k in enumerate(ks)}

    def single(self) -> _Answer:
        """The neuron with the largest AUPRC on fit tokens, of the SINGLES with the largest correlations."""
        best = np.argsort(-np.abs(self._products[0]), kind="stable")[:SINGLES]
        sign = np.where(self._products[0][best] < 0, -1.0, 1.0)
        on_fit = self._columns.standardised(best, self._tokens.index).double().numpy() * sign[:, None]
        top = int(np.argmax([average_precision(row, self._tokens.y, self._tokens.counts) for row in on_fit]))
        chosen = best[top : top + 1]
        return self._answer(chosen, on_fit[top], self._columns.on_eval(sign[top].reshape(1, 1), chosen)[0])

    def dense(self) -> _Answer:
        """The probe on every neuron of the columns."""
        every = np.arange(len(self._columns.neurons))
        on_fit = self._columns.standardised(every, self._tokens.index)
        w = self._fit(on_fit).w
        answer_fit = (torch.from_numpy(w).float() @ on_fit).double().numpy()
        return self._answer(every[:0], answer_fit, self._columns.on_eval(w[None], every)[0])

    def judged(self, kind: str, k: int, answer: _Answer, bootstrap: DocumentBootstrap) -> Probe:
        """A probe with its figures on eval tokens."""
        y = self._y[self._columns.n_fit :]
        return Probe(
            kind=kind,
            neurons=answer.neurons,
            k=k,
            auprc=average_precision(answer.on_eval, y),
            auprc_interval=bootstrap.auprc(answer.on_eval),
            called=called(answer.on_eval, y, answer.threshold),
            f1_interval=bootstrap.f1(answer.on_eval, answer.threshold),
        )

    def _fit(self, on_fit: Float[Tensor, "k s"]) -> Logistic:
        return fit_logistic(on_fit, self._tokens.y, self._weights, 1 / self._n_effective)

    def _answer(self, rows: Int[ndarray, "k"], on_fit: Float[ndarray, "s"], on_eval: Float[ndarray, "e"]) -> _Answer:
        threshold = best_f1_threshold(on_fit, self._tokens.y, self._tokens.counts)
        return _Answer(tuple(self._columns.neurons[rows].tolist()), on_eval, threshold)
