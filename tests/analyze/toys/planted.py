"""Toys whose weights are planted, as if training had found them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from analyze.toys.interference import final_samples
from train.toys.baseline import naive_loss
from train.toys.config import ToyConfig
from train.toys.models import ToyModel
from train.toys.runs import Curves, ToyRun
from train.toys.targets import Target

ABOUT = {"title": "t", "question": "q", "expectation": "e", "run_time": "r"}


def toy_config(**sections: Any) -> ToyConfig:
    """A config of a bottleneck of 2 features in 1 dimension, with these keys in its sections instead."""
    base: dict[str, Any] = {
        "features": {"n": 2, "probability": 0.1},
        "network": {"kind": "bottleneck", "hidden": 1},
        "fit": {"steps": 1, "replicas": 1, "eval_samples": 16_384},
    }
    whole = {name: base.get(name, {}) | sections.get(name, {}) for name in {*base, *sections} - {"expect"}}
    return ToyConfig.model_validate({"about": ABOUT, "expect": sections.get("expect", []), **whole})


def planted(config: ToyConfig, parameters: dict[str, Tensor], losses: list[list[float]] | None = None) -> ToyRun:
    """The run that would have left these parameters [inst rep ...]; its curves fall from 1 to the final losses.

    Losses are squared errors, unless they are told (as means over outputs).
    """
    model, target = ToyModel(config.network, parameters), Target.of(config)
    per_output, naive = [], []
    for i, one in enumerate(config.instances()):
        x = torch.cat(list(final_samples(one)))
        errors = (model.select(instance=i)(x[None, None])[0] - target(x)).square().mean(1).double()
        per_output.append(errors * torch.tensor(target.importances(one.features.importances())))
        naive.append(naive_loss(one, x))
    table = torch.stack(per_output).numpy()
    final = table.mean(-1) if losses is None else np.array(losses)
    return ToyRun(
        directory=Path("planted"),
        hash="0" * 64,
        config=config,
        instances=pl.DataFrame({"instance": range(len(naive))}),
        model=model,
        losses=final,
        per_output=table,
        best=final.argmin(1),
        naive=tuple(naive),
        curves=Curves(np.array([0, config.fit.steps]), np.stack([np.ones_like(final), final])),
        snapshot_steps=np.empty(0, dtype=np.int64),
        snapshots={},
        seconds=0.0,
    )
