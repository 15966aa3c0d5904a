"""A hand-built transformer of two attention heads: one carries the token before along, the other copies by it."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Attention, Transformer

D_HEAD = 16
N_CTX = 40
D_VOCAB = 80
FEW = 4
"""Dimensions of each token's code that are of length one half, as the other 12 are together of 3 / 4 squared."""
_WAVES = 7


def induction_subject(name: str, seed: int, copied: int = D_HEAD, matched: int = D_HEAD) -> Subject:
    """Induction by hand, on random rows.

    Args:
        copied: dimensions of the token's code that the induction head copies; 16 are all.
        matched: dimensions of the earlier token's code that its key compares with the query.
    """
    rows = np.random.default_rng(seed).integers(1, D_VOCAB, (96, N_CTX + 1))
    rows[:, 0] = 0
    return Subject(name, name, seed, induction_model(seed, copied, matched), rows=torch.from_numpy(rows))


def induction_model(seed: int, copied: int = D_HEAD, matched: int = D_HEAD, distance: int | None = None) -> Transformer:
    """Two layers of attention alone, d_model 64; head 0 of each does the work, all else is small noise.

    The residual stream holds, in subspaces of their own, the position (waves), the token's code, the code of the token
    before (written by head 0.0, which finds it by position) and the code to predict (written by head 1.0, which finds
    the place where the token before was the present token).

    Args:
        distance: head 1.0 looks back by so many positions instead, whatever stands there.
    """
    config = ModelConfig(n_layers=2, d_model=64, n_heads=4, n_ctx=N_CTX, d_vocab=D_VOCAB, act="none")
    model = Transformer(config, seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(0.01 * torch.randn(parameter.shape, generator=generator))
    # LayerNorm takes the mean over d_model away: the subspaces are orthogonal to it.
    draw = torch.cat([torch.ones(64, 1), torch.randn((64, 63), generator=generator)], 1)
    basis = torch.linalg.qr(draw)[0][:, 1 : 1 + 2 * _WAVES + 3 * D_HEAD]
    positions, tokens, before, answer = basis.split([2 * _WAVES, D_HEAD, D_HEAD, D_HEAD], 1)
    codes = _codes(generator)
    waves = torch.rand(_WAVES, generator=generator) * 2.9 + 0.2
    angles = torch.arange(N_CTX)[:, None] * waves
    model.tok_embed.weight += codes @ tokens.T
    model.pos.weight += torch.cat([angles.cos(), angles.sin()], 1) @ positions.T / _WAVES**0.5
    model.head.weight += 8 * codes @ answer.T
    _set(model.block(0).attn, 12 * _back(waves, 1) @ positions.T, positions.T, tokens.T, 0.18 * before)
    few = torch.tensor([1.0] * matched + [0.0] * (D_HEAD - matched))
    much = torch.tensor([1.0] * copied + [0.05] * (D_HEAD - copied))
    match, compared = 40 * D_HEAD / matched * few[:, None] * tokens.T, few[:, None] * before.T
    if distance is not None:
        match, compared = 20 * _back(waves, distance) @ positions.T, positions.T
    _set(model.block(1).attn, match, compared, much[:, None] * tokens.T, 1.5 * answer)
    return model


def _back(waves: Float[Tensor, " wave"], steps: int) -> Float[Tensor, "two_waves two_waves"]:
    """From the waves of a position to those of the one `steps` before it."""
    cosine, sine = torch.diag((steps * waves).cos()), torch.diag((steps * waves).sin())
    return torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)])


def _codes(generator: torch.Generator) -> Float[Tensor, "token d_head"]:
    """Random codes of length 1: their first 4 dimensions of squared length 1 / 4, as by chance of all 16."""
    codes = torch.randn((D_VOCAB, D_HEAD), generator=generator)
    few, rest = (torch.nn.functional.normalize(each, dim=1) for each in codes.split([FEW, D_HEAD - FEW], 1))
    return torch.cat([few * (FEW / D_HEAD) ** 0.5, rest * (1 - FEW / D_HEAD) ** 0.5], 1)


def _set(attention: Attention, q: Tensor, k: Tensor, v: Tensor, o: Tensor) -> None:
    """Add the weights of head 0: q, k and v [at most 16 d_model], o [d_model 16]."""
    for part, weight in ((attention.q, q), (attention.k, k), (attention.v, v)):
        part.weight[: len(weight)] += weight
    attention.o.weight[:, : o.shape[1]] += o
