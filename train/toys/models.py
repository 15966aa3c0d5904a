"""The three toy networks, with an instance and a replica axis in every parameter.

Every network is a list of layers, out = act(M in + b), and `forward` is the only place that computes one. Inside, a
sample is a column ([inst rep width batch]), so that element-wise operations run along the batch, which is long where
the other axes are short; outside (`ToyModel`), a sample is a row, as everywhere else.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from train.toys.config import ToyConfig
from train.toys.network_config import Activation, NetworkConfig


@dataclass(frozen=True)
class Layer:
    """act(weight x + bias), for every instance and replica its own."""

    weight: Float[Tensor, "inst rep out in"]
    bias: Float[Tensor, "inst rep out"] | None
    activation: Activation


@dataclass(frozen=True)
class Trace:
    """The activations of one layer in `forward`; both are [inst rep width batch].

    `before` is the input of the activation function, but for ReLU its output: the sign of either gives the slope.
    """

    before: Tensor
    after: Tensor


def layers_of(config: NetworkConfig, parameters: dict[str, Tensor]) -> list[Layer]:
    """The layers that the parameters form; W is tied (used twice) unless the network is a computation."""
    bias = parameters.get("b")
    if config.is_tied:
        weight, hidden = parameters["W"], "linear" if config.kind == "bottleneck" else config.activation
        return [Layer(weight, None, hidden), Layer(weight.mT, bias, config.output)]
    depth = len(config.hidden)
    hidden_layers = [
        Layer(parameters[f"W{i}"], parameters.get(f"b{i}"), config.activation) for i in range(1, depth + 1)
    ]
    return [*hidden_layers, Layer(parameters[f"W{depth + 1}"], bias, config.output)]


def multiply(weight: Float[Tensor, "inst rep out in"], x: Float[Tensor, "inst rep_or_1 in batch"]) -> Tensor:
    """weight @ x, [inst rep out batch]; replicas that share x are one tall matrix."""
    n_inst, n_rep, n_out, n_in = weight.shape
    if x.shape[1] == 1:
        tall = weight.reshape(n_inst, n_rep * n_out, n_in)
        return torch.bmm(tall, x[:, 0]).view(n_inst, n_rep, n_out, -1)
    return torch.bmm(weight.flatten(0, 1), x.flatten(0, 1)).view(n_inst, n_rep, n_out, -1)


def forward(
    layers: Sequence[Layer], x: Float[Tensor, "inst rep_or_1 in batch"], masks: Sequence[Tensor] = ()
) -> list[Trace]:
    """Every layer's activations, the last one's being the network's output.

    `masks` are dropout's, one a hidden layer: factors that broadcast to [inst rep width batch].
    """
    traces: list[Trace] = []
    for i, layer in enumerate(layers):
        before = multiply(layer.weight, x)
        if layer.bias is not None:
            before.add_(layer.bias.unsqueeze(-1))
        match layer.activation:
            case "relu":
                before = after = before.relu_()
            case "gelu":
                after = F.gelu(before)
            case "solu":
                after = torch.softmax(before, 2) * before
            case "linear":
                after = before
        x = after * masks[i] if masks and i < len(layers) - 1 else after
        traces.append(Trace(before, x))
    return traces


@dataclass(frozen=True)
class ToyModel:
    """Networks of one shape: every instance and replica has its own weights.

    Parameters, by kind:
        bottleneck, neuron: "W" [inst rep hidden feat], "b" [inst rep feat] with an output bias.
        computation: "W1" [inst rep hidden feat], "W2" [inst rep hidden hidden] ... up to [inst rep out hidden];
            "b1", "b2" ... [inst rep hidden] with hidden biases; "b" [inst rep out] with an output bias.
    """

    config: NetworkConfig
    parameters: dict[str, Tensor]

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, hidden ones first."""
        return layers_of(self.config, self.parameters)

    @property
    def n_inst(self) -> int:
        """Instances: rows of the sweep."""
        return self.layers[0].weight.shape[0]

    @property
    def n_rep(self) -> int:
        """Replicas of every instance."""
        return self.layers[0].weight.shape[1]

    @property
    def n_features(self) -> int:
        """Inputs."""
        return self.layers[0].weight.shape[-1]

    @property
    def n_outputs(self) -> int:
        """Outputs."""
        return self.layers[-1].weight.shape[-2]

    def __call__(self, x: Float[Tensor, "inst rep_or_1 batch feat"]) -> Float[Tensor, "inst rep batch out"]:
        """The network's answers; without dropout."""
        return forward(self.layers, x.mT)[-1].after.mT

    def hidden(self, x: Float[Tensor, "inst rep_or_1 batch feat"]) -> list[Float[Tensor, "inst rep batch hidden"]]:
        """The activations of every hidden layer; of a bottleneck the linear h = W x."""
        return [trace.after.mT for trace in forward(self.layers[:-1], x.mT)]

    def select(self, replica: Int[Tensor, "inst"] | None = None, instance: int | None = None) -> "ToyModel":
        """One replica of each instance, one instance, or both; the axes stay, of size 1.

        `replica` names one for every instance of this model, before `instance` is taken.
        """
        chosen = self.parameters
        if replica is not None:
            rows = torch.arange(self.n_inst)
            chosen = {name: each[rows, replica].unsqueeze(1) for name, each in chosen.items()}
        if instance is not None:
            chosen = {name: each[instance].unsqueeze(0) for name, each in chosen.items()}
        return ToyModel(self.config, chosen)


