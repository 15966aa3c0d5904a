"""Layer 2: neurons of a trained model along directions that are known: a = act(w . x + b).

x is what the model's own MLP reads at a token, so noise, graded strength and correlations are those of real neurons. w
is the direction by which a linear probe finds one feature, or the sum of the directions of k of them; b gives the
firing rate that is wanted. A feature is planted only where the model carries it: where its direction alone finds it on
documents that it was not fitted on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Float
from numpy import ndarray
from torch import Tensor

from analyze.activations.sample import blocks
from analyze.activations.store import TokenSample
from analyze.nulls.w_in import MICRO_BATCH_TOKENS, Turned, elementwise_biases, peaks
from analyze.validation.design import Neuron, TooFewFeatures, generator
from analyze.validation.layers.base import Design, Features, TruthSet
from analyze.validation.layers.draw import N_NEURONS, SMALLEST_SET, draw
from analyze.validation.layers.unions import truth_set
from analyze.validation.plant import Corpus
from train.checkpoint import Checkpoint, load
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.model import MLP, Transformer

RIDGE = 0.02
"""Added to the covariance of x, times the mean variance of its directions."""
FOUND = 0.3
"""A feature is carried where, among as many tokens as have it, those that its direction answers to most hold it at this
share,"""
ABOVE_CHANCE = 5.0
"""and at so many times its share of all tokens."""
OWN_SHARE = 0.25
"""A neuron of one feature is kept where at least this share of its firings is on its feature,"""
PART = 0.3
"""and one of k where each feature has at least PART / k of the firings that are on any of them."""
RATE = (0.7, 2.0)
"""A neuron fires on so many times as many tokens as its features have, drawn evenly on a logarithmic scale."""
HIGHEST_RATE = 0.2
SPARE = 1.6
MOST_FEATURES = 4
FITTED_TOKENS = 40_000
BISECTIONS = 30


@dataclass(frozen=True)
class Inputs:
    """What a layer's MLP reads at each token of a corpus."""

    mlp: MLP
    act: str
    x: Float[Tensor, "t d_model"]
    scale: float
    """Median over the layer's own neurons of the sd of w . x."""


def open_model(path: Path, data: TokenFile) -> Checkpoint:
    """A checkpoint that reads the tokens of prepared data.

    Raises:
        BadInput: nothing there, of another vocabulary, or with a shorter context.
    """
    checkpoint = load(path)
    known = checkpoint.state["data"]["tokenizer_sha256"]
    if known != data.tokenizer_sha256:
        raise BadInput(f"{path}: reads another vocabulary than {data.directory}; give a model that was trained on it")
    if checkpoint.config.n_ctx < data.n_ctx:
        raise BadInput(f"{path}: n_ctx {checkpoint.config.n_ctx} is less than that of {data.directory}")
    return checkpoint


@torch.no_grad()
def inputs_of(checkpoint: Checkpoint, corpus: Corpus, layer: int | None = None) -> Inputs:
    """What a layer's MLP reads on the corpus; the middle layer where none is named.

    Raises:
        BadInput: no such layer.
    """
    config = checkpoint.config
    layer = config.n_layers // 2 if layer is None else layer
    if not 0 <= layer < config.n_layers:
        raise BadInput(f"{checkpoint.directory}: no layer {layer}; it has {config.n_layers}")
    model = checkpoint.model()
    x = read_at(model, corpus.data, corpus.tokens, layer)
    mlp = model.mlp(layer)
    spread = (x[: 4 * MICRO_BATCH_TOKENS] @ mlp.fc_in.weight.T).std(0)
    return Inputs(mlp, config.act, x, float(spread.median()))


