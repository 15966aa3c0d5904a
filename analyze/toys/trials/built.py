"""Toys whose weights are built by hand, as if training had found them: cases of known truth for rules."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.problems.base import Measured
from analyze.toys.interference import final_samples
from analyze.toys.verdicts.measured import measure_run, question_of
from analyze.toys.verdicts.question import LEAST_REPLICAS
from analyze.toys.verdicts.trial import ToyTrials
from train.configfile import load_config
from train.toys.baseline import Naive, naive_loss
from train.toys.config import ToyConfig
from train.toys.gradient import Objective
from train.toys.listing import SHIPPED
from train.toys.models import ToyModel, forward
from train.toys.runs import Curves, ToyRun
from train.toys.targets import Target

SAMPLES = 4096
"""Of the losses of built toys."""

Weights = dict[str, Tensor]
"""Parameters as [inst rep ...]."""

Make = Callable[[ToyConfig, np.random.Generator], ToyRun | tuple[ToyRun, ToyRun]]
"""Builds a case from the shipped config: a toy, or with the toy that its rule names as null."""


def shipped(name: str) -> ToyConfig:
    """A config that comes with polysem, with as many replicas as a verdict needs and losses on few samples."""
    config = load_config(ToyConfig, SHIPPED / f"{name}.toml")
    few = {"replicas": LEAST_REPLICAS, "eval_samples": SAMPLES}
    return config.model_copy(update={"fit": config.fit.model_copy(update=few)})


def with_network(config: ToyConfig, **changes: object) -> ToyConfig:
    """The config with another network, such as a wider one."""
    return config.model_copy(update={"network": config.network.model_copy(update=changes)})


def built(config: ToyConfig, weights: Weights, naive: Sequence[Naive] | None = None) -> ToyRun:
    """The run that would have left these weights; its curves are flat.

    Args:
        naive: of each instance, where another network's is meant.
    """
    instances = config.instances()
    model, table, baselines = ToyModel(config.network, weights), [], []
    for i, one in enumerate(instances):
        x = torch.cat(list(final_samples(one)))
        target = Target.of(one)
        output = forward(model.select(instance=i).layers, x.T[None, None])[-1].after
        wanted = target(x).T[None, None]
        table.append(Objective.of([one], target).per_output(output, wanted)[0].double())
        baselines.append(naive_loss(one, x) if naive is None else naive[i])
    per_output = torch.stack(table).numpy()
    losses = per_output.mean(-1)
    return ToyRun(
        directory=Path("built"),
        hash="0" * 64,
        config=config,
        instances=pl.DataFrame({"instance": range(len(instances))}),
        model=model,
        losses=losses,
        per_output=per_output,
        best=losses.argmin(1),
        naive=tuple(baselines),
        curves=Curves(np.array([0, config.fit.steps]), np.stack([losses, losses])),
        snapshot_steps=np.empty(0, dtype=np.int64),
        snapshots={},
        seconds=0.0,
    )


def with_readout(config: ToyConfig, first: Float[Tensor, "inst rep hidden feat"], bias: Tensor | None) -> Weights:
    """The weights of a computation with one hidden layer whose output weights are the least-squares best for its
    input weights and hidden biases; the output is linear."""
    weights = {"W1": first} | ({} if bias is None else {"b1": bias})
    n_inst, n_rep, hidden, _ = first.shape
    n_out = Target.of(config).n_outputs
    last, constant = torch.zeros(n_inst, n_rep, n_out, hidden), torch.zeros(n_inst, n_rep, n_out)
    for i, one in enumerate(config.instances()):
        x = torch.cat(list(final_samples(one)))
        wanted = Target.of(one)(x).double()
        layers = ToyModel(config.network, weights | {"W2": last, "b": constant}).select(instance=i).layers
        activations = forward(layers[:1], x.T[None, None])[0].after[0].double()
        for r in range(n_rep):
            columns = torch.cat([activations[r].T, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
            fit = torch.linalg.pinv(columns.T @ columns, hermitian=True) @ (columns.T @ wanted)
            last[i, r], constant[i, r] = fit[:-1].T.float(), fit[-1].float()
    return weights | {"W2": last, "b": constant}


def trials_of(name: str, says: str, planted: Make, null: Make) -> ToyTrials:
    """Trials of a config's rule on built toys."""

    def cases(make: Make, kind: int) -> Callable[[int], Sequence[Measured]]:
        def of_seed(seed: int) -> Sequence[Measured]:
            config = shipped(name)
            case = make(config, np.random.default_rng([seed, kind]))
            run, other = case if isinstance(case, tuple) else (case, None)
            # The rule of the shipped config, whatever the network of the case.
            judged = run.config.model_copy(update={"verdict": config.verdict})
            return measure_run(name, replace(run, config=judged), other)

        return of_seed

    return ToyTrials(question_of(name, shipped(name)), cases(planted, 1), cases(null, 0), says)


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    """Standard normal draws."""
    return torch.from_numpy(rng.standard_normal(shape)).float()


def stack(config: ToyConfig, make: Callable[[ToyConfig], Tensor]) -> Tensor:
    """What `make` returns for each replica of each instance, as [inst rep ...]."""
    return torch.stack([torch.stack([make(one) for _ in range(config.fit.replicas)]) for one in config.instances()])
