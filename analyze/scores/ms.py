"""MS: how alike the contexts are in which a neuron fires, as a mean over pairs of its firings.

Source of the idea: the "monosemanticity score" of Pach et al., "Sparse Autoencoders Learn Monosemantic Features in
Vision-Language Models", 2025: the mean similarity of inputs, each pair weighed by both activations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import blocks
from analyze.activations.store import SCORED, Activations
from analyze.activations.strong_firings import FEWEST_DOCUMENTS, strong_firings
from analyze.scores.base import About, NeuronScore
from analyze.scores.blocks import joined
from analyze.text.context_vectors import Contexts, contexts_of
from analyze.text.embeddings import unit_rows

_PIECE = 4096
_TIE = 9
"""Decimals of a value that count when views are compared: two views of one token both give 1."""

Vectors = Callable[[slice], Float[ndarray, "k views d"]]


@dataclass(frozen=True)
class PairSums:
    """The sums that give the mean cosine over pairs of different documents, of each neuron; all fp64.

    With w the weights, e the vectors and d the documents: S = sum w e, the sum over d of |S_d|^2, and for each
    document A_d = sum w and Q_d = sum w^2.
    """

    s: Float[ndarray, "n views d"]
    within: Float[ndarray, "n views"]
    mass: Float[ndarray, "documents n"]
    squares: Float[ndarray, "documents n"]

    @cached_property
    def pairs(self) -> Float[ndarray, " n"]:
        """A^2 - sum_d A_d^2: the weight of all pairs."""
        return self.mass.sum(axis=0) ** 2 - (self.mass**2).sum(axis=0)

    @cached_property
    def n_documents(self) -> Int[ndarray, " n"]:
        """Documents with any weight."""
        return (self.mass > 0).sum(axis=0)

    @cached_property
    def cosine(self) -> Float[ndarray, "n views"]:
        """(|S|^2 - sum_d |S_d|^2) / (A^2 - sum_d A_d^2); NaN where no two documents have weight."""
        above = np.square(self.s).sum(axis=2) - self.within
        known = (self.n_documents > 1)[:, None]
        return np.where(known, above / np.where(known, self.pairs[:, None], 1.0), np.nan)


def pair_sums(weights: Float[Tensor, "t n"], vectors: Vectors, document: Int[ndarray, "t"]) -> PairSums:
    """The sums of a block of neurons over tokens whose documents follow one another.

    Args:
        weights: 0 or more.
        vectors: gives the vectors of a slice of the tokens, [tokens views d].
        document: of each token, ascending.
    """
    bounds = np.flatnonzero(np.diff(document, prepend=-1, append=-1))
    n, (_, views, d) = weights.shape[1], vectors(slice(0, 0)).shape
    s = torch.zeros(n, views * d, dtype=torch.float64)
    within = torch.zeros(n, views, dtype=torch.float64)
    mass, squares = (np.zeros((max(len(bounds) - 1, 0), n)) for _ in range(2))
    for first, stop in _pieces(bounds):
        start = int(bounds[first])
        flat = torch.from_numpy(vectors(slice(start, int(bounds[stop])))).flatten(1)
        for index in range(first, stop):
            begin, end = int(bounds[index]), int(bounds[index + 1])
            w = weights[begin:end].double()
            of_document = w.T @ flat[begin - start : end - start]
            s += of_document
            within += of_document.view(n, views, d).square_().sum(dim=2)
            mass[index] = w.sum(dim=0).numpy()
            squares[index] = w.square_().sum(dim=0).numpy()
    return PairSums(s.view(n, views, d).numpy(), within.numpy(), mass, squares)


def _pieces(bounds: Int[ndarray, "_"]) -> Iterator[tuple[int, int]]:
    """(first, stop) of runs of whole documents, about _PIECE tokens each."""
    first = 0
    while first < len(bounds) - 1:
        stop = int(np.searchsorted(bounds, bounds[first] + _PIECE, side="right")) - 1
        stop = max(stop, first + 1)
        yield first, stop
        first = stop


@dataclass(frozen=True)
class ContextNull:
    """The mean cosine of random contexts in each view, and the variance of one pair in two parts.

    A firing token keeps its weight and its document, and gets the context of a random token of the half (in the
    document view each document gets one context, since its tokens share one). A mean over pairs is a U-statistic
    (Hoeffding, 1948). With e the vectors, m their mean and e' a second draw: `one` = Var(e . m), the part that one
    member of a pair contributes, and `two` = E (e . e')^2 - |m|^4 - 2 Var(e . m), the rest.
    """

    mean: Float[ndarray, " views"]
    one: Float[ndarray, " views"]
    two: Float[ndarray, " views"]
    is_shared: Bool[ndarray, " views"]
    """Views in which all tokens of a document have one context."""

    def sd(self, sums: PairSums) -> Float[ndarray, "n views"]:
        """Standard deviation of `sums.cosine` under this null."""
        total = sums.mass.sum(axis=0)
        out = np.zeros((len(total), len(self.mean)))
        for shared in (False, True):
            q = sums.mass**2 if shared else sums.squares
            alone = (q * (total - sums.mass) ** 2).sum(axis=0)
            joint = q.sum(axis=0) ** 2 - (q**2).sum(axis=0)
            chosen = self.is_shared == shared
            out[:, chosen] = 4 * alone[:, None] * self.one[chosen] + 2 * joint[:, None] * self.two[chosen]
        known = (sums.n_documents > 1)[:, None]
        return np.where(known, np.sqrt(np.maximum(out, 0)) / np.where(known, sums.pairs[:, None], 1.0), np.nan)


def mean_null(vectors: Vectors, document: Int[ndarray, "t"]) -> Float[ndarray, " views"]:
    """The mean cosine over all pairs of tokens in different documents.

    If a neuron's weights go to random tokens, every pair is equally likely. So this is the expected numerator of MS
    over its expected denominator, whatever the weights.
    """
    return pair_sums(torch.ones(len(document), 1), vectors, document).cosine[0]


def null_of(vectors: Vectors, document: Int[ndarray, "t"], is_shared: Bool[ndarray, " views"]) -> ContextNull:
    """The null of some tokens."""
    mean = mean_null(vectors, document)
    _, views, d = vectors(slice(0, 0)).shape
    second, m = np.zeros((views, d, d)), np.zeros((views, d))
    for first in range(0, len(document), _PIECE):
        by_view = torch.from_numpy(vectors(slice(first, first + _PIECE))).transpose(0, 1)
        second += (by_view.transpose(1, 2) @ by_view).numpy() / len(document)
        m += by_view.sum(dim=1).numpy() / len(document)
    squared = np.square(m).sum(axis=1) ** 2
    one = np.maximum(np.einsum("vi,vij,vj->v", m, second, m) - squared, 0)
    two = np.maximum(np.square(second).sum(axis=(1, 2)) - squared - 2 * one, 0)
    return ContextNull(mean, one, two, is_shared)


@dataclass(frozen=True)
class SampledTokens:
    """Where sampled tokens lie; equal to others where the digests are equal, so they can be the key of a cache."""

    digest: bytes
    positions: Int[ndarray, "t"] = field(compare=False)
    document: Int[ndarray, "t"] = field(compare=False)
    is_fit: Bool[ndarray, "t"] = field(compare=False)

    @classmethod
    def of(cls, acts: Activations) -> "SampledTokens":
        """Those of a layer's sample."""
        positions, document = (
            np.asarray(values, np.int64) for values in (acts.tokens.stream_position, acts.tokens.document)
        )
        is_fit = np.asarray(acts.tokens.is_fit, np.bool_)
        digest = sha256(b"".join(values.tobytes() for values in (positions, document, is_fit))).digest()
        return cls(digest, positions, document, is_fit)


@dataclass(frozen=True)
class Half:
    """The tokens of the fit or of the eval half."""

    tokens: Int[ndarray, "h"]
    """Indices into the sample, documents one after another."""
    document: Int[ndarray, "h"]
    vectors: Vectors

    @classmethod
    def of(cls, contexts: Contexts, tokens: SampledTokens, is_fit: bool) -> "Half":
        """The fit or the eval half of a sample."""
        chosen = np.flatnonzero(tokens.is_fit == is_fit)
        chosen = chosen[np.argsort(tokens.document[chosen], kind="stable")]
        positions = tokens.positions[chosen]
        width = max(view.table.shape[1] for view in contexts.views)

        def vectors(piece: slice) -> Float[ndarray, "k views d"]:
            at = positions[piece]
            out = np.zeros((len(at), len(contexts.views), width))
            for number, view in enumerate(contexts.views):
                out[:, number, : view.table.shape[1]] = view.vectors(at)
            return out

        return cls(chosen, tokens.document[chosen], vectors)

    def sums(self, weights: Float[Tensor, "t n"]) -> PairSums:
        """The sums of a block of neurons, whose weights are of all sampled tokens."""
        return pair_sums(weights[torch.from_numpy(self.tokens)], self.vectors, self.document)


@dataclass(frozen=True)
class MsFigures:
    """MS of every neuron: the view chosen on fit documents (-1: not scored), its eval figures (NaN there)."""

    view: Int[ndarray, " n"]
    raw: Float[ndarray, " n"]
    null: Float[ndarray, " n"]
    z: Float[ndarray, " n"]
    n_documents: Int[ndarray, " n"]
    """Eval documents with strong firings."""

    @property
    def ms(self) -> Float[ndarray, " n"]:
        """The mean cosine above its null."""
        return self.raw - self.null


def judge(fit: PairSums, fit_null: Float[ndarray, " views"], held_out: PairSums, null: ContextNull) -> MsFigures:
    """Choose each neuron's view by its mean cosine above the null on fit documents; take its eval value."""
    enough = (fit.n_documents >= FEWEST_DOCUMENTS) & (held_out.n_documents >= FEWEST_DOCUMENTS)
    above = np.where(enough[:, None], np.round(fit.cosine - fit_null, _TIE), 0.0)
    view = np.argmax(above, axis=1)
    at = np.arange(len(view))
    raw, sd = held_out.cosine[at, view], null.sd(held_out)[at, view]
    z = (raw - null.mean[view]) / np.where(sd > 0, sd, np.nan)
    raw, chance, z = (np.where(enough, values, np.nan) for values in (raw, null.mean[view], z))
    return MsFigures(np.where(enough, view, -1), raw, chance, z, held_out.n_documents)


@lru_cache(maxsize=2)
def nulls_of(contexts: Contexts, tokens: SampledTokens) -> tuple[Float[ndarray, " views"], ContextNull]:
    """The mean cosine of random fit tokens, and the null of the eval tokens.

    The last two are kept: a layer, its nulls and other runs on the same sample share them.
    """
    fit, held_out = (Half.of(contexts, tokens, is_fit) for is_fit in (True, False))
    shared = np.array([name == "document" for name in contexts.names])
    return mean_null(fit.vectors, fit.document), null_of(held_out.vectors, held_out.document, shared)


def find_all(acts: Activations, contexts: Contexts) -> MsFigures:
    """MS of every neuron of a layer; not scored for those that are dead or rare."""
    tokens = SampledTokens.of(acts)
    fit, held_out = (Half.of(contexts, tokens, is_fit) for is_fit in (True, False))
    fit_null, null = nulls_of(contexts, tokens)
    parts = []
    for first, stop in blocks(acts.n_neurons):
        weights = strong_firings(acts.block(first, stop), acts.moments.median[first:stop], acts.tokens.is_fit)
        weights *= torch.from_numpy(acts.moments.status[first:stop] == SCORED)
        parts.append(judge(fit.sums(weights), fit_null, held_out.sums(weights), null))
    return joined(parts)


class Ms(NeuronScore):
    """Mean cosine of the contexts of two strong firings in different documents, above that of random tokens.

    Formula: with w = a [a > 0.25 max a], a = max(activation - median, 0), and e the vectors of one view of the context
    (`analyze.text.context_vectors`), MS = (|S|^2 - sum_d |S_d|^2) / (A^2 - sum_d A_d^2), S = sum w e, A = sum w, S_d
    and A_d the same within document d; the best of five views on the fit documents, its value on the eval documents,
    minus the same for random tokens of equal weights (exact, see `null_of`). `ms_z` is that difference in standard
    deviations of the null. At most 1, and 0 for random sets of tokens.

    Known failures: it measures how broad a neuron is as well as whether it is one thing, so a neuron of one broad
    feature ("digits", "in code") scores below a neuron that answers to two similar tokens. Features of unlike strength
    look like the stronger one (a second at half the strength of the first gives a fifth of the like pairs). An outlier
    as the maximum leaves few strong firings. z takes firings for independent: runs of firings within a document, and
    windows that overlap, make it too large.

    Nothing was tuned. On the planted neurons for tuning, a threshold of half the maximum had neurons with one strong
    feature among several the wrong way round (AUROC .32, against .67 at a quarter); choosing the view by other scales,
    or leaving views out, moved the symmetric case from .72 to between .65 and .73.

    Cost: 3.2 s per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512, however dense they fire;
    and 1.6 s a sample and data directory for the null and the views.
    """

    name = "ms"
    title = "MS"
    number = 3
    rank = "ms"
    about = About(
        definition="weighted mean cosine of contexts of strong firings in different documents, best of five views",
        cost="3.2 (+ 1.6 a layer)",
        null="the same for random tokens of equal weights, exact, subtracted",
        fails="broad features score below two narrow ones alike; interference; falls with firing rate",
    )
    needs = ("sample", "text")

    def table(self, acts: Activations) -> pl.DataFrame:
        """ms, the view it was taken in, its value and its null there, z, and the eval documents it rests on."""
        contexts = contexts_of(acts)
        figures = find_all(acts, contexts)
        views = [contexts.names[view] if view >= 0 else None for view in figures.view.tolist()]
        return pl.DataFrame(
            {
                "ms": pl.Series(figures.ms, dtype=pl.Float64),
                "ms_view": pl.Series(views, dtype=pl.String),
                "ms_raw": pl.Series(figures.raw, dtype=pl.Float64),
                "ms_null": pl.Series(figures.null, dtype=pl.Float64),
                "ms_z": pl.Series(figures.z, dtype=pl.Float64),
                "ms_documents": pl.Series(figures.n_documents, dtype=pl.Int32),
            }
        )

    def toy(self, y: Float[ndarray, "t n"], features: Bool[ndarray, "t f"]) -> Float[ndarray, " n"]:
        """MS of a toy's neurons: a sample is a document, and its active features are the only view."""
        is_fit = np.arange(len(y)) % 2 == 0
        weights = strong_firings(torch.from_numpy(y.astype(np.float32)), np.median(y, axis=0), is_fit)[1::2].double()
        active = features.astype(np.float64)
        e = torch.from_numpy(unit_rows(active - active.mean(axis=0))[1::2].copy())
        s, total = weights.T @ e, weights.sum(dim=0)
        own = weights.square()
        pairs = (total.square() - own.sum(dim=0)).numpy()
        length = e.square().sum(dim=1)
        above = (s.square().sum(dim=1) - own.T @ length).numpy()
        random = float((e.sum(dim=0).square().sum() - length.sum()) / (len(e) * (len(e) - 1)))
        enough = (weights > 0).sum(dim=0).numpy() >= FEWEST_DOCUMENTS
        return np.where(enough, above / np.where(enough, pairs, 1.0) - random, np.nan)


SCORE = Ms()
