"""Loss by how many features are active: interference alternating (one active) against simultaneous (several).

With one feature active, every error on another output is alternating interference: the feature is mistaken for
another one. With several active at once their projections also add up: simultaneous interference.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from train.toys.distributions import Sampler
from train.toys.runs import ToyRun
from train.toys.targets import Target

N_SAMPLES = 65_536
FEWEST = 30
"""Samples below which the loss of a number of active features is not stated."""
_CHUNK = 2**24  # floats of one [inst rep batch width] tensor


@dataclass(frozen=True)
class SplitLoss:
    """Loss by number of active features, of every replica of every instance."""

    loss: Float[ndarray, "inst rep active"]
    """Mean over the samples with so many active features, and over outputs, of importance x squared error;
    index = number of active features, from 0; NaN where fewer than `FEWEST` samples have that many."""
    samples: Int[ndarray, "inst active"]
    """How many samples have so many active features."""


def loss_by_active(run: ToyRun, n: int = N_SAMPLES) -> SplitLoss:
    """Splits the loss of every replica by the number of features that are active.

    Raises:
        ValueError: the run's loss is not a squared error.
    """
    if run.config.fit.loss != "mse":
        raise ValueError(f"loss_by_active splits a squared error, not {run.config.fit.loss}")
    configs = run.config.instances()
    target = Target.of(run.config)
    x = Sampler.of(configs).sample(n, run.config.fit.seed, "analyze")
    importances = torch.tensor([target.importances(c.features.importances()) for c in configs])
    active = (x != 0).sum(-1)[:, 0]
    n_active = int(active.max()) + 1
    sums = np.zeros((run.model.n_inst, run.model.n_rep, n_active))
    widest = max(run.model.n_features, run.model.n_outputs, *run.config.network.hidden)
    for i in range(run.model.n_inst):
        one = run.model.select(instance=i)
        step = max(1, _CHUNK // (run.model.n_rep * widest))
        for start in range(0, n, step):
            some = x[i : i + 1, :, start : start + step]
            with torch.no_grad():
                errors = (importances[i] * (one(some) - target(some)).square()).mean(-1)[0].double()
            sums[i] += (
                torch.zeros(run.model.n_rep, n_active, dtype=torch.float64)
                .index_add_(1, active[i, start : start + step], errors)
                .numpy()
            )
    counts = torch.stack([torch.bincount(each, minlength=n_active) for each in active]).numpy()
    kept = np.where(counts >= FEWEST, counts, np.nan)
    return SplitLoss(sums / kept[:, None, :], counts)
