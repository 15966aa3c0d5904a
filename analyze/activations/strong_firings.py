"""Activations above a neuron's median, and the strong ones among them."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

STRONG = 0.25
"""A token counts as a strong firing where the neuron is above this share of its maximum."""
FEWEST_DOCUMENTS = 10
"""A neuron that fires strongly in fewer documents of either half is not scored by what it fires on."""
_CHUNK = 16_384
_TILE = 512


def rectified(activations: Float[Tensor, "t n"], median: Float[ndarray, " n"]) -> Float[Tensor, "t n"]:
    """max(a - median, 0), written over the activations: what is above a neuron's median.

    Rules, gains and K_eff are the same for any positive factor, so nothing is divided out.
    """
    least = torch.from_numpy(median.astype(np.float32))
    for piece in activations.split(_TILE):  # a tile stays in the cache for both steps
        piece.sub_(least).clamp_(min=0)
    return activations


def least_strong(a: Float[Tensor, "t n"], is_fit: Bool[ndarray, "t"]) -> Float[Tensor, " n"]:
    """STRONG x the largest rectified activation over the fit tokens, of each neuron; 0 where there are none."""
    strongest = torch.zeros(a.shape[1])
    # Piece by piece: a copy of the fit rows would double the memory of a block.
    for piece in torch.from_numpy(np.flatnonzero(is_fit)).split(_CHUNK):
        if len(piece):
            strongest = torch.maximum(strongest, a[piece].amax(dim=0))
    return STRONG * strongest


def strong_firings(
    activations: Float[Tensor, "t n"], median: Float[ndarray, " n"], is_fit: Bool[ndarray, "t"]
) -> Float[Tensor, "t n"]:
    """Weights w = a [a > STRONG x max of a over the fit tokens], a = max(activation - median, 0).

    Rectified and never min-max scaled: that would lift the zero of GELU, whose values reach below it, to a
    positive weight. The threshold comes from the fit tokens alone. Written over the activations.
    """
    a = rectified(activations, median)
    least = least_strong(a, is_fit)
    for piece in a.split(_CHUNK):
        piece.mul_(piece > least)
    return a