def shapes(config: NetworkConfig, n_features: int, n_outputs: int) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of one network; weights come before biases."""
    if config.is_tied:
        weights: dict[str, tuple[int, ...]] = {"W": (config.hidden[0], n_features)}
        return weights | ({"b": (n_outputs,)} if config.bias else {})
    widths = (n_features, *config.hidden, n_outputs)
    weights = {f"W{i + 1}": (widths[i + 1], widths[i]) for i in range(len(widths) - 1)}
    biases = {f"b{i}": (width,) for i, width in enumerate(config.hidden, 1)} if config.hidden_bias else {}
    return weights | biases | ({"b": (n_outputs,)} if config.bias else {})


def initial(configs: Sequence[ToyConfig], n_outputs: int, seed: int, replicas: int) -> ToyModel:
    """Networks before training, for instances that differ at most in what a sweep may change.

    Replica r's draw of parameter "W" is seeded by the words (seed, "W", r) alone: it is the same however many
    replicas or instances there are, and every instance starts from it, times its own `init_scale`. Biases are 0, and
    so are all weights of hidden neurons that take no part (`network.neurons`): no gradient reaches them.
    """
    network, n_features = configs[0].network, configs[0].features.n
    scales = torch.tensor([config.network.init_scale for config in configs])
    parameters: dict[str, Tensor] = {}
    for name, shape in shapes(network, n_features, n_outputs).items():
        if len(shape) == 1:
            parameters[name] = torch.zeros(len(configs), replicas, *shape)
            continue
        drawn = np.empty((replicas, *shape), dtype=np.float32)
        for replica in range(replicas):
            drawn[replica] = _draw(network, shape, seed, name, replica)
        parameters[name] = scales[:, None, None, None] * torch.from_numpy(drawn)
    for i, config in enumerate(configs):
        if (neurons := config.network.neurons) is not None:
            _leave_out(network, {name: each[i] for name, each in parameters.items()}, neurons)
    return ToyModel(network, parameters)


def _leave_out(network: NetworkConfig, weights: dict[str, Tensor], neurons: int) -> None:
    """Weights of 0 for all hidden neurons but the first ones, whose scale is that of a network of their number."""
    hidden = network.hidden[0]
    for name, side in (("W", -2),) if network.is_tied else (("W1", -2), ("W2", -1)):
        weight = weights[name]
        weight.narrow(side, neurons, hidden - neurons).zero_()
        other = weight.shape[-1] if side == -2 else weight.shape[-2]
        if network.init == "xavier":
            weight.mul_(math.sqrt((hidden + other) / (neurons + other)))
        elif side == -1:
            weight.mul_(math.sqrt(hidden / neurons))


def _draw(network: NetworkConfig, shape: tuple[int, ...], seed: int, name: str, replica: int) -> np.ndarray:
    words = hashlib.sha256(f"{seed} {name} {replica}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(words[:16], "little")))
    fan_out, fan_in = shape
    if network.init == "kaiming":
        bound = math.sqrt(6 / fan_in)
        return bound * (2 * generator.random(shape, dtype=np.float32) - 1)
    return math.sqrt(2 / (fan_in + fan_out)) * generator.standard_normal(shape, dtype=np.float32)
