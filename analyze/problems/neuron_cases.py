"""Polysemantic neurons whose firings fall into two cases, and which neurons of the last MLP tell these apart: a leaf.

A case is a label that many of a neuron's firings bear. The model tells two cases apart where it predicts other tokens
after them. A set of neurons does the telling if, once each is set to its mean over both cases, the predictions come
nearer to each other. What the residual stream carries past the MLP tells as well, and is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.problems.feature_directions import Features, activations_at, features_of
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

FIRING = 0.02
"""A neuron fires on this share of tokens, those of its highest values."""
LEAST_SHARE, LEAST_LIFT = 0.15, 3.0
"""Of a neuron's firings that bear a case's label, and how much oftener than other tokens do."""
LEAST_TOKENS, MOST_TOKENS = 40, 128
"""Of each case: half rank the neurons, half are measured."""
LEAST_NEURONS, MOST_NEURONS = 4, 8
LEAST_TOLD = 0.1
"""Share of the divergence between two cases that the MLP must make, or it is the direct path that tells."""
ORDERS = 10
RATE_BINS = 8
SHARE = 0.9


@dataclass(frozen=True)
class Cases:
    """Two meanings of a neuron."""

    neuron: int
    labels: tuple[str, str]
    positions: tuple[Int[ndarray, " first"], Int[ndarray, " second"]]
    """Firings that bear the first label alone, and the second alone, in the order of `activations_at`."""


def cases_of(values: Float[Tensor, "token neuron"], features: Features) -> list[Cases]:
    """The two cases of every neuron that has them, those first whose rarer case makes most of the firings."""
    n = len(values)
    thresholds = values.kthvalue(n - max(1, int(FIRING * n)), dim=0).values
    fires = values > thresholds
    where = features.where.float()
    counts = (fires.float().T @ where.T).numpy()
    share = counts / np.maximum(fires.sum(0).numpy()[:, None], 1)
    lift = share / np.maximum(where.mean(1).numpy(), 1e-9)
    found: list[tuple[int, Cases]] = []
    for neuron in range(values.shape[1]):
        able = np.flatnonzero((share[neuron] >= LEAST_SHARE) & (lift[neuron] >= LEAST_LIFT))
        able = able[np.argsort(-share[neuron, able], kind="stable")]
        best = _pair(fires[:, neuron], features, able.tolist())
        if best is not None:
            size, (a, b), positions = best
            found.append((size, Cases(neuron, (features.names[a], features.names[b]), positions)))
    return [cases for _, cases in sorted(found, key=lambda each: -each[0])]


def _pair(
    fires: Bool[Tensor, " token"], features: Features, able: Sequence[int]
) -> tuple[int, tuple[int, int], tuple[Int[ndarray, " first"], Int[ndarray, " second"]]] | None:
    """The two labels whose rarer one, the other left out, makes most firings."""
    best = None
    for i, a in enumerate(able):
        for b in able[i + 1 :]:
            first, second = features.where[a], features.where[b]
            alone = (fires & first & ~second, fires & second & ~first)
            size = min(int(each.sum()) for each in alone)
            together = int((fires & first & second).sum())
            if size >= LEAST_TOKENS and together <= 0.1 * size and (best is None or size > best[0]):
                positions = tuple(each.nonzero()[:, 0].numpy() for each in alone)
                best = (size, (a, b), (positions[0], positions[1]))
    return best


@dataclass(frozen=True)
class Telling:
    """How the divergence between two cases falls as neurons are set to their mean, on tokens that ranked nothing."""

    sizes: Int[ndarray, " step"]
    fall: Float[ndarray, " step"]
    """By the first 1, 2, ... neurons, as a share of the fall that all make."""
    random: Float[ndarray, "order step"]
    """Likewise by random neurons of like firing rates."""
    by_mlp: float
    """Share of the divergence that all neurons together make; the rest is told by the direct path."""

    @property
    def k90(self) -> int:
        """Neurons that make 90 % of what all make."""
        return _needed(self.sizes, self.fall)

    @property
    def k90_random(self) -> Float[ndarray, " order"]:
        """The same for each random order."""
        return np.array([_needed(self.sizes, each) for each in self.random], dtype=np.float64)


def _needed(sizes: Int[ndarray, " step"], fall: Float[ndarray, " step"]) -> int:
    reached = np.flatnonzero(fall >= SHARE)
    return int(sizes[reached[0]]) if len(reached) else int(sizes[-1])


@dataclass(frozen=True)
class Teller:
    """The last MLP of a model, read at the positions of cases."""

    model: Transformer
    residual: Float[Tensor, "token d_model"]
    """Before the last LayerNorm."""
    neurons: Float[Tensor, "token neuron"]
    """At `post`."""

    @classmethod
    def of(cls, model: Transformer, rows: Int[Tensor, "row pos"]) -> "Teller":
        """Over all positions of some rows."""
        last = model.config.n_layers
        return cls(
            model, activations_at(model, rows, last, "resid_final"), activations_at(model, rows, last - 1, "post")
        )

    def telling(self, cases: Cases, without: int | None, seed: int = 0) -> Telling | None:
        """Which neurons tell two cases apart; None where the MLP does not.

        Args:
            without: a neuron of this MLP that is left as it is: the one whose cases they are.
        """
        rng = np.random.default_rng(seed)
        n = min(MOST_TOKENS, *(len(each) for each in cases.positions)) // 2 * 2
        chosen = [rng.choice(each, n, replace=False) for each in cases.positions]
        ranking, testing = ([torch.from_numpy(each[half::2]) for each in chosen] for half in (0, 1))
        others = np.array([i for i in range(self.neurons.shape[1]) if i != without])
        order = others[np.argsort(-self._contributions(ranking, others), kind="stable")]
        sizes = np.unique(np.geomspace(1, len(others), 20).astype(int))
        whole = self._divergence(testing, [])
        most = whole - self._divergence(testing, others)
        if most < LEAST_TOLD * whole:
            return None

        def falls(order: Int[ndarray, " neuron"]) -> Float[ndarray, " step"]:
            return np.array([(whole - self._divergence(testing, order[:k])) / most for k in sizes])

        rates = (self.neurons[:, others] > 0).double().mean(0).numpy()
        random = [falls(_rate_matched(order, dict(zip(others.tolist(), rates)), rng)) for _ in range(ORDERS)]
        return Telling(sizes, falls(order), np.array(random), float(most / whole))

    @torch.no_grad()
    def _divergence(self, positions: Sequence[Tensor], neurons: Sequence[int] | ndarray) -> float:
        index = torch.as_tensor(np.asarray(neurons, dtype=np.int64))
        means = self._means(positions)[index]
        writes = self.model.mlp(self.model.config.n_layers - 1).fc_out.weight[:, index]
        return float(
            self._between([self.residual[p] + (means - self.neurons[p][:, index]) @ writes.T for p in positions])
        )

    def _contributions(self, positions: Sequence[Tensor], neurons: Int[ndarray, " n"]) -> Float[ndarray, " n"]:
        """By how much each neuron lowers the divergence on the way from none to all set to their mean.

        Integrated gradients (Sundararajan et al. 2017): they add up to the whole fall, however neurons overlap.
        """
        index, means = torch.from_numpy(neurons), self._means(positions)
        writes = self.model.mlp(self.model.config.n_layers - 1).fc_out.weight[:, index]
        total = torch.zeros(len(index))
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            amount = torch.full((len(index),), share, requires_grad=True)
            off = [(means[index] - self.neurons[p][:, index]) * amount for p in positions]
            between = self._between([self.residual[p] + each @ writes.T for p, each in zip(positions, off)])
            total -= torch.autograd.grad(between, amount)[0] / 5
        return total.numpy()

    def _means(self, positions: Sequence[Tensor]) -> Float[Tensor, " neuron"]:
        return torch.stack([self.neurons[p].mean(0) for p in positions]).mean(0)

    def _between(self, residuals: Sequence[Tensor]) -> Tensor:
        """Mean of both Kullback-Leibler divergences between the mean predictions of the cases, in nats."""
        heads = (self.model.head(self.model.ln_out(each)) for each in residuals)
        p, q = (F.softmax(each, -1).mean(0).clamp(min=1e-12) for each in heads)
        return ((p - q) * (p.log() - q.log())).sum() / 2


def _rate_matched(
    order: Int[ndarray, " neuron"], rates: dict[int, float], rng: np.random.Generator
) -> Int[ndarray, " neuron"]:
    """Neurons of like firing rate change places."""
    by_rate = np.argsort([rates[each] for each in order.tolist()], kind="stable")
    place = np.arange(len(order))
    for part in np.array_split(by_rate, RATE_BINS):
        place[part] = rng.permutation(part)
    return order[place]


def measure_cases(subject: Subject, layer: int) -> Measurement:
    """Median over polysemantic neurons of a layer of log2 k90 of the last MLP's neurons that tell their cases apart."""
    assert subject.rows is not None
    features = features_of(subject)
    found, told, n_cases = _tellings(subject.model, subject.rows, features, layer, MOST_NEURONS)
    if len(found) < LEAST_NEURONS:
        return Measurement.impossible(
            f"{n_cases} neurons of layer {layer} have two labels, and the last MLP tells those of {len(found)} apart; "
            f"needs {LEAST_NEURONS}"
        )
    untrained = float("nan")
    if subject.untrained is not None:
        _, before, _ = _tellings(subject.untrained, subject.rows, features, layer, MOST_NEURONS // 2)
        untrained = float(np.median(np.log2([each.k90 for each in before]))) if before else untrained
    sizes = np.array([each.k90 for each in told])
    return Measurement(
        statistic=float(np.median(np.log2(sizes))),
        null=np.median(np.log2(np.array([each.k90_random for each in told])), axis=0),
        untrained=untrained,
        details={
            "neurons with two labels": float(n_cases),
            "neurons asked about": float(len(told)),
            "median k90": float(np.median(sizes)),
            "median k90, random": float(np.median([each.k90_random for each in told])),
            "neurons of the last MLP": float(subject.model.config.widths[-1]),
            "share told by the last MLP": float(np.median([each.by_mlp for each in told])),
        },
        tables={
            "neurons": pl.DataFrame(
                {
                    "neuron": [each.neuron for each in found],
                    "first": [each.labels[0] for each in found],
                    "second": [each.labels[1] for each in found],
                    "k90": sizes,
                    "k90 random": [float(np.median(each.k90_random)) for each in told],
                    "told by the last MLP": [each.by_mlp for each in told],
                }
            )
        },
    )


def _tellings(
    model: Transformer, rows: Int[Tensor, "row pos"], features: Features, layer: int, most: int
) -> tuple[list[Cases], list[Telling], int]:
    """Neurons with two cases that the last MLP tells apart, at most `most`, and how many have two cases at all."""
    last = model.config.n_layers - 1
    teller = Teller.of(model, rows)
    values = teller.neurons if layer == last else activations_at(model, rows, layer, "post")
    every = cases_of(values, features)
    found: list[tuple[Cases, Telling]] = []
    for cases in every[: 2 * most]:
        telling = teller.telling(cases, cases.neuron if layer == last else None)
        if telling is not None:
            found.append((cases, telling))
        if len(found) == most:
            break
    return [cases for cases, _ in found], [telling for _, telling in found], len(every)


def figures_of_cases(measured: Sequence[Measured], caption: str) -> list[Figure]:
    """k90 of every neuron against that of random neurons, by checkpoint."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.5 + 0.35 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        for line, each in enumerate(measured):
            table = each.measurement.tables["neurons"]
            axes.plot(table["k90"], np.full(len(table), line), "o", ms=3, color=COLOURS[0], alpha=0.6)
            axes.plot(table["k90 random"], np.full(len(table), line), "|", ms=10, color=FAINT)
        axes.set_xscale("log", base=2)
        axes.set_yticks(range(len(measured)), [each.run for each in measured])
        axes.set(xlabel="neurons that make 90 % of what the last MLP tells of the two cases")
        svg = svg_of(canvas)
    return [Figure("cases", svg, "how many neurons tell two cases of a neuron apart", caption)]


def planted_cases(name: str, seed: int, n_layers: int, own_tellers: bool) -> Subject:
    """Eight neurons that answer to two labels each, and others that say which of the two it is.

    Args:
        n_layers: 1: all stand in one MLP. 2: the neurons of two labels in the first, those that tell in the second.
        own_tellers: each label has two neurons of its own that tell; else the same is done in a rotated basis.
    """
    n, width, d = 16, 64, 64
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(
        n_layers=n_layers, d_model=d, n_heads=2, n_ctx=32, d_vocab=40, act="relu", widths=(width,) * n_layers
    )
    model = Transformer(config, seed).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    directions = torch.linalg.qr(torch.cat([torch.ones(d, 1), torch.randn((d, d - 1), generator=generator)], 1))[0].T[
        1:
    ]
    labels, answers = directions[:20], directions[20:40]
    # Tokens of a label and positions differ a little, so that a neuron's highest values are of both of its labels.
    model.tok_embed.weight += 2 * labels.repeat(2, 1)
    model.tok_embed.weight[:20] += 0.2 * directions[40:60]
    model.pos.weight += 0.1 * torch.randn(model.pos.weight.shape, generator=generator)
    model.head.weight += 3 * answers.repeat(2, 1)
    first, last = model.mlp(0), model.mlp(n_layers - 1)
    for neuron in range(n // 2):
        first.fc_in.weight[neuron] += labels[2 * neuron] + labels[2 * neuron + 1]
    tellers = 2 * n
    turn = (
        torch.eye(tellers) if own_tellers else torch.linalg.qr(torch.randn((tellers, tellers), generator=generator))[0]
    )
    mine = slice(width - tellers, width)
    # Far from the bend, turned neurons compute together what the upright ones do.
    last.fc_in.bias[mine] = 0.0 if own_tellers else 12.0
    last.fc_in.weight[mine] += turn @ labels[:n].repeat_interleave(2, 0)
    last.fc_out.weight[:, mine] += answers[:n].repeat_interleave(2, 0).T @ turn.T
    rows = torch.randint(0, 40, (320, 33), generator=generator)
    marks = {f"label {i}": rows[:, :-1] % 20 == i for i in range(n)}
    return Subject(name, name, seed, model, rows=rows, planted_labels=marks)
