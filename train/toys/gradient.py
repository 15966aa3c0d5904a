"""The objective of training, and its gradient written by hand.

The networks are small and the batch is long, so that the time goes into passes over [inst rep width batch]. Written by
hand, the gradient makes half as many of them as autograd does: the loss itself is never formed, importances
multiply weights instead of errors, slopes overwrite what they are computed from. The tests compare it with autograd
through the same `forward`, for every option.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.models import Layer, Trace, multiply
from train.toys.network_config import NetworkConfig
from train.toys.targets import Target


@dataclass(frozen=True)
class Objective:
    """The loss of every instance and replica, and its slope.

    mse: importance x squared error (or |error| to another power), mean over samples and outputs. cross_entropy: the
    outputs come in groups (the levels of a feature, the sides of a pair) whose softmax is compared with the target;
    importance x cross-entropy of the output's group, mean over samples and outputs (which is that over groups), in
    nats.
    Apart from that loss, training adds `l1` x the mean over samples of the sum of |hidden activations| of all hidden
    layers, as the next layer reads them.
    """

    loss: Literal["mse", "cross_entropy"]
    group: int
    """Outputs that share a softmax; 1 for mse."""
    importances: Float[Tensor, "inst 1 out 1"]
    l1: Float[Tensor, "inst 1 1 1"] | None
    power: Float[Tensor, "inst 1 1 1"] | None = None
    """Of the error, where it is not 2."""

    @classmethod
    def of(cls, configs: Sequence[ToyConfig], target: Target) -> "Objective":
        """The objective of instances that share the loss and the target."""
        first = configs[0]
        importances = torch.stack(
            [torch.as_tensor(target.importances(c.features.importances()), dtype=torch.float32) for c in configs]
        )
        group = target.n_classes if first.fit.loss == "cross_entropy" else 1
        l1 = torch.tensor([c.fit.l1 for c in configs])
        powers = torch.tensor([c.fit.loss_power for c in configs])[:, None, None, None]
        return cls(
            first.fit.loss,
            group,
            importances[:, None, :, None],
            l1[:, None, None, None] if l1.any() else None,
            powers if (powers != 2).any() else None,
        )

    def per_output(
        self, output: Float[Tensor, "inst rep out batch"], target: Float[Tensor, "inst rep_or_1 out batch"]
    ) -> Float[Tensor, "inst rep out"]:
        """Importance x error of each output, mean over samples; its mean over outputs is the loss."""
        if self.loss == "mse" and self.power is not None:
            error = (output - target).abs_().pow_(self.power).mean(-1)
        elif self.loss == "mse":
            error = (output - target).square_().mean(-1)
        else:
            surprise = -(torch.log_softmax(self._grouped(output), 3) * self._grouped(target)).sum(3).mean(-1)
            error = surprise.repeat_interleave(self.group, 2)
        return error.mul_(self.importances[..., 0])

    def slope(
        self, output: Float[Tensor, "inst rep out batch"], target: Float[Tensor, "inst rep_or_1 out batch"]
    ) -> Float[Tensor, "inst rep out batch"]:
        """The derivative of the loss by the output, without the factor `scale`."""
        if self.loss == "mse" and self.power is not None:
            error = output - target
            return error.abs().pow_(self.power - 1).copysign_(error)
        if self.loss == "mse":
            return output - target
        share, wanted = torch.softmax(self._grouped(output), 3), self._grouped(target)
        return share.mul_(wanted.sum(3, keepdim=True)).sub_(wanted).flatten(2, 3)

    def scale(self, batch: int) -> Float[Tensor, "inst 1 out 1"]:
        """The factor that `slope` leaves out, one an output, for a batch of this many samples."""
        n_outputs = self.importances.shape[2]
        if self.loss == "mse":
            return self.importances * ((2 if self.power is None else self.power) / (batch * n_outputs))
        weight = self.importances.unflatten(2, (-1, self.group)).sum(3).repeat_interleave(self.group, 2)
        return weight / (batch * n_outputs)

    def _grouped(self, outputs: Tensor) -> Tensor:
        return outputs.unflatten(2, (-1, self.group))


def gradients(
    config: NetworkConfig,
    layers: Sequence[Layer],
    x: Float[Tensor, "inst rep_or_1 feat batch"],
    traces: Sequence[Trace],
    target: Float[Tensor, "inst rep_or_1 out batch"],
    objective: Objective,
    masks: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """The gradient of the objective, summed over instances and replicas, by every parameter.

    `traces` and `masks` are those of `forward(layers, x, masks)`; the traces are overwritten.
    """
    batch, last = x.shape[-1], len(layers) - 1
    scale = objective.scale(batch)
    weights: list[Tensor] = []
    biases: list[Tensor | None] = []
    slope = objective.slope(traces[last].after, target)
    if layers[last].activation == "solu":
        # It mixes outputs, so that their scales cannot wait until after it.
        slope, scale = slope * scale, torch.ones_like(scale)
    for i in range(last, -1, -1):
        if i < last:
            if objective.l1 is not None:
                slope.add_(traces[i].after.sign().mul_(objective.l1 / batch))
            if masks:
                slope.mul_(masks[i])
        slope = _through(layers[i], traces[i], slope)
        weight = multiply(slope, (traces[i - 1].after if i else x).mT)
        bias = slope.sum(-1) if layers[i].bias is not None else None
        if i == last:
            weight.mul_(scale)
            bias = bias.mul_(scale[..., 0]) if bias is not None else None
        weights.insert(0, weight)
        biases.insert(0, bias)
        if i:
            slope = multiply((layers[i].weight * scale if i == last else layers[i].weight).mT, slope)
    return _by_name(config, weights, biases)


def _through(layer: Layer, trace: Trace, slope: Tensor) -> Tensor:
    """From the slope after an activation to the slope before it, in place where possible."""
    match layer.activation:
        case "relu":
            return torch.ops.aten.threshold_backward.grad_input(slope, trace.after, 0, grad_input=slope)
        case "gelu":
            return torch.ops.aten.gelu_backward(slope, trace.before)
        case "solu":
            share = torch.softmax(trace.before, 2)
            value = trace.before * share
            return slope.mul(1 + trace.before).sub_((slope * value).sum(2, keepdim=True)).mul_(share)
        case "linear":
            return slope


def _by_name(config: NetworkConfig, weights: list[Tensor], biases: list[Tensor | None]) -> dict[str, Tensor]:
    """Back from layers to parameters: the reverse of `layers_of`."""
    if config.is_tied:
        named = {"W": weights[0].add_(weights[1].mT)}
    else:
        named = {f"W{i}": weight for i, weight in enumerate(weights, 1)}
        named |= {f"b{i}": bias for i, bias in enumerate(biases[:-1], 1) if bias is not None}
    return named | ({"b": biases[-1]} if biases[-1] is not None else {})
