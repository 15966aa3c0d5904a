"""Toy training by what torch offers, all networks at once: what the gradient and Adam written by hand have to beat.

All of them read the samples of `train.toys` and compute the same losses; they differ in gradient and optimiser.
autograd     the forward pass of `train.toys.models` through autograd, torch.optim.Adam(foreach=True)
compiled     the same, with the loss compiled by torch.compile
torch.func   vmap of grad over one network's loss, Adam as above
foreach Adam the gradient written by hand, Adam as above: what the Adam written by hand is worth by itself
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.gradient import Objective, gradients
from train.toys.models import forward, initial, layers_of
from train.toys.targets import Target

Step = Callable[[int], None]
"""One step of training of all networks, from its number."""


class _Rival:
    """Networks as leaves of autograd, their samples, and foreach Adam."""

    def __init__(self, config: ToyConfig):
        self.config, self.configs = config, config.instances()
        self.sampler, self.target = Sampler.of(self.configs), Target.of_instances(self.configs)
        self.objective = Objective.of(self.configs, self.target)
        start = initial(self.configs, self.target.n_outputs, config.fit.seed, config.fit.replicas)
        self.parameters = {name: each.requires_grad_() for name, each in start.parameters.items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=config.fit.lr, foreach=True)

    def samples(self, step: int) -> tuple[Tensor, Tensor]:
        """Features and answers, as columns: [inst 1 feat batch], [inst 1 out batch]."""
        rows = self.sampler.sample(self.config.fit.batch, self.config.fit.seed, step)
        return rows.mT.contiguous(), self.target(rows).mT.contiguous()

    def loss(self, parameters: dict[str, Tensor], x: Tensor, wanted: Tensor) -> Tensor:
        """The sum of all networks' losses."""
        output = forward(layers_of(self.config.network, parameters), x)[-1].after
        return self.objective.per_output(output, wanted).mean(-1).sum()


def autograd(config: ToyConfig) -> Step:
    """Batched autograd and foreach Adam."""
    rival = _Rival(config)

    def step(number: int) -> None:
        rival.optimizer.zero_grad()
        rival.loss(rival.parameters, *rival.samples(number)).backward()
        rival.optimizer.step()

    return step


def compiled(config: ToyConfig) -> Step:
    """The same with a compiled loss, whose backward pass is compiled with it."""
    rival = _Rival(config)
    loss = torch.compile(rival.loss, dynamic=False)

    def step(number: int) -> None:
        rival.optimizer.zero_grad()
        loss(rival.parameters, *rival.samples(number)).backward()
        rival.optimizer.step()

    return step


def torch_func(config: ToyConfig) -> Step:
    """vmap over instances and replicas of the gradient of one network's loss; the plain loss of mse."""
    rival = _Rival(config)
    importances = rival.objective.importances[:, 0, :, 0]

    def one(parameters: dict[str, Tensor], importance: Tensor, x: Tensor, wanted: Tensor) -> Tensor:
        if "W" in parameters:
            hidden = parameters["W"] @ x
            output = torch.relu(parameters["W"].T @ hidden + parameters["b"][:, None])
        else:
            hidden = torch.relu(parameters["W1"] @ x)
            output = torch.relu(parameters["W2"] @ hidden + parameters["b"][:, None])
        return (importance[:, None] * (output - wanted).square()).mean()

    of_replicas = vmap(grad(one), in_dims=(0, None, None, None))
    of_instances = vmap(of_replicas, in_dims=(0, 0, 0, 0))

    def step(number: int) -> None:
        x, wanted = rival.samples(number)
        values = {name: each.detach() for name, each in rival.parameters.items()}
        with torch.no_grad():
            slopes = of_instances(values, importances, x[:, 0], wanted[:, 0])
        for name, each in rival.parameters.items():
            each.grad = slopes[name]
        rival.optimizer.step()

    return step


def foreach_adam(config: ToyConfig) -> Step:
    """The gradient written by hand with torch's Adam."""
    rival = _Rival(config)
    layers = layers_of(config.network, {name: each.detach() for name, each in rival.parameters.items()})

    def step(number: int) -> None:
        x, wanted = rival.samples(number)
        with torch.no_grad():
            slopes = gradients(config.network, layers, x, forward(layers, x), wanted, rival.objective)
        for name, each in rival.parameters.items():
            each.grad = slopes[name]
        rival.optimizer.step()

    return step


RIVALS: dict[str, Callable[[ToyConfig], Step]] = {
    "autograd": autograd,
    "compiled": compiled,
    "torch.func": torch_func,
    "foreach Adam": foreach_adam,
}
