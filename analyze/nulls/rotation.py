"""The Haar rotation: the same activations, in a basis that nothing prefers."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.activations.store import DEAD, Activations
from analyze.nulls.held import CHUNK, activations_of, living, values_of


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

    Rows of the result are directions of the rotation, numbered from 0; which neurons were turned stands in
    meta.settings. Moments, status and examples are computed again on the sampled tokens.

    Raises:
        ValueError: fewer than two neurons are alive (see `can_rotate`).
    """
    alive = living(acts, seed)
    if len(alive) < 2:
        raise ValueError("fewer than two neurons are alive")
    values = values_of(acts, alive)
    turn = haar(len(alive), seed).float()
    for first in range(0, len(values), CHUNK):
        values[first : first + CHUNK] = (values[first : first + CHUNK].float() @ turn).bfloat16()
    return activations_of(acts, values, "rotated", seed, alive)
