"""Parameter groups and the learning rate as a function of the step."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from train.config import OptimConfig
from train.model import Transformer


def learning_rate(config: OptimConfig, step: int, n_steps: int, tokens_per_step: int) -> float:
    """The rate of step `step` of `n_steps`: linear warmup, then a cosine to `final_lr_share` of the peak.

    A pure function, so a resumed run needs no scheduler state. The warmup is at most a tenth of the run.
    """
    n_warmup = min(math.ceil(config.warmup_tokens / tokens_per_step), max(1, n_steps // 10))
    if step < n_warmup:
        return config.lr * (step + 1) / n_warmup
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    floor = config.final_lr_share
    return config.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to matrices only, not to embeddings, biases and LayerNorms."""
    return parameter.ndim == 2 and name not in ("tok_embed.weight", "pos.weight")


def build_optimizer(model: Transformer, config: OptimConfig, copies: Mapping[int, int]) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, in groups whose `lr_scale` multiplies the scheduled rate.

    In a layer widened k times, k tied copies follow the narrow layer's path in function space under Adam if
    W_in's epsilon is divided by k (their gradients are k times smaller) and W_out, where the copy rule divided
    it by k, takes lr / k with k times the decay (so that lr x decay stays). Derived and measured for exact
    ties; with noise it is the natural scale of the steps: it keeps an arm's step in function space at its
    narrow control's. Fresh neurons are not tied and take plain rates; `widened_rates = "full"` gives them to all.

    `w_in_rate` and `w_out_rate` multiply the rates of every MLP's W_in with b_in, and of its W_out.

    Args:
        model: which of its parameters train is read once, here.
        config: rates, decay, epsilon.
        copies: layer -> copies of each neuron of the narrow model that it descends from; 1 where it is not named.
    """
    groups: dict[tuple[float, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr_scale, eps = _role_rate(name, config), config.eps
        decay = config.weight_decay if decays(name, parameter) else 0.0
        k = 1 if config.widened_rates == "full" else _copies_of(name, copies)
        if name.endswith("mlp.fc_out.weight") and model.config.activation.w_out_over_k:
            lr_scale, decay = lr_scale / k, decay * k
        else:
            eps /= k
        groups.setdefault((lr_scale, decay, eps), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": config.lr * scale, "lr_scale": scale, "weight_decay": decay, "eps": eps}
            for (scale, decay, eps), parameters in groups.items()
        ],
        betas=config.betas,
        fused=True,
    )


def _copies_of(name: str, copies: Mapping[int, int]) -> int:
    """How many copies of a neuron the parameter `name` holds; b_out belongs to no neuron."""
    if ".mlp." not in name or name.endswith("fc_out.bias"):
        return 1
    return copies.get(int(name.split(".")[1]), 1)


def _role_rate(name: str, config: OptimConfig) -> float:
    if ".mlp.fc_in." in name:
        return config.w_in_rate
    return config.w_out_rate if name.endswith("mlp.fc_out.weight") else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the scheduled rate times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
