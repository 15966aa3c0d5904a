"""What each neuron is used for: the label at whose tokens the loss rises most when the neuron is set to its mean.

Rules and labelled scores say what a neuron answers to; whether anything comes of it is another question. All neurons
are looked at by the gradient first (attribution patching: the effect of setting a neuron to its mean, to first order);
the label that stands out is then held against the exact rise of the loss (`analyze.interventions.carriers`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.interventions.base import Change, changed, read_site
from analyze.interventions.carriers import rise_without
from analyze.labels.bank import LabelBank
from train.model import Transformer

MOST_ROWS = 64
LEAST_TOKENS = 50
"""Of a label on these rows."""
MOST_SHARE = 0.5
"""Of all tokens: what stands nearly everywhere is no use of its own."""
BEYOND = 0.95
"""Share of neurons whose largest effect at moved labels lies below what an effect must reach."""

SCHEMA = {
    "neuron": pl.Int64,
    "used_for": pl.String,
    "rise": pl.Float64,
    "elsewhere": pl.Float64,
    "strength": pl.Float64,
    "chance": pl.Float64,
}
"""used_for: a label, null where none stands out. rise: nats a token at the label's tokens without the neuron, exactly.
elsewhere: at other tokens, to first order. strength: standard errors by which the effect at the label's tokens exceeds
that at all tokens. chance: what `strength` must exceed."""


def marks_of(bank: LabelBank, row_numbers: Int[ndarray, " row"], n_ctx: int) -> dict[str, Bool[Tensor, "row pos"]]:
    """Where each label stands among the positions that a model reads of some held-out rows; BOS bears none."""
    stream = (row_numbers[:, None] * n_ctx + np.arange(n_ctx - 1)).ravel()
    there = bank.dense(stream).reshape(len(row_numbers), n_ctx - 1, len(bank))
    marks = torch.zeros((len(bank), len(row_numbers), n_ctx), dtype=torch.bool)
    marks[:, :, 1:] = torch.from_numpy(np.moveaxis(there, 2, 0))
    return dict(zip(bank.names, marks))


def uses(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], marks: Mapping[str, Bool[Tensor, "row pos"]], layer: int
) -> pl.DataFrame:
    """A row a neuron of the layer: see SCHEMA.

    Chance is what the labels, moved along the rows, reach: the 95th percentile over neurons of the largest strength.

    Args:
        rows: held-out rows; the model reads row[:-1] and predicts row[1:].
        marks: where each label stands among the positions that are read.

    Raises:
        BadInput: a model without MLPs.
    """
    n_tokens = rows[:, :-1].numel()
    kept = {name: where for name, where in marks.items() if LEAST_TOKENS <= int(where.sum()) <= MOST_SHARE * n_tokens}
    n = model.mlp(layer).fc_in.out_features
    if not kept:
        none = {"neuron": range(n), **dict.fromkeys(tuple(SCHEMA)[1:], None)}
        return pl.DataFrame(none, SCHEMA)
    where = torch.stack([each.flatten() for each in kept.values()])
    moved = where.roll(n_tokens // 3, dims=1)
    found = _effects(model, rows, layer, torch.cat([where, moved]))
    strength = found.strengths(torch.cat([where, moved]).sum(1))
    own, by_chance = strength[: len(where)], strength[len(where) :]
    chance = float(by_chance.amax(0).quantile(BEYOND))
    best = own.argmax(0)
    names = list(kept)
    rises = np.full(n, np.nan)
    for label in best.unique().tolist():
        neurons = ((best == label) & (own.amax(0) > chance)).nonzero()[:, 0].tolist()
        rise = rise_without(model, rows, kept[names[label]], layer) if neurons else None
        for neuron in neurons:
            assert rise is not None
            rises[neuron] = rise([neuron])
    sizes = where.sum(1)
    inside = found.labels[best, torch.arange(n)]
    elsewhere = (found.total - inside) / (n_tokens - sizes[best])
    is_used = rises > 0
    return pl.DataFrame(
        {
            "neuron": range(n),
            "used_for": [names[label] if used else None for label, used in zip(best.tolist(), is_used)],
            "rise": [float(rise) if used else None for rise, used in zip(rises, is_used)],
            "elsewhere": [float(value) if used else None for value, used in zip(elsewhere.tolist(), is_used)],
            "strength": own.amax(0).tolist(),
            "chance": [chance] * n,
        },
        SCHEMA,
    )


@dataclass(frozen=True)
class _Effects:
    """Sums over tokens of what setting each neuron to its mean does to the loss, to first order."""

    labels: Float[Tensor, "label neuron"]
    """At each label's tokens."""
    total: Float[Tensor, " neuron"]
    """At all tokens."""
    squares: Float[Tensor, " neuron"]
    n_tokens: int

    def strengths(self, sizes: Int[Tensor, " label"]) -> Float[Tensor, "label neuron"]:
        """Standard errors by which the mean at a label's tokens exceeds that of all; 0 for a neuron without effect."""
        mean = self.total / self.n_tokens
        deviation = (self.squares / self.n_tokens - mean.square()).clamp(min=0).sqrt()
        counts = sizes.double()[:, None]
        away = (self.labels / counts - mean) * counts.sqrt()
        return torch.where(deviation > 0, away / deviation.clamp(min=1e-300), 0.0)


def _effects(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: int, where: Bool[Tensor, "label token"]
) -> _Effects:
    n, pos = model.mlp(layer).fc_in.out_features, rows.shape[1] - 1
    with torch.no_grad():
        chunks = [read_site(model, chunk, layer, "post").flatten(0, 1).sum(0) for chunk in rows[:, :-1].split(8)]
    mean = torch.stack(chunks).sum(0) / (len(rows) * pos)
    labels = torch.zeros((len(where), n), dtype=torch.float64)
    total, squares = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    marks = where.view(len(where), len(rows), pos)
    for start in range(0, len(rows), 8):
        effect = _of_rows(model, rows[start : start + 8], layer, mean).double()
        labels += marks[:, start : start + 8].flatten(1).double() @ effect
        total += effect.sum(0)
        squares += effect.square().sum(0)
    return _Effects(labels, total, squares, len(rows) * pos)


def _of_rows(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: int, mean: Float[Tensor, " neuron"]
) -> Float[Tensor, "token neuron"]:
    """(mean - value) x gradient of the rows' summed loss by the value, at every token."""
    seen: list[Tensor] = []

    def watch(values: Tensor) -> Tensor:
        seen.append(values.detach().requires_grad_())
        return seen[0]

    with torch.enable_grad(), changed(model, [Change(layer, "post", watch)]):
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, seen[0])
    return ((mean - seen[0].detach()) * gradient).flatten(0, 1)
