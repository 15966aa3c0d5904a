"""Adam over all networks at once: one flat buffer and a few passes over it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from train.toys.fit_config import FitConfig

EPSILON = 1e-8


def rate_factor(config: FitConfig, step: int) -> float:
    """The rate of step `step` (from 0) over its peak: linear warmup, then as `schedule` says."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    match config.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - progress
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Scales:
    """Factors of the rate and of epsilon for single parameters, by name; 1 for those that are not named.

    Decoupled decay takes the rate without its factor: where a parameter is scaled down by k and its rate with it,
    decay stays in proportion to the parameter.
    """

    rate: Mapping[str, float] = field(default_factory=dict)
    epsilon: Mapping[str, float] = field(default_factory=dict)


class Adam:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), a rate for every instance.

    `parameters`, `gradients`, `first` and `second` (the moments) map names to views [inst rep ...] of one buffer
    each: write into `gradients`, call `step`. Networks do not interact.
    """

    def __init__(self, parameters: dict[str, Tensor], config: FitConfig, rates: Sequence[float], scales: Scales):
        self._config = config
        self._rates = torch.tensor(rates)[:, None]
        sizes = [each.numel() for each in parameters.values()]
        self._flat = {name: torch.zeros(sum(sizes)) for name in ("parameters", "gradients", "first", "second")}
        self._work = torch.empty(sum(sizes))
        self.parameters, self.gradients, self.first, self.second = (
            {
                name: piece.view(parameters[name].shape)
                for name, piece in zip(parameters, flat.split(sizes), strict=True)
            }
            for flat in self._flat.values()
        )
        for name, value in parameters.items():
            self.parameters[name].copy_(value)
        # A rate of 0 would move what is frozen by 0 x infinity, should its gradient overflow.
        self._moves = [
            None if name in config.frozen else (each.flatten(1), name.startswith("W"), scales.rate.get(name, 1.0))
            for name, each in self.parameters.items()
        ]
        self._epsilons = [EPSILON * scales.epsilon.get(name, 1.0) for name in parameters]
        self._shares = [share.view(len(rates), -1) for share in self._work.split(sizes)]

    def step(self, step: int) -> None:
        """Move the parameters by the gradients of step `step` (from 0)."""
        beta_1, beta_2 = self._config.betas
        gradient, first, second, work = (self._flat["gradients"], self._flat["first"], self._flat["second"], self._work)
        first.lerp_(gradient, 1 - beta_1)
        second.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        # The corrections of both moments go into the rate and epsilon, where they are one number each.
        correction = math.sqrt(1 - beta_2 ** (step + 1))
        torch.sqrt(second, out=work)
        for share, epsilon in zip(self._shares, self._epsilons, strict=True):
            share.add_(epsilon * correction)
        torch.div(first, work, out=work)
        factor = rate_factor(self._config, step)
        size = factor * correction / (1 - beta_1 ** (step + 1))
        self._move(factor, size)

    def _move(self, factor: float, size: float) -> None:
        """Decay weights at `factor` times the rate, and move everything against `_work` at `size` times the rate."""
        for move, share in zip(self._moves, self._shares, strict=True):
            if move is None:
                continue
            parameter, is_weight, scale = move
            if is_weight and self._config.weight_decay:
                parameter.mul_(1 - factor * self._config.weight_decay * self._rates)
            parameter.addcmul_(share, self._rates, value=-size * scale)

    def is_finite(self) -> Bool[Tensor, "inst rep"]:
        """Whether every parameter of a network is a finite number."""
        return torch.stack([each.flatten(2).isfinite().all(-1) for each in self.parameters.values()]).all(0)


class Sgd(Adam):
    """Gradient descent with momentum and decoupled weight decay, as a control; `first` is what momentum keeps."""

    def step(self, step: int) -> None:
        """Move the parameters by the gradients of step `step` (from 0)."""
        first = self._flat["first"].mul_(self._config.momentum).add_(self._flat["gradients"])
        self._work.copy_(first)
        factor = rate_factor(self._config, step)
        self._move(factor, factor)


OPTIMIZERS: dict[str, type[Adam]] = {"adam": Adam, "sgd": Sgd}
