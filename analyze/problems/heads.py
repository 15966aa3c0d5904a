"""Which heads attend to the token before, and which to what followed the same token before (induction heads): a leaf.

Both are measured on rows in which a segment of distinct tokens stands twice, in two lengths, so that a head that looks
back by a fixed distance is not taken for an induction head (Olsson et al. 2022, arXiv 2209.11895).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.interventions import Change, losses, read_site
from train.data.made_rows import random_segment
from train.model import Transformer

LONGEST = 40
"""Tokens of the longer segment, where half of n_ctx is not less."""
SHORTER = 0.7
"""The shorter segment's share of the longer."""
MOST_ROWS = 64
"""Of each length."""
LEAST_ROWS = 8
LEAST_INDUCTION = 0.2
"""Share of a head's attention on the token after the same token before, from which it is an induction head."""
LEAST_PREVIOUS = 0.3
"""Share of a head's attention on the token before, from which it is a previous-token head."""
LEAST_GAIN = 0.3
"""Nats a token by which a repetition must be easier than what it repeats, or nothing is copied."""


@dataclass(frozen=True)
class Repeated:
    """BOS, the segment, the segment again, and its first token, which is only predicted."""

    rows: Int[Tensor, "row pos_and_one"]
    length: int

    @property
    def again(self) -> slice:
        """Positions that are read where the segment stands for the second time."""
        return slice(self.length + 1, 2 * self.length + 1)

    @property
    def first(self) -> slice:
        """Positions that are read where it stands for the first time."""
        return slice(1, self.length + 1)


@dataclass(frozen=True)
class Head:
    """A head and its score."""

    layer: int
    index: int
    score: float

    @property
    def name(self) -> str:
        """As in `1.3`: layer, head."""
        return f"{self.layer}.{self.index}"


@dataclass(frozen=True)
class Heads:
    """Scores of every head, and how much easier a repetition is."""

    induction: Float[ndarray, "layer head"]
    """Mean attention from the second occurrence of a token to what followed the first: of two lengths the lower."""
    previous: Float[ndarray, "layer head"]
    """Mean attention to the position before: likewise."""
    gain: float
    """Loss at the first occurrence of the segment's tokens less that at the second, nats a token."""

    @property
    def best_induction(self) -> Head:
        """The head of the highest induction score above the first layer, below which no head could serve it."""
        above = _best(self.induction[1:]) if len(self.induction) > 1 else None
        return _best(self.induction) if above is None else Head(above.layer + 1, above.index, above.score)

    @property
    def best_previous(self) -> Head:
        """The head of the highest previous-token score below the induction head's layer."""
        return _best(self.previous[: max(1, self.best_induction.layer)])

    def why_no_induction(self) -> str:
        """Why there is no induction head to ask about; "" where there is one."""
        best = self.best_induction
        if best.layer == 0 or best.score < LEAST_INDUCTION:
            return f"no induction head: the best, {best.name}, has {best.score:.2f}; needs {LEAST_INDUCTION}"
        if self.gain < LEAST_GAIN:
            return f"repetitions are {self.gain:.2f} nats a token easier; needs {LEAST_GAIN}"
        return ""

    def why_no_previous(self) -> str:
        """Why there is no previous-token head below the induction head; "" where there is one."""
        best = self.best_previous
        if best.score < LEAST_PREVIOUS:
            return f"no previous-token head: the best, {best.name}, has {best.score:.2f}; needs {LEAST_PREVIOUS}"
        return ""


def repeated_rows(rows: Int[Tensor, "row pos_and_one"], seed: int = 0) -> list[Repeated]:
    """Rows of two lengths of segments, made of the tokens of held-out rows; none where these have too few of them."""
    rng = np.random.default_rng(seed)
    longest = min(LONGEST, (rows.shape[1] - 2) // 2)
    segments = [random_segment(row, rng) for row in rows]
    found = []
    for length in (longest, int(SHORTER * longest)):
        fitting = [each[:length] for each in segments if len(each) >= length][:MOST_ROWS]
        if length < 2 or len(fitting) < LEAST_ROWS:
            return []
        twice = torch.from_numpy(np.stack([np.resize(each, 2 * length + 1) for each in fitting]))
        found.append(Repeated(torch.cat([rows[: len(twice), :1], twice], 1), length))
    return found


@torch.no_grad()
def attention_weights(
    model: Transformer, tokens: Int[Tensor, "row pos"], layer: int
) -> Float[Tensor, "row head query key"]:
    """Where each head of a layer attends; with changes in place, where it then does."""
    attention, read = model.block(layer).attn, read_site(model, tokens, layer, "attn_input")
    q, k = (rearrange(part(read), "r p (h d) -> r h p d", h=attention.n_heads) for part in (attention.q, attention.k))
    return weights_of(q, k)


def weights_of(
    q: Float[Tensor, "... query d_head"], k: Float[Tensor, "... key d_head"]
) -> Float[Tensor, "... query key"]:
    """Causal softmax of q k^T / sqrt(d_head)."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def heads_of(model: Transformer, repeated: Sequence[Repeated], changes: Sequence[Change] = ()) -> Heads:
    """Scores of every head on repeated rows.

    Args:
        repeated: of `repeated_rows`, at least one.
    """
    induction, previous, gains = [], [], []
    for each in repeated:
        queries = torch.arange(each.again.start, each.again.stop)
        by_layer = [attention_weights(model, each.rows[:, :-1], layer) for layer in range(model.config.n_layers)]
        followed = [w[:, :, queries, queries - each.length + 1].mean((0, 2)) for w in by_layer]
        before = [w.diagonal(-1, 2, 3)[:, :, 1:].mean((0, 2)) for w in by_layer]
        induction.append(torch.stack(followed).numpy())
        previous.append(torch.stack(before).numpy())
        gains.append(gain_of(model, [each], changes))
    return Heads(np.minimum.reduce(induction), np.minimum.reduce(previous), float(np.mean(gains)))


def gain_of(model: Transformer, repeated: Sequence[Repeated], changes: Sequence[Change] = ()) -> float:
    """How much easier the second occurrence of a segment is than the first, nats a token, mean over lengths."""
    return float(np.mean([_gain(losses(model, each.rows, changes, batch=MOST_ROWS), each) for each in repeated]))


def _gain(loss: Float[Tensor, "row pos"], each: Repeated) -> float:
    # The first token of the repetition cannot be known; the last of the first occurrence predicts it.
    return float(loss[:, each.first.start : each.first.stop - 1].mean() - loss[:, each.again].mean())


def _best(scores: Float[ndarray, "layer head"]) -> Head:
    layer, index = np.unravel_index(int(scores.argmax()), scores.shape)
    return Head(int(layer), int(index), float(scores[layer, index]))
