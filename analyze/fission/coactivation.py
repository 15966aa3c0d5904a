"""Coactivation of children and parents on the same tokens, streamed: firing levels first, then who fires with whom.

Values are rounded to bf16, as in the samples of `collect`, so that a neuron fires here exactly where it does there.
Memory does not grow with the tokens: it takes a k x k sum of products for the children of each parent, and the sums
of every child with every parent.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from analyze.activations.bf16_keys import from_sort_keys, key_below
from analyze.activations.moments import DEAD_SHARE, FIRING_SHARE
from analyze.activations.settings import DEFAULT
from analyze.activations.source import NeuronSource
from analyze.activations.store import TokenSample
from analyze.activations.token_sample import counted_tokens, document_halves
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.products import product

MATCHED = 32
"""Other parents that a child's overlap with its own parent is compared with: those whose firing rates are nearest.
Overlap with a random neuron is no null: two neurons that fire on half of all tokens meet on half of those anyway."""


@dataclass(frozen=True)
class FiringLevels:
    """Where each neuron fires, by the rule of `collect`: above 0.1 x the 99.99th percentile of fit tokens."""

    mean: Float[Tensor, "n"]
    """Over all tokens, fp64."""
    threshold: Float[Tensor, "n"]
    """The largest bf16 number that is not above the level: the neuron fires on a bf16 value that is greater."""
    dead: Bool[Tensor, "n"]
    """Range of fit activations at most 1e-6 x the layer's median range."""


class FiringLevelMeter:
    """First pass over one layer: sums, minima, and the few largest values that the 99.99th percentile needs."""

    def __init__(self, n_neurons: int, n_fit: int) -> None:
        # The percentile is the first value with at least 99.99 % of all at or below it: this many from the top.
        self._n_top = n_fit - max(math.ceil(0.9999 * n_fit - 1e-9), 1) + 1
        self._count = 0
        self._sum = torch.zeros(n_neurons, dtype=torch.float64)
        self._top = torch.full((n_neurons, self._n_top), -torch.inf)
        self._least = torch.full((n_neurons,), torch.inf)

    def update(self, values: Float[Tensor, "t n"], is_fit: Bool[Tensor, "t"]) -> None:
        """Add tokens, whose values are `as_sampled`."""
        self._count += len(values)
        self._sum += values.sum(0).double()
        fit = values[is_fit]
        if not len(fit):
            return
        torch.minimum(self._least, fit.amin(0), out=self._least)
        rising = (fit.amax(0) > self._top[:, -1]).nonzero().flatten()
        both = torch.cat((self._top[rising], fit[:, rising].T), dim=1)
        self._top[rising] = both.topk(self._n_top, dim=1).values

    def levels(self) -> FiringLevels:
        """Levels over all tokens that were added.

        Raises:
            BadInput: values that are not finite.
        """
        if not bool(self._sum.isfinite().all()):
            broken = (~self._sum.isfinite()).nonzero().flatten().tolist()
            raise BadInput(f"{len(broken)} neurons (first: {broken[0]}) give values that are not finite")
        p9999 = self._top[:, -1].double().numpy() + 0.0
        spread = (self._top[:, 0].double() - self._least.double()).numpy()
        moving = spread[spread > 0]
        dead = spread <= (DEAD_SHARE * np.median(moving) if len(moving) else 0.0)
        threshold = from_sort_keys(key_below(FIRING_SHARE * p9999))
        return FiringLevels(self._sum / self._count, torch.from_numpy(threshold).float(), torch.from_numpy(dead))


@dataclass(frozen=True)
class Coactivation:
    """What the second pass counted. On the last axis of `weight_with` and `correlation` the child's own parent comes
    first, then the MATCHED parents."""

    n_tokens: int
    fires: Float[np.ndarray, "parent child"]
    """Tokens on which each child fires."""
    parent_fires: Float[np.ndarray, "parent"]
    both: Float[np.ndarray, "parent child"]
    """Tokens on which a child and its parent both fire."""
    weight: Float[np.ndarray, "parent child"]
    """Sum of each child's activations where it fires."""
    weight_with: Float[np.ndarray, "parent child own_and_matched"]
    """The part of that sum on tokens where a parent fires."""
    correlation: Float[np.ndarray, "parent child own_and_matched"]
    """Pearson's, over all tokens; NaN where either does not vary."""
    siblings: Float[np.ndarray, "parent child child"]
    """Correlation among siblings; NaN where either does not vary."""


