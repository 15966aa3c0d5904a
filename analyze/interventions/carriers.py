"""Which neurons carry a feature: what happens to the loss at its tokens when they are set to their mean.

A probe says what can be read from neurons; this says what the model uses. The feature is a set of positions: tokens
that bear a label, or on which a rule holds. The loss is that of the next token, as predicted at those positions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.interventions.ablation import mean_ablation
from analyze.interventions.base import changed, read_site
from train.errors import BadInput
from train.model import Transformer

FEW_POSITIONS = 20
"""A feature with fewer positions is not asked about: the loss would be that of a few words."""
MOST_POSITIONS = 512
MOST_ROWS = 64
ORDERS = 20


@dataclass(frozen=True)
class Carriers:
    """How the loss at a feature's positions rises as neurons are set to their mean, one after the other."""

    order: Int[ndarray, " neuron"]
    """Neurons, those first that raise the loss most (alone, or greedily)."""
    alone: Float[ndarray, " neuron"]
    """By how much each neuron alone raises the loss, in nats a token, by its number."""
    rise: Float[ndarray, " k"]
    """Rise of the mean loss at the feature's positions when the first 1, 2, ... of `order` are gone."""
    elsewhere: Float[ndarray, " k_or_0"]
    """The same at as many other positions; empty where it was not asked for."""
    whole: float
    """Rise when every neuron is gone."""
    random: Float[ndarray, "order most"]
    """`rise` of random orders: the null."""
    n_positions: int

    def needed(self, share: float) -> int | None:
        """How many of the first neurons raise the loss by a share of `whole` (k50: .5); None where none do."""
        return _needed(self.rise, share * self.whole)

    def needed_at_random(self, share: float) -> Float[ndarray, " order"]:
        """The same for random orders; as many as there are neurons where not even these suffice."""
        target, n = share * self.whole, self.random.shape[1]
        return np.array([_needed(rise, target) or n for rise in self.random], dtype=np.float64)

    @property
    def gini(self) -> float:
        """0: every neuron carries as much as another; near 1: one carries all. Of what each raises the loss alone."""
        effects = np.sort(np.maximum(self.alone, 0))
        if effects.sum() == 0:
            return float("nan")
        ranks = np.arange(1, len(effects) + 1)
        return float((2 * ranks - len(effects) - 1) @ effects / (len(effects) * effects.sum()))


def _needed(rise: Float[ndarray, " n"], target: float) -> int | None:
    reached = np.flatnonzero(rise >= target)
    return int(reached[0]) + 1 if len(reached) and target > 0 else None


_Ablated = Callable[[Sequence[int]], Tensor]
"""Losses at some positions, [position], with some neurons set to their mean."""


def carriers(
    model: Transformer,
    rows: Int[Tensor, "row pos_and_one"],
    where: Bool[Tensor, "row pos"],
    layer: int,
    *,
    greedy: int = 0,
    most: int = 64,
    orders: int = ORDERS,
    seed: int = 0,
    rotation: Float[Tensor, "neuron direction"] | None = None,
    until: float | None = None,
) -> Carriers:
    """Rank a layer's neurons by what the loss at a feature's positions loses without them, then remove them in turn.

    Args:
        rows: held-out rows; the model reads row[:-1] and predicts row[1:].
        where: positions of the feature among those that are read.
        greedy: choose so many of the first neurons one by one, each the one that adds most to those before it, from
            the 32 that raise the loss most alone; 0: all by what they raise alone.
        most: neurons that are removed in turn; the order beyond is by what each raises alone.
        orders: random orders that are tried beside.
        seed: of the positions that are taken where there are many, of the others, and of random orders.
        rotation: orthogonal; its columns are removed instead of neurons (a null that says whether the neurons are a
            better basis than another). Of the last layer only.
        until: for what `needed` says up to this share alone: stops where the rise reaches that share of `whole`, and
            leaves `elsewhere` empty, which spares most of the work.

    Raises:
        BadInput: a feature with fewer than 20 positions, or a model without MLPs.
    """
    n_neurons = model.mlp(layer).fc_in.out_features
    rng = np.random.default_rng(seed)
    inside, outside = _positions(where, rng)
    means = _means(model, rows, layer)
    at, other = (_losses_at(model, rows, chosen, layer, means, rotation) for chosen in (inside, outside))
    before = at([]).mean()
    whole = float(at(list(range(n_neurons))).mean() - before)
    alone = np.array([float(at([neuron]).mean() - before) for neuron in range(n_neurons)])
    order = _greedy(at, np.argsort(-alone, kind="stable"), greedy)
    steps = range(1, min(most, n_neurons) + 1)
    shuffled = [rng.permutation(n_neurons) for _ in range(orders)]
    return Carriers(
        order=order,
        alone=alone,
        rise=np.array(list(_rises(at, order, len(steps), None if until is None else until * whole))),
        elsewhere=np.array(list(_rises(other, order, len(steps), None)) if until is None else []),
        whole=whole,
        random=np.array([[float(at(each[:k].tolist()).mean() - before) for k in steps] for each in shuffled]).reshape(
            orders, len(steps)
        ),
        n_positions=len(inside),
    )


def _rises(at: _Ablated, order: Int[ndarray, " neuron"], most: int, enough: float | None) -> Iterator[float]:
    """Rise of the mean loss with the first 1, 2, ... neurons gone; ends where it is enough."""
    before = at([]).mean()
    for k in range(1, most + 1):
        rise = float(at(order[:k].tolist()).mean() - before)
        yield rise
        if enough is not None and rise >= enough:
            return


