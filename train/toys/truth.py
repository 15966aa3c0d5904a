"""Which neuron of a toy answers to which feature: the truth that scores and widening are judged by."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from einops import reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.features_config import ValuesConfig
from train.toys.models import ToyModel

MONO = 0.9
"""A neuron is monosemantic where one feature makes up more than this share of its responses."""

NODES = 64
"""Of the quadrature, on either side of zero."""

AT_ONCE = 2**23
"""Activations that are computed at a time (64 MB)."""


@dataclass(frozen=True)
class Truth:
    """The response of every hidden neuron of a layer to each feature alone.

    `responses[..., j, i]` is the mean of |a_j(v e_i) - a_j(0)| over the values v that feature i has while it is
    active: by how much it moves the neuron from its resting activation. Relu without hidden biases on values in
    [-1, 1] responds with |w| / 4, whichever sign the weight has.
    """

    responses: Float[Tensor, "inst rep neuron feat"]
    rest: Float[Tensor, "inst rep neuron"]
    """Activation when no feature is active."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: ToyModel, config: ToyConfig, layer: int = 0, at_once: int = AT_ONCE) -> "Truth":
        """Measure a model's responses feature by feature, by Gauss-Legendre quadrature over the value distribution.

        The rule has nodes on either side of zero, so it is exact for relu without hidden biases at any depth;
        where a hidden bias puts the kink elsewhere, it errs by less than 1e-3 of the largest response.

        Args:
            layer: hidden layer, from 0; -1 is the last.
        """
        points, weights = value_quadrature(config.features.values)
        model = replace(model, parameters={name: value.double() for name, value in model.parameters.items()})

        def activations(feature: int, at: Float[Tensor, " batch"]) -> Float[Tensor, "inst rep batch neuron"]:
            x = torch.zeros(model.n_inst, 1, len(at), model.n_features, dtype=torch.float64)
            x[..., feature] = at
            return model.hidden(x)[layer]

        rest = activations(0, torch.zeros(1, dtype=torch.float64))
        length = max(1, at_once // (model.n_inst * (model.n_rep * max(config.network.hidden) + model.n_features)))
        pieces = list(zip(points.split(length), weights.split(length), strict=True))
        responses = []
        for feature in range(model.n_features):
            moved = ((activations(feature, at) - rest).abs() * their[:, None] for at, their in pieces)
            responses.append(sum(reduce(each, "inst rep batch neuron -> inst rep neuron", "sum") for each in moved))
        rest = rest[:, :, 0]
        return cls(torch.stack(responses, dim=-1).float(), rest.float())

    @property
    def feature(self) -> Int[Tensor, "inst rep neuron"]:
        """The feature that each neuron answers to most; -1 where it answers to none (dead)."""
        return torch.where(self.dead, -1, self.responses.argmax(dim=-1))

    @property
    def share(self) -> Float[Tensor, "inst rep neuron"]:
        """This feature's part of all the neuron's responses, 1 / n_features to 1; NaN for a dead neuron."""
        return torch.where(self.dead, torch.nan, self.responses.amax(dim=-1) / self.responses.sum(dim=-1))

    @property
    def dead(self) -> Bool[Tensor, "inst rep neuron"]:
        """Neurons that no feature moves."""
        return self.responses.amax(dim=-1) == 0


def value_quadrature(values: ValuesConfig) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Points and weights (of sum 1) whose weighted sum is the mean of a function of an active feature's value."""
    if values.kind == "choice":
        points = torch.tensor(values.choices, dtype=torch.float64)
        return points, torch.full_like(points, 1 / len(points))
    # Apart on either side of zero, where activations have their kink.
    edges = [values.low, *([0.0] if values.low < 0 < values.high else []), values.high]
    unit, unit_weights = np.polynomial.legendre.leggauss(NODES)
    pieces = [(low + (high - low) * (unit + 1) / 2, unit_weights * (high - low) / 2) for low, high in pairwise(edges)]
    points, weights = (torch.from_numpy(np.concatenate(each)) for each in zip(*pieces, strict=True))
    return points, weights / (values.high - values.low)


@dataclass(frozen=True)
class KnownNeurons:
    """The neurons of one trained toy and what is known of them: what a score reads, and what judges it."""

    config: ToyConfig
    """Of this instance: nothing is swept."""
    model: ToyModel
    """Of one instance and one replica."""
    layer: int
    responses: Float[Tensor, "neuron feat"]
    share: Float[Tensor, " neuron"]
    feature: Int[Tensor, " neuron"]
    """See `Truth`."""

    @classmethod
    def of(cls, config: ToyConfig, model: ToyModel, instance: int, replica: int, layer: int = 0) -> "KnownNeurons":
        """The hidden layer of one instance and replica of what `config` trained."""
        alone = model.select(instance=instance).select(replica=torch.tensor([replica]))
        own = config.instances()[instance]
        truth = Truth.of(alone, own, layer)
        return cls(own, alone, layer, truth.responses[0, 0], truth.share[0, 0], truth.feature[0, 0])

    @property
    def n_neurons(self) -> int:
        """Of the layer."""
        return len(self.share)

    @property
    def monosemantic(self) -> Bool[Tensor, " neuron"]:
        """Whether one feature makes up more than `MONO` of the neuron's responses; a dead neuron is none."""
        return self.share > MONO

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> tuple[Float[Tensor, "batch feat"], Float[Tensor, "batch neuron"]]:
        """Features as they occur in training, all at their frequencies, and the neurons' activations on them.

        The samples are others than those of the model's training and of its loss.
        """
        x = Sampler.of([self.config]).sample(n, seed, "truth")
        return x[0, 0], self.model.hidden(x)[self.layer][0, 0]
