"""Measures of the loss: against baselines, by the number of active features, on the way."""

from math import nan

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.toys.dynamics import jumps
from analyze.toys.measures.base import PerReplica, register
from analyze.toys.reading import Reading


def _over(losses: PerReplica, baseline: Float[ndarray, "inst"]) -> PerReplica:
    return losses / np.where(baseline > 0, baseline, nan)[:, None]


@register
def loss(of: Reading) -> PerReplica:
    """Final loss on held-out samples: importance x squared error, mean over samples and outputs; nats for
    cross-entropy."""
    return of.run.losses


@register
def loss_over_naive(of: Reading) -> PerReplica:
    """Loss over that of the naive baseline, which gives as many outputs as it can neurons of their own and a
    constant to the rest; a ratio, below 1 only with superposition. NaN where the baseline's loss is 0."""
    return _over(of.run.losses, of.run.naive_losses)


@register
def loss_over_constant(of: Reading) -> PerReplica:
    """Loss over that of the best constant for every output (the variance, importance-weighted); a ratio, 1 for a
    model that has learned nothing."""
    return _over(of.run.losses, of.run.constant_losses)


@register
def accuracy(of: Reading) -> PerReplica:
    """Share of held-out samples and groups of outputs whose largest logit is the right class's, 0 to 1."""
    return of.accuracy


@register
def loss_of_one_active(of: Reading) -> PerReplica:
    """Loss on the samples with exactly one active feature: alternating interference. NaN with under 30 of them."""
    return _of_active(of, 1)


@register
def loss_of_two_active(of: Reading) -> PerReplica:
    """Loss on the samples with exactly two active features: simultaneous interference comes in."""
    return _of_active(of, 2)


@register
def loss_of_two_over_one(of: Reading) -> PerReplica:
    """Loss on samples of two active features over twice that on samples of one; a ratio: 1 where each feature
    adds its own error, above 1 where features that are active together make it worse."""
    single = _of_active(of, 1)
    return _of_active(of, 2) / (2 * np.where(single > 0, single, nan))


def _of_active(of: Reading, n: int) -> PerReplica:
    split = of.split.loss
    return split[:, :, n] if n < split.shape[-1] else np.full(split.shape[:2], nan)


@register
def n_jumps(of: Reading) -> PerReplica:
    """Abrupt falls of the loss between plateaus of the learning curve; a count (analyze.toys.dynamics.jumps)."""
    return np.apply_along_axis(jumps, 0, of.run.curves.losses)


@register
def log_loss(of: Reading) -> PerReplica:
    """log10 of the final loss: differences are orders of magnitude. NaN where the loss is 0."""
    return np.log10(np.where(of.run.losses > 0, of.run.losses, nan))
