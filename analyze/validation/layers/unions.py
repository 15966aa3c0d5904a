"""Neurons that sum features of a corpus, as `analyze.validation.design` defines them: layers 1 and 3."""

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Float
from numpy import ndarray
from torch import Tensor

from analyze.metrics import FIRING_SHARE
from analyze.validation.design import MAIN, Neuron, generator, planted_activations
from analyze.validation.layers.base import Design, Features, Layer, TruthSet
from analyze.validation.layers.draw import N_NEURONS, draw
from analyze.validation.plant import Corpus, members_of

AT_ONCE = 64


def planted_unions(
    corpus: Corpus, name: str, layer: Layer, features: Features, design: Design, n: int = N_NEURONS
) -> TruthSet:
    """Plant n neurons of one feature and n of several on a corpus: max(sum of features + noise - BIAS, 0), in bf16.

    Args:
        name: of the corpus.
        features: of one half, on the corpus' tokens.

    Raises:
        TooFewFeatures: see `draw`.
    """
    half = features.features[0].half if features.features else "tuning"
    seed = f"{layer}/{name}/{half}/{design}"

    def values_of(neurons: list[Neuron], index: list[int]) -> Float[ndarray, "t m"]:
        columns = [
            planted_activations(features.tokens, [neuron], MAIN.noise, f"{seed}/{candidate}")
            for neuron, candidate in zip(neurons, index)
        ]
        return np.hstack(columns)

    def rates(neurons: list[Neuron]) -> Float[ndarray, " n"]:
        found = []
        for first in range(0, len(neurons), AT_ONCE):
            part = neurons[first : first + AT_ONCE]
            found.append(firing_rates(values_of(part, list(range(first, first + len(part)))), corpus.tokens.is_fit))
        return np.concatenate(found)

    drawn = draw(design, features, rates, generator(seed), n)
    values = torch.empty(len(corpus.tokens), len(drawn.neurons), dtype=torch.bfloat16)
    index = drawn.index.tolist()
    for first in range(0, len(index), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        values[:, part] = torch.from_numpy(values_of(drawn.neurons[part], index[part])).bfloat16()
    return truth_set(corpus, name, layer, features, design, drawn.neurons, values)


def truth_set(
    corpus: Corpus,
    name: str,
    layer: Layer,
    features: Features,
    design: Design,
    neurons: list[Neuron],
    values: BFloat16[Tensor, "t n"],
    act: str = "relu",
) -> TruthSet:
    """Neurons with their values, as a set that scores can read."""
    half = features.features[0].half
    whole = f"layer {layer}, {name}, {half}, {design}" + ("" if layer != 2 else f", {act}")
    return TruthSet(
        name=whole,
        acts=corpus.activations_of(values, whole, act),
        k=np.array([neuron.k for neuron in neurons]),
        members=members_of(neurons, len(features.features)),
        features=features.features,
        layer=layer,
        corpus=name,
        design=design,
        half=half,
        act=act,
    )


def firing_rates(values: Float[ndarray, "t n"], is_fit: Bool[ndarray, "t"]) -> Float[ndarray, " n"]:
    """The share of tokens above FIRING_SHARE times the 99.99th percentile of the fit tokens."""
    fit = values[is_fit]
    place = max(int(np.ceil(0.9999 * len(fit) - 1e-9)), 1) - 1
    peak = np.array([np.partition(column, place)[place] for column in fit.T])
    return (values > FIRING_SHARE * peak).mean(axis=0)
