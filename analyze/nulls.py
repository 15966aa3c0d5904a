"""What chance looks like: a random rotation of the same neurons, which every score takes for a layer."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.examples import TopExamples
from analyze.moments import StreamMoments, combine, sampled_statistics
from analyze.sample import HeldSample, blocks
from analyze.store import DEAD, Activations, TokenSample

MOST_ROTATED = 512
_CHUNK = 8192


def haar(n: int, seed: int) -> Float[Tensor, "n n"]:
    """A rotation drawn evenly from all orthogonal matrices, fp64.

    QR of a Gaussian matrix with the signs of R's diagonal moved into Q (Mezzadri, Notices of the AMS 54,
    2007); without that Q is not evenly distributed.
    """
    gaussian = np.random.default_rng(seed).standard_normal((n, n))
    q, r = np.linalg.qr(gaussian)
    return torch.from_numpy(q * np.sign(np.diag(r)))


def can_rotate(acts: Activations) -> bool:
    """Whether at least two neurons are alive."""
    return int((acts.moments.status != DEAD).sum()) >= 2


def rotated(acts: Activations, seed: int = 0) -> Activations:
    """The activations of a layer's living neurons, turned by a Haar rotation: mixtures no basis prefers.

    Of more than MOST_ROTATED living neurons that many are drawn by `seed`. Rows of the result are directions
    of the rotation, numbered from 0; moments, status and examples are recomputed on the sampled tokens, whose
    rotated activations are held in memory (bf16, as the sample is on disk: 2 bytes a token and direction).

    Raises:
        ValueError: fewer than two neurons are alive (see `can_rotate`).
    """
    alive = np.flatnonzero(acts.moments.status != DEAD)
    if len(alive) < 2:
        raise ValueError("fewer than two neurons are alive")
    if len(alive) > MOST_ROTATED:
        alive = np.sort(np.random.default_rng(seed).choice(alive, MOST_ROTATED, replace=False))
    values = torch.empty(len(acts.tokens), len(alive), dtype=torch.bfloat16)
    for first, stop in blocks(acts.n_neurons):
        inside = np.flatnonzero((alive >= first) & (alive < stop))
        if len(inside):
            block = acts.block(first, stop)[:, torch.from_numpy(alive[inside] - first)]
            values[:, inside[0] : inside[-1] + 1] = block.bfloat16()
    turn = haar(len(alive), seed).float()
    stream, examples = StreamMoments(len(alive)), TopExamples(len(alive))
    for first in range(0, len(values), _CHUNK):
        piece = (values[first : first + _CHUNK].float() @ turn).bfloat16()
        values[first : first + _CHUNK] = piece
        stream.update(piece.float())
        examples.update(piece.float(), _part(acts.tokens, first, first + _CHUNK))
    sample = HeldSample(values)
    moments = combine(stream, sampled_statistics(sample, acts.tokens, len(alive)))
    meta = replace(
        acts.meta,
        n_neurons=len(alive),
        n_tokens=len(acts.tokens),
        sample_hash=None,
        settings=acts.meta.settings | {"null": "rotated", "null_seed": seed, "neurons": alive.tolist()},
    )
    return Activations(meta, acts.tokens, moments, examples.finish(), sample)


def _part(tokens: TokenSample, first: int, stop: int) -> TokenSample:
    return TokenSample(**{name: array[first:stop] for name, array in vars(tokens).items()})