def rise_without(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], where: Bool[Tensor, "row pos"], layer: int, seed: int = 0
) -> Callable[[Sequence[int]], float]:
    """By how much the mean loss at a feature's positions rises when some neurons are set to their mean, in nats.

    The positions are those that `carriers` takes with the same seed.

    Raises:
        BadInput: a feature with fewer than 20 positions, or a model without MLPs.
    """
    model.mlp(layer)
    inside, _ = _positions(where, np.random.default_rng(seed))
    at = _losses_at(model, rows, inside, layer, _means(model, rows, layer), None)
    before = at([]).mean()
    return lambda neurons: float(at(neurons).mean() - before)


def _positions(
    where: Bool[Tensor, "row pos"], rng: np.random.Generator
) -> tuple[Int[Tensor, "n 2"], Int[Tensor, "m 2"]]:
    """Positions of the feature and as many others from the same rows."""
    of_rows = where.any(1).nonzero()[:, 0].numpy()
    if len(of_rows) > MOST_ROWS:
        of_rows = np.sort(rng.choice(of_rows, MOST_ROWS, replace=False))
    in_rows = torch.zeros_like(where)
    in_rows[of_rows] = True
    inside, outside = ((where & in_rows).nonzero(), (~where & in_rows).nonzero())
    if len(inside) < FEW_POSITIONS:
        raise BadInput(f"feature: stands at {len(inside)} tokens; at least {FEW_POSITIONS} tell what carries it")
    n = min(len(inside), MOST_POSITIONS)
    chosen = [each[np.sort(rng.choice(len(each), min(n, len(each)), replace=False))] for each in (inside, outside)]
    return chosen[0], chosen[1]


@torch.no_grad()
def _means(model: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: int) -> Float[Tensor, " neuron"]:
    """Of every neuron at `post`, over at most 64 rows spread evenly."""
    chosen = rows[:: max(1, len(rows) // MOST_ROWS), :-1]
    return torch.cat([read_site(model, chunk, layer, "post").flatten(0, 1) for chunk in chosen.split(16)]).mean(0)


def _losses_at(
    model: Transformer,
    rows: Int[Tensor, "row pos_and_one"],
    positions: Int[Tensor, "n 2"],
    layer: int,
    means: Float[Tensor, " neuron"],
    rotation: Float[Tensor, "neuron direction"] | None,
) -> _Ablated:
    if layer == model.config.n_layers - 1:
        return _behind_the_last_mlp(model, rows, positions, layer, means, rotation)
    if rotation is not None:
        raise ValueError("rotation: of the last layer only")
    return _by_whole_passes(model, rows, positions, layer, means)


@torch.no_grad()
def _behind_the_last_mlp(
    model: Transformer,
    rows: Int[Tensor, "row pos_and_one"],
    positions: Int[Tensor, "n 2"],
    layer: int,
    means: Float[Tensor, " neuron"],
    rotation: Float[Tensor, "neuron direction"] | None = None,
) -> _Ablated:
    """Nothing mixes positions behind the last MLP, so that only these positions are computed anew."""
    row, pos = positions.T
    used, inverse = row.unique(return_inverse=True)
    tokens = rows[used, :-1]
    residual = read_site(model, tokens, layer + 1, "resid_final")[inverse, pos]
    off = read_site(model, tokens, layer, "post")[inverse, pos] - means
    writes = model.mlp(layer).fc_out.weight
    if rotation is not None:
        off, writes = off @ rotation, writes @ rotation
    targets = rows[row, pos + 1]

    @torch.no_grad()
    def losses(neurons: Sequence[int]) -> Float[Tensor, " position"]:
        index = torch.as_tensor(neurons, dtype=torch.long)
        left = residual - off[:, index] @ writes[:, index].T
        return F.cross_entropy(model.head(model.ln_out(left)), targets, reduction="none")

    return losses


def _by_whole_passes(
    model: Transformer,
    rows: Int[Tensor, "row pos_and_one"],
    positions: Int[Tensor, "n 2"],
    layer: int,
    means: Float[Tensor, " neuron"],
) -> _Ablated:
    row, pos = positions.T
    used, inverse = row.unique(return_inverse=True)
    targets = rows[row, pos + 1]

    @torch.no_grad()
    def losses(neurons: Sequence[int]) -> Float[Tensor, " position"]:
        with changed(model, [mean_ablation(layer, torch.as_tensor(neurons, dtype=torch.long), means)]):
            final = torch.cat([model.final_residual(chunk) for chunk in rows[used, :-1].split(16)])
        return F.cross_entropy(model.head(final[inverse, pos]), targets, reduction="none")

    return losses


def _greedy(at: _Ablated, order: Int[ndarray, " n"], n: int) -> Int[ndarray, " n"]:
    """The first `n` chosen one by one from the first 32."""
    candidates = order[:32].tolist()
    chosen: list[int] = []

    def rises(neuron: int) -> float:
        return float(at([*chosen, neuron]).mean())

    for _ in range(min(n, len(candidates))):
        chosen.append(max((each for each in candidates if each not in chosen), key=rises))
    rest = [each for each in order.tolist() if each not in chosen]
    return np.array([*chosen, *rest], dtype=np.int64)