class CoactivationMeter:
    """Second pass: which children fire with which parents, and how the activations of siblings correlate.

    It takes all children with all parents, since one large product costs no more than picking the matched ones from
    every micro-batch: 16 bytes for each pair, 105 MB for 25,600 children of 256 parents.
    """

    def __init__(self, families: Int[np.ndarray, "parent child"], child: FiringLevels, parent: FiringLevels) -> None:
        self._families = torch.from_numpy(families)
        self.child, self._parent = child, parent
        n_parents, k = families.shape
        self._count = 0
        self._weight_with = torch.zeros(families.size, n_parents, dtype=torch.float64)
        self._products = torch.zeros(families.size, n_parents, dtype=torch.float64)
        self._siblings = torch.zeros(n_parents, k, k, dtype=torch.float64)
        self._fires, self._weight, self._both = torch.zeros(3, n_parents, k, dtype=torch.float64)
        self._parent_fires = torch.zeros(n_parents, dtype=torch.float64)
        self._parent_squares = torch.zeros(n_parents, dtype=torch.float64)

    def update(self, child: Float[Tensor, "t n"], parent: Float[Tensor, "t m"]) -> None:
        """Add tokens, whose values are `as_sampled`."""
        self._count += len(child)
        members = self._families.flatten()
        fires = (parent > self._parent.threshold).float()
        centred = parent - self._parent.mean.float()
        self._parent_fires += fires.sum(0).double()
        self._parent_squares += (centred * centred).sum(0).double()
        values = child.T.contiguous().index_select(0, members)
        own = values - self.child.mean.float()[members][:, None]
        self._products += product(own, centred)
        rows = own.view(*self._families.shape, -1)
        self._siblings += rows @ rows.mT
        on = (values > self.child.threshold[members][:, None]).float()
        weight = values.clamp_(min=0).mul_(on)
        self._weight_with += product(weight, fires)
        shape = (*self._families.shape, -1)
        self._weight += weight.view(shape).sum(-1).double()
        on = on.view(shape)
        self._fires += on.sum(-1).double()
        self._both += (on @ fires.T[..., None])[..., 0].double()

    def coactivation(self) -> Coactivation:
        """Over all tokens that were added: each child with its own parent and with the MATCHED ones."""
        n_parents, k = self._families.shape
        rate = self._parent_fires.numpy() / self._count
        own_and_matched = np.concatenate((np.arange(n_parents)[:, None], matched_by_rate(rate, MATCHED)), axis=1)
        picked = torch.from_numpy(np.repeat(own_and_matched, k, axis=0))
        own = self._siblings.diagonal(dim1=-2, dim2=-1).sqrt()
        theirs = self._parent_squares.sqrt()[torch.from_numpy(own_and_matched)]
        products = self._products.gather(1, picked).view(n_parents, k, -1)
        correlation = products / (own[..., None] * theirs[:, None])
        siblings = self._siblings / (own[..., None] * own[..., None, :])
        return Coactivation(
            self._count,
            self._fires.numpy(),
            self._parent_fires.numpy(),
            self._both.numpy(),
            self._weight.numpy(),
            self._weight_with.gather(1, picked).view(n_parents, k, -1).numpy(),
            torch.where(correlation.isfinite(), correlation, torch.nan).clamp(-1, 1).numpy(),
            torch.where(siblings.isfinite(), siblings, torch.nan).clamp(-1, 1).numpy(),
        )


def matched_by_rate(rate: Float[np.ndarray, "n"], at_most: int) -> Int[np.ndarray, "n matched"]:
    """For every neuron the other firing neurons that are nearest to it in the logarithm of the firing rate.

    Returns:
        [n, matched] indices, `matched` the smaller of `at_most` and the number of other neurons that fire.
    """
    firing = np.flatnonzero(rate > 0)
    n = len(rate)
    width = min(at_most, max(len(firing) - 1, 0))
    logs = np.log(np.maximum(rate, 1e-12))
    matches = np.zeros((n, width), dtype=np.int64)
    for neuron in range(n):
        others = firing[firing != neuron]
        order = np.argsort(np.abs(logs[others] - logs[neuron]), kind="stable")
        matches[neuron] = others[order[:width]]
    return matches


