"""Adam's moments: read from an optimizer, given to one, and those that a run starts with."""

import torch
from torch import Tensor

from train.checkpoint import Checkpoint
from train.config import RunConfig
from train.errors import BadInput
from train.model import Transformer
from train.widening.transplant import transplanted


def moments_of(model: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step count by `<parameter>/exp_avg`, `/exp_avg_sq` and `/step`, on the CPU."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in sorted(model.named_parameters()):
        for key, value in sorted(optimizer.state.get(parameter, {}).items()):
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    return tensors


def initial_moments(
    config: RunConfig, start: Checkpoint | None, resumed: Checkpoint | None, model: Transformer
) -> dict[str, Tensor]:
    """The moments that a run starts with: its own where it resumes, its start's where the config says so, or none.

    Raises:
        BadInput: a start that holds no moments for a parameter that trains.
    """
    if resumed is not None:
        return resumed.optimizer_state()
    if start is None or config.optim.state == "fresh":
        return {}
    moments = start.optimizer_state()
    if config.widen is not None:
        moments = transplanted(moments, config.widen, model.config.act, model.config.n_layers)
        if config.widen.split == "dirichlet" or (config.widen.noise != "none" and config.widen.sigma > 0):
            print("warning: optim.state: unequal copies take moments that are right on average only", flush=True)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and f"{name}/exp_avg" not in moments:
            raise BadInput(
                f"optim.state: {start.directory} holds no moments of {name} to transplant; "
                f"start from a step that trained it, or leave the state fresh"
            )
    return moments


def set_moments(model: Transformer, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Give the optimizer what `moments_of` took, for the parameters that train."""
    for name, parameter in model.named_parameters():
        state = {key.split("/")[1]: value for key, value in moments.items() if key.startswith(f"{name}/")}
        if state and parameter.requires_grad:
            # A fused kernel wants Adam's step count on the device of the moments.
            optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
