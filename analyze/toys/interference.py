"""Loss by how many features are active: interference alternating (one active) against simultaneous (several).

With one feature active, every error on another output is alternating interference: the feature is mistaken for
another one. With several active at once their projections also add up: simultaneous interference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.room import EVAL_BLOCK, eval_blocks
from train.toys.runs import ToyRun
from train.toys.targets import Target

FEWEST = 30
"""With fewer samples the loss of a number of active features is not stated."""
_ACTIVATIONS = 2**22
"""Activations of all replicas in one layer at a time (16 MB)."""


@dataclass(frozen=True)
class SplitLoss:
    """Loss by number of active features, of every replica of every instance."""

    loss: Float[ndarray, "inst rep active"]
    """Mean over the samples with so many active features, and over outputs, of importance x squared error (or to the
    power that the loss takes);
    index = number of active features, from 0; NaN where fewer than `FEWEST` samples have that many."""
    samples: Int[ndarray, "inst active"]
    """How many samples have so many active features."""


def final_samples(config: ToyConfig, at_a_time: int = EVAL_BLOCK) -> Iterator[Float[Tensor, "batch feat"]]:
    """The samples of the final losses of an instance, in parts of at most `at_a_time`."""
    sampler = Sampler.of([config])
    for stream, size in eval_blocks(config.fit.eval_samples):
        yield from sampler.sample(size, config.fit.seed, stream)[0, 0].split(at_a_time)


@torch.no_grad()
def loss_by_active(run: ToyRun) -> SplitLoss:
    """Splits the final loss of every replica by the number of features that are active.

    Raises:
        ValueError: the run's loss is not a squared error.
    """
    if run.config.fit.loss != "mse":
        raise ValueError(f"only a squared error is split by the number of active features, not {run.config.fit.loss}")
    n_rep, n_active = run.n_rep, run.model.n_features + 1
    sums = torch.zeros(run.n_inst, n_rep, n_active, dtype=torch.float64)
    counts = torch.zeros(run.n_inst, n_active, dtype=torch.int64)
    widest = max(run.model.n_features, run.model.n_outputs, *run.config.network.hidden)
    for i, config in enumerate(run.config.instances()):
        model, target = run.model.select(instance=i), Target.of(config)
        importances = torch.tensor(target.importances(config.features.importances()))
        for x in final_samples(config, max(1, _ACTIVATIONS // (n_rep * widest))):
            active = (x != 0).sum(-1)
            losses = (importances * (model(x[None, None])[0] - target(x)).abs().pow(config.fit.loss_power)).mean(-1)
            sums[i].index_add_(1, active, losses.double())
            counts[i] += torch.bincount(active, minlength=n_active)
    most = int(counts.sum(0).nonzero().max()) + 1
    enough = torch.where(counts >= FEWEST, counts, torch.nan)[:, None, :most]
    return SplitLoss((sums[..., :most] / enough).numpy(), np.asarray(counts[:, :most]))
