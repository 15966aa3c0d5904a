"""The processes and devices that train one model, as the launcher started them."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from train.config import RunConfig
from train.errors import BadInput, EnvironmentProblem

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = timedelta(seconds=30)
"""How long a process waits for another before it gives up: a dead one ends all of them."""


def make_accelerator(config: RunConfig) -> "Accelerator":
    """The Accelerator that the config and the launcher ask for, checked.

    Raises:
        EnvironmentProblem: fewer processes than the launcher announced.
        BadInput: rows that do not divide among processes and accumulation passes.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    accelerator = Accelerator(
        cpu=config.train.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="bf16" if config.train.precision == "bf16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        log_with="wandb" if config.train.wandb != "off" else None,
    )
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != announced:
        raise EnvironmentProblem(f"{announced} processes announced, accelerate runs {accelerator.num_processes}")
    if config.train.rows_per_step % (config.train.accumulate * accelerator.num_processes):
        raise BadInput(
            f"train.rows_per_step: {config.train.rows_per_step} rows do not divide into train.accumulate = "
            f"{config.train.accumulate} x {accelerator.num_processes} processes"
        )
    return accelerator