@torch.no_grad()
def read_at(model: Transformer, data: TokenFile, tokens: TokenSample, layer: int) -> Float[Tensor, "t d_model"]:
    """What a layer's W_in reads at each of some tokens."""
    n_ctx, row = data.n_ctx, tokens.stream_position // data.n_ctx
    x = torch.empty(len(row), model.config.d_model)
    step = max(1, MICRO_BATCH_TOKENS // n_ctx)
    for first in range(0, int(row.max()) + 1, step):
        low, high = np.searchsorted(row, (first, first + step))
        if low == high:
            continue
        rows = data.plain_rows(first, min(step, data.n_rows - first))[:, :n_ctx]
        at = torch.from_numpy(row[low:high] - first), torch.from_numpy(tokens.position[low:high].astype(np.int64))
        x[low:high] = model.mlp_input(rows, layer)[at]
    return x


def directions(
    x: Float[ndarray, "t d"], features: Features, is_fit: Bool[ndarray, "t"]
) -> tuple[Float[ndarray, "f d"], Bool[ndarray, "f"]]:
    """The direction of each feature, and whether the model carries it.

    Linear discriminants of the fit half, w = (C + ridge)^-1 (mean with - mean without), scaled so that w . x is 1
    higher with the feature than without. "Carried" is judged on the other half: see FOUND.
    """
    inside = features.tokens[is_fit].astype(np.float32)
    mean = x[is_fit].mean(axis=0, dtype=np.float64)
    centred = (x[is_fit] - mean).astype(np.float32)
    covariance = (centred.T @ centred / len(centred)).astype(np.float64)
    covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    share = inside.mean(axis=0).astype(np.float64)
    above = inside.T @ centred / np.maximum(inside.sum(axis=0), 1)[:, None]
    apart = above / np.maximum(1 - share, 1e-6)[:, None]
    w = np.linalg.solve(covariance, apart.T).T
    gap = (w * apart).sum(axis=1)
    w = w / np.maximum(gap, 1e-9)[:, None]
    carried = np.zeros(len(w), bool)
    judged, x_judged = features.tokens[~is_fit], x[~is_fit]
    for index, direction in enumerate(w):
        n = int(judged[:, index].sum())
        if n < 30 or inside[:, index].sum() < 30 or gap[index] <= 0:
            continue
        response = x_judged @ direction
        top = np.argpartition(-response, n)[:n]
        precision = judged[top, index].mean()
        carried[index] = precision >= max(FOUND, ABOVE_CHANCE * n / len(judged))
    return w, carried


def planted_directions(
    corpus: Corpus, name: str, inputs: Inputs, features: Features, design: Design, n: int = N_NEURONS
) -> TruthSet:
    """Plant about n neurons of one feature and n of several in a model's layer.

    Args:
        name: of the corpus.
        features: of one half, on the corpus' tokens.

    Raises:
        TooFewFeatures: the model carries too few of them.
    """
    x, is_fit = inputs.x.numpy(), corpus.tokens.is_fit
    half = features.features[0].half if features.features else "tuning"
    w, carried = directions(x, features, is_fit)
    if carried.sum() < 8:
        raise TooFewFeatures(f"the model carries {int(carried.sum())} of {len(carried)} features")
    features, w = features.chosen(carried), w[carried]
    rng = generator(f"2/{name}/{inputs.act}/{half}/{design}")
    factor = np.exp(rng.uniform(*np.log(RATE), size=20 * n))

    def rates(neurons: list[Neuron]) -> Float[ndarray, " n"]:
        density = np.array([features.share[list(neuron.features)].sum() for neuron in neurons])
        return np.minimum(density * factor[: len(neurons)], HIGHEST_RATE)

    drawn = draw(design, features, rates, rng, round(SPARE * n), MOST_FEATURES)
    neurons = drawn.neurons
    weight = np.stack([w[list(neuron.features)].sum(axis=0) for neuron in neurons])
    weight *= (inputs.scale / np.maximum((x[::7] @ weight.T).std(axis=0), 1e-9))[:, None]
    wanted = np.minimum(
        np.array([features.share[list(neuron.features)].sum() for neuron in neurons]) * factor[drawn.index],
        HIGHEST_RATE,
    )
    values, rate = run(inputs, torch.from_numpy(weight).float(), wanted, is_fit)
    good = _as_meant(values, neurons, features, ~is_fit) & (np.abs(np.log(np.maximum(rate, 1e-6) / wanted)) < 0.3)
    chosen = _even(good, len(neurons) // 2, n, paired=design == "density matched")
    kept = [neurons[index] for index in chosen.tolist()]
    return truth_set(corpus, name, 2, features, design, kept, values[:, torch.from_numpy(chosen)], inputs.act)


@torch.no_grad()
def run(
    inputs: Inputs, weight: Float[Tensor, "m d_model"], rate: Float[ndarray, "m"], is_fit: Bool[ndarray, "t"]
) -> tuple[BFloat16[Tensor, "t m"], Float[ndarray, "m"]]:
    """The values of neurons with these input weights, at the biases that give these firing rates, and their rates."""
    x, mlp = inputs.x, inputs.mlp
    values = torch.empty(len(x), len(weight), dtype=torch.bfloat16)
    got = np.empty(len(weight))
    if mlp.activation.elementwise:
        bias = elementwise_biases(mlp.activation.function, Turned(np.arange(len(weight)), weight, rate), x, is_fit)
        others = None
    else:
        others = torch.cat([mlp.fc_in(part).logsumexp(1) for part in x.split(MICRO_BATCH_TOKENS)])
        bias = _coupled_biases(x, others, weight, torch.from_numpy(rate).float(), is_fit)
    fit = torch.from_numpy(is_fit)
    for first, stop in blocks(len(weight)):
        pre = x @ weight[first:stop].T + bias[first:stop]
        block = mlp.activation.function(pre) if others is None else _beside(pre, others)
        values[:, first:stop] = block.bfloat16()
        stored = values[:, first:stop].float()
        threshold = 0.1 * peaks(stored[fit].T.contiguous())
        got[first:stop] = (stored > threshold).float().mean(0).numpy()
    return values, got


def _beside(pre: Float[Tensor, "t m"], others: Float[Tensor, " t"]) -> Float[Tensor, "t m"]:
    """SoLU of a neuron that stands beside all of the layer's own: pre times its softmax among them."""
    return pre * (pre - torch.logaddexp(pre, others[:, None])).exp()


def _coupled_biases(
    x: Float[Tensor, "t d_model"],
    others: Float[Tensor, " t"],
    weight: Float[Tensor, "m d_model"],
    rate: Float[Tensor, " m"],
    is_fit: Bool[ndarray, "t"],
) -> Float[Tensor, " m"]:
    """By bisection on evenly spaced tokens: a neuron beside the layer's own fires more often with a higher bias."""
    at = np.unique(np.linspace(0, len(x) - 1, min(FITTED_TOKENS, len(x))).astype(np.int64))
    x, others, fit = x[torch.from_numpy(at)], others[torch.from_numpy(at)], torch.from_numpy(is_fit[at])
    bias = torch.empty(len(weight))
    for first in range(0, len(weight), 64):
        part = slice(first, first + 64)
        u = x @ weight[part].T
        low, high = -u.amax(0), u.std(0) * 6 + others.max()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            values = _beside(u + middle, others)
            fires = (values > 0.1 * peaks(values[fit].T.contiguous())).float().mean(0) > rate[part]
            low, high = torch.where(fires, low, middle), torch.where(fires, middle, high)
        bias[part] = (low + high) / 2
    return bias


def _as_meant(
    values: BFloat16[Tensor, "t n"], neurons: list[Neuron], features: Features, judged: Bool[ndarray, "t"]
) -> Bool[ndarray, "n"]:
    """Whether each neuron's strong firings are on its features, and on every one of them (OWN_SHARE, PART)."""
    good = np.zeros(len(neurons), bool)
    kept = values[torch.from_numpy(judged)]
    inside = features.tokens[judged]
    for index, neuron in enumerate(neurons):
        column = kept[:, index].float().numpy()
        peak = np.quantile(column, 0.999)
        strength = np.where(column > 0.25 * peak, np.maximum(column, 0), 0)
        total = strength.sum()
        if total <= 0:
            continue
        own = inside[:, list(neuron.features)]
        on_any = strength[own.any(axis=1)].sum() / total
        parts = np.array([strength[own[:, place]].sum() for place in range(neuron.k)]) / total
        good[index] = on_any >= OWN_SHARE and (parts >= PART / neuron.k * on_any).all()
    return good


def _even(good: Bool[ndarray, "n"], n_one: int, n: int, paired: bool) -> ndarray:
    """At most n good neurons of one and of several features; where paired, partners of equal firing rate alone."""
    one, several = np.flatnonzero(good[:n_one]), n_one + np.flatnonzero(good[n_one:])
    if paired:
        both = np.flatnonzero(good[:n_one] & good[n_one:])
        one, several = both, both + n_one
    size = min(len(one), len(several), n)
    if size < SMALLEST_SET:
        raise TooFewFeatures(f"{size} neurons whose firings are on the features they were made of")
    return np.concatenate([spread[np.linspace(0, len(spread) - 1, size).astype(np.int64)] for spread in (one, several)])
