"""Measures of phase diagrams."""

import numpy as np

from analyze.toys.measures.base import PerReplica, register
from analyze.toys.phase import observed_strategy, predicted_strategies
from analyze.toys.reading import Reading


@register
def strategy(of: Reading) -> PerReplica:
    """What became of the last feature: 0 ignored, 1 dedicated, 2 antipodal, 3 dedicated with two others
    antipodal; NaN for something else."""
    return np.array([[observed_strategy(weight) for weight in replicas] for replicas in of.weight], dtype=np.float64)


@register
def agrees_with_phase(of: Reading) -> PerReplica:
    """1 where the strategy is the one of lowest loss in theory (analyze.toys.phase), else 0."""
    predicted = [predicted_strategies(config) for config in of.configs]
    agrees = [np.isin(observed, cheapest) for observed, cheapest in zip(strategy(of), predicted, strict=True)]
    return np.array(agrees, dtype=np.float64)


@register
def phase_agreement(of: Reading) -> PerReplica:
    """Share of all instances whose best replica has the strategy of lowest loss in theory; one number for the run."""
    agrees = agrees_with_phase(of)[np.arange(of.run.n_inst), of.run.best]
    return np.full((of.run.n_inst, of.run.n_rep), agrees.mean())
