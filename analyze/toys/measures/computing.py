"""Measures of computation: what is reached beyond simple networks, and how the hidden layer takes part in it."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from analyze.toys.interference import final_samples
from analyze.toys.measures.base import PerReplica, mean_where, register
from analyze.toys.reading import Reading
from train.toys.config import ToyConfig
from train.toys.targets import Target

FITTED = 16_384
"""Samples that a linear fit is made on: the first of those of the final loss."""


@register
def loss_over_simple(of: Reading) -> PerReplica:
    """Loss over the lower one of two that need no superposition: the naive baseline, and the best linear function of
    the features (least squares, with as many dimensions as it likes); below 1 only with computation in superposition.
    NaN where that is 0."""
    simple = np.minimum(of.run.naive_losses, linear_losses(of))
    return of.run.losses / np.where(simple > 0, simple, np.nan)[:, None]


def linear_losses(of: Reading) -> Float64[ndarray, "inst"]:
    """The loss of each instance that the best linear function of the features reaches, with or without a bias and a
    ReLU at the output as the network has them (the ReLU applied to the fit)."""
    losses = []
    for config in of.configs:
        x = first_samples(config)
        target, network, power = Target.of(config), config.network, config.fit.loss_power
        wanted = target(x).double()
        fitted = fit_linear(x.double(), wanted, network.bias)
        reached = fitted.relu() if network.output == "relu" else fitted
        importances = torch.tensor(target.importances(config.features.importances()), dtype=torch.float64)
        losses.append(float((importances * (reached - wanted).abs().pow(power)).mean()))
    return np.array(losses)


def first_samples(config: ToyConfig) -> Tensor:
    """Samples of an instance's final loss, at most `FITTED`."""
    blocks, count = [], 0
    for block in final_samples(config):
        blocks.append(block)
        count += len(block)
        if count >= FITTED:
            break
    return torch.cat(blocks)


def fit_linear(x: Tensor, wanted: Tensor, bias: bool) -> Tensor:
    """The least-squares fit of `wanted` [batch out] as a linear function of `x` [batch in], on these samples."""
    if bias:
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return x @ (torch.linalg.pinv(x.T @ x, hermitian=True) @ (x.T @ wanted))


@register
def pair_difference_alignment(of: Reading) -> PerReplica:
    """Mean over live neurons of the largest (w_i - w_j)^2 / 2 over |w|^2 among the pairs (0, 1), (2, 3), ... of input
    weights: 1 where every neuron reads the difference of one pair, 1 / n_features on average at random."""
    w = of.weight
    differences = (w[..., ::2] - w[..., 1::2]).square() / 2
    share = differences.amax(-1) / w.square().sum(-1).clamp_min(torch.finfo(w.dtype).tiny)
    return mean_where(share.numpy(), ~of.dead.numpy()[..., : w.shape[-2]])


@register
@torch.no_grad()
def absolutes_in_first_layer(of: Reading) -> PerReplica:
    """Mean over features of R^2 with which the first hidden layer's activations give |x_i| by a linear readout."""
    found = np.empty((of.run.n_inst, of.run.n_rep))
    for i, config in enumerate(of.configs):
        x = first_samples(config)
        wanted = x.abs().double()
        variance = (wanted - wanted.mean(0)).square().mean(0)
        hidden = of.run.model.select(instance=i).hidden(x[None, None])[0][0].double()
        for r in range(of.run.n_rep):
            left = (fit_linear(hidden[r], wanted, bias=True) - wanted).square().mean(0)
            found[i, r] = float((1 - left / variance).mean())
    return found
