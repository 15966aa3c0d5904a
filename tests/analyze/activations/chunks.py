"""Made-up tokens and activations for what collecting does by chunks of the stream."""

import numpy as np
import torch
from jaxtyping import Float, Int16

from analyze.activations.bf16_keys import sort_keys
from analyze.activations.firing import Firing
from analyze.activations.store import TokenSample
from analyze.activations.token_sample import SortedTokens, select

D_VOCAB = 40


def stream_of(n_tokens: int, rng: np.random.Generator, n_documents: int = 12) -> TokenSample:
    """Tokens of documents of random lengths, in stream order."""
    document = np.sort(rng.integers(0, n_documents, n_tokens)).astype(np.int32)
    halves = rng.random(n_documents) < 0.5
    ids = rng.integers(1, D_VOCAB, n_tokens).astype(np.int32)
    return TokenSample(
        ids=ids,
        previous=np.concatenate(([0], ids[:-1])).astype(np.int32),
        document=document,
        position=(np.arange(n_tokens) % 16 + 1).astype(np.int32),
        stream_position=np.arange(n_tokens) * 3,
        is_fit=halves[document],
    )


def keys_of(values: Float[np.ndarray, "t n"]) -> Int16[np.ndarray, "n t"]:
    """Sort keys of activations, a row a neuron."""
    return sort_keys(torch.from_numpy(np.ascontiguousarray(values.T)).bfloat16()).numpy()


def add_in_chunks(firing: Firing, tokens: TokenSample, values: Float[np.ndarray, "t n"], ends: list[int]) -> None:
    """Pass a stream cut at `ends`, two blocks of neurons a chunk."""
    n = values.shape[1]
    for start, stop in zip([0, *ends], [*ends, len(tokens)]):
        if start == stop:
            continue
        firing.start_chunk(SortedTokens.of(select(tokens, np.arange(start, stop))))
        keys = keys_of(values[start:stop])
        for first, last in ((0, n // 2), (n // 2, n)):
            firing.sums.add(first, firing.add(first, keys[first:last]))
