"""The Haar rotation: the same activations, in a basis that nothing prefers."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.activations.store import Activations
from analyze.nulls.base import Null, NullStyle
from analyze.nulls.making import CHUNK, MOST, activations_of, living, values_of


def haar(n: int, seed: int) -> Float[Tensor, "n n"]:
    """A rotation drawn evenly from all orthogonal matrices, fp64.

    QR of a Gaussian matrix with the signs of R's diagonal moved into Q (Mezzadri, Notices of the AMS 54,
    2007); without that Q is not evenly distributed.
    """
    gaussian = np.random.default_rng(seed).standard_normal((n, n))
    q, r = np.linalg.qr(gaussian)
    return torch.from_numpy(q * np.sign(np.diag(r)))


def rotated(acts: Activations, seed: int = 0, most: int = MOST) -> Activations | None:
    """The activations of a layer's living neurons, turned by a Haar rotation: mixtures that no basis prefers.

    Rows of the result are directions of the rotation, numbered from 0; meta.settings lists the neurons that were
    turned. Moments, status and examples are computed again on the sampled tokens.

    None where fewer than two neurons are alive.
    """
    alive = living(acts, seed, most)
    if len(alive) < 2:
        return None
    values = values_of(acts, alive)
    turn = haar(len(alive), seed).float()
    for first in range(0, len(values), CHUNK):
        values[first : first + CHUNK] = (values[first : first + CHUNK].float() @ turn).bfloat16()
    return activations_of(acts, values, "rotated", seed, alive)


NULL = Null(
    name="rotated",
    title="rotated",
    phrase="a rotation of the same neurons",
    meaning="a random (Haar) rotation of the trained layer's activations",
    style=NullStyle("#777777", (0, (5, 2)), "D", "diamond"),
    order=1,
    shown=True,
    make=rotated,
    needs="two neurons that are not dead",
)