def as_sampled(values: Float[Tensor, "t n"]) -> Float[Tensor, "t n"]:
    """Values as a sample stores them: bf16 numbers, in float32."""
    return values.bfloat16().float()


@dataclass(frozen=True)
class TokenPass:
    """The held-out tokens that are read, in pieces of a micro-batch that are spread evenly over the text."""

    tokens: TokenFile
    firsts: tuple[int, ...]
    """First row of each piece."""
    size: int
    """Rows of a piece; the text's last one may be shorter."""
    is_fit: Bool[np.ndarray, "documents"]
    n_tokens: int
    n_fit: int
    """Tokens of the documents that firing levels are measured on, half of all."""

    @classmethod
    def over(cls, tokens: TokenFile, at_most: int | None = None) -> "TokenPass":
        """All tokens, or about `at_most` of them.

        Raises:
            BadInput: no tokens, or no document in the half that firing levels are measured on.
        """
        size = DEFAULT.micro_batch_rows(tokens.n_ctx)
        every = range(0, tokens.n_rows, size)
        wanted = len(every) if at_most is None else min(len(every), max(1, at_most // (size * tokens.n_ctx)))
        firsts = tuple(every[index * len(every) // wanted] for index in range(wanted))
        is_fit = document_halves(tokens.documents()["sha256"].to_list())
        uncounted = cls(tokens, firsts, size, is_fit, 0, 0)
        fit = [sample.is_fit for _, _, sample in uncounted.pieces()]
        n_tokens, n_fit = sum(map(len, fit)), int(sum(map(np.sum, fit)))
        if not n_fit:
            raise BadInput(f"{tokens.directory}: too few documents to tell firing levels from half of them")
        return replace(uncounted, n_tokens=n_tokens, n_fit=n_fit)

    def pieces(self) -> Iterator[tuple[Int[Tensor, "rows pos"], Int[np.ndarray, "t"], TokenSample]]:
        """Rows to run (padded to `size`), which of their positions are kept, and the tokens there."""
        for first in self.firsts:
            rows = self.tokens.plain_rows(first, min(self.size, self.tokens.n_rows - first))
            padded = torch.zeros(self.size, self.tokens.n_ctx, dtype=torch.int64)
            padded[: len(rows)] = rows[:, :-1]
            flat, sample = counted_tokens(self.tokens, first, rows, self.is_fit)
            if len(flat):
                yield padded, flat, sample


def stream_values(
    sources: Sequence[NeuronSource], passed: TokenPass, what: str
) -> Iterator[tuple[list[Float[Tensor, "t n"]], TokenSample]]:
    """Values of every source on the kept tokens, a piece at a time; the progress bar says `what`."""
    with tqdm(total=passed.n_tokens, desc=what, unit="tok", unit_scale=True, disable=None, file=sys.stderr) as progress:
        for rows, flat, sample in passed.pieces():
            where = torch.from_numpy(flat)
            yield [source.activations(rows).flatten(0, 1)[where] for source in sources], sample
            progress.update(len(flat))


def kept_values(source: NeuronSource, passed: TokenPass, at_most: int) -> "KeptSource | None":
    """A source that keeps what it is read first, so that a second pass need not run the model again.

    None where that is more than `at_most` bytes.
    """
    n_positions = len(passed.firsts) * passed.size * passed.tokens.n_ctx
    return KeptSource(source) if 2 * n_positions * source.facts.n_neurons <= at_most else None


class KeptSource:
    """Values of a source as bf16, kept as they are first read, in the order in which every pass reads them."""

    def __init__(self, source: NeuronSource) -> None:
        self.facts, self._source = source.facts, source
        self._kept: list[Tensor] = []
        self._next = 0
        self._whole = False

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """As sampled (`as_sampled`), of the next piece of a pass."""
        if not self._whole:
            self._kept.append(self._source.activations(tokens).bfloat16())
            return self._kept[-1].float()
        self._next += 1
        return self._kept[self._next - 1].float()

    def again(self) -> "KeptSource":
        """Itself, at the start of the next pass over the same tokens."""
        self._whole, self._next = True, 0
        return self
