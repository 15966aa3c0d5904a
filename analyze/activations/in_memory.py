"""Activations that no source streamed and that are in memory: planted neurons, nulls."""

import numpy as np
from jaxtyping import BFloat16, Float
from torch import Tensor

from analyze.activations.bf16_keys import key_below, sort_keys
from analyze.activations.histograms import Histograms, Tally
from analyze.activations.moments import QuantileRows, Quantiles, Rates, StreamMoments, combine
from analyze.activations.sample import BLOCK, MemorySample
from analyze.activations.store import Activations, ActivationsMeta, TokenSample
from analyze.activations.token_sample import select
from analyze.activations.top_examples import TopExamples
from analyze.metrics import FIRING_SHARE

TOKENS_AT_ONCE = 8192
BLOCK_BYTES = 2**26
"""Size in fp32 of the neurons whose quantiles are computed together."""


def activations_in_memory(
    values: Float[Tensor, "t n"] | BFloat16[Tensor, "t n"], tokens: TokenSample, meta: ActivationsMeta
) -> Activations:
    """Activations with the moments and examples that `collect` would give these values, and a sample of all of them."""
    n = values.shape[1]
    stream, examples = StreamMoments(n), TopExamples(n)
    for first in range(0, len(values), TOKENS_AT_ONCE):
        part = values[first : first + TOKENS_AT_ONCE].float()
        stream.update(part)
        examples.update(part, select(tokens, slice(first, first + TOKENS_AT_ONCE)))
    sample = MemorySample(values)
    moments = combine(stream, *quantiles_and_rates(sample, tokens, n))
    return Activations(meta, tokens, moments, examples.finish(), sample)


def quantiles_and_rates(sample: MemorySample, tokens: TokenSample, n_neurons: int) -> tuple[Quantiles, Rates]:
    """The statistics that need every token of a neuron at once, read a block of neurons at a time."""
    quantiles, tally = QuantileRows(n_neurons, tokens.is_fit), Tally(n_neurons)
    fired, documents = np.zeros((2, n_neurons), dtype=np.int64)
    document_starts = np.flatnonzero(np.diff(tokens.document, prepend=-1))
    width = max(1, min(BLOCK, BLOCK_BYTES // (4 * len(tokens))))
    for first in range(0, n_neurons, width):
        values = sample.read(first, min(first + width, n_neurons)).bfloat16()
        for neuron, keys in enumerate(sort_keys(values.T.contiguous()).numpy(), start=first):
            ordered = np.sort(keys)
            quantiles.add(neuron, keys, ordered)
            tally.add(neuron, ordered)
            threshold = key_below(FIRING_SHARE * quantiles.values.p9999[neuron : neuron + 1])[0]
            fired[neuron] = np.count_nonzero(keys > threshold)
            documents[neuron] = np.count_nonzero(np.maximum.reduceat(keys, document_starts) > threshold)
    shares = Histograms(tally.counts).negative_share()
    return quantiles.values, Rates(fired / len(tokens), documents, shares, tally.negative_mass())
