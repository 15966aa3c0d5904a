"""What measures and figures read from a finished toy, each thing computed once."""

from collections import Counter
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.toys.geometry import Geometry, geometry
from analyze.toys.interference import SplitLoss, final_samples, loss_by_active
from analyze.toys.neurons import Motif, computed, count_motifs, dead, largest_share
from train.toys.baseline import best_constant
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun
from train.toys.targets import Target
from train.toys.truth import Truth


class Reading:
    """A run and what follows from it; every table has the axes [inst rep ...] in the run's order."""

    def __init__(self, run: ToyRun):
        self.run = run

    @cached_property
    def configs(self) -> list[ToyConfig]:
        """Of every instance."""
        return self.run.config.instances()

    @cached_property
    def target(self) -> Target:
        return Target.of(self.run.config)

    @property
    def weight(self) -> Float[Tensor, "inst rep hidden feat"]:
        """W of a bottleneck or neuron model, W1 of a computation."""
        return self.run.model.layers[0].weight

    @cached_property
    def geometries(self) -> list[list[Geometry]]:
        """Of every instance and replica."""
        return [[geometry(weight) for weight in replicas] for replicas in self.weight]

    @cached_property
    def responses(self) -> Float[Tensor, "inst rep neuron feat"]:
        """Known responses of the hidden neurons, those of all layers in a row."""
        layers = range(len(self.run.config.network.hidden))
        return torch.cat([Truth.of(self.run.model, self.run.config, layer).responses for layer in layers], dim=2)

    @cached_property
    def dead(self) -> Bool[Tensor, "inst rep neuron"]:
        """Neurons of all layers through which next to nothing passes on to the next."""
        sizes = list(self.run.config.network.hidden)
        outgoing = [layer.weight for layer in self.run.model.layers[1:]]
        each = zip(self.responses.split(sizes, dim=2), outgoing, strict=True)
        return torch.cat([dead(responses, weight) for responses, weight in each], dim=2)

    @cached_property
    def share(self) -> Float[Tensor, "inst rep neuron"]:
        """Largest part that one feature has in a neuron's responses; NaN for a dead neuron."""
        return torch.where(self.dead, torch.nan, largest_share(self.responses))

    @cached_property
    def constant_losses(self) -> Float[ndarray, "inst out"]:
        """Importance x squared error of the best constant for each output, on the samples of the final loss."""
        return np.stack([self._constant_losses(config) for config in self.configs])

    def _constant_losses(self, config: ToyConfig) -> Float[ndarray, " out"]:
        target, power = Target.of(config), config.fit.loss_power
        wanted = torch.cat([target(x) for x in final_samples(config)]).double()
        constant = best_constant(wanted.T, power)[:, 0] if config.network.bias else torch.zeros(())
        reached = constant.relu() if config.network.output == "relu" else constant
        importances = torch.tensor(self.target.importances(config.features.importances()), dtype=torch.float64)
        return (importances * (wanted - reached).abs().pow(power).mean(0)).numpy()

    @cached_property
    def computed(self) -> Bool[ndarray, "inst rep out"]:
        """Outputs whose loss is well below their best constant's; see `analyze.toys.neurons.computed`."""
        # A copy, since what was read from a file cannot be written to.
        losses = torch.tensor(self.run.per_output, dtype=torch.float64)
        return computed(losses, torch.from_numpy(self.constant_losses)[:, None]).numpy()

    @cached_property
    def motif_counts(self) -> list[list[Counter[Motif]]]:
        """How often each motif occurs, of every instance and replica (`analyze.toys.neurons.motifs`)."""
        first, last = (layer.weight for layer in self.run.model.layers)
        return [[count_motifs(first[i, r], last[i, r]) for r in range(self.run.n_rep)] for i in range(self.run.n_inst)]

    @cached_property
    def split(self) -> SplitLoss:
        """Loss by the number of active features."""
        return loss_by_active(self.run)

    @cached_property
    @torch.no_grad()
    def accuracy(self) -> Float[ndarray, "inst rep"]:
        """Share of the groups of outputs, over the samples of the final loss, whose class is right."""
        n_classes, run = self.target.n_classes, self.run
        right = torch.zeros(run.n_inst, run.n_rep, dtype=torch.float64)
        for i, config in enumerate(self.configs):
            model = run.model.select(instance=i)
            for x in final_samples(config):
                wanted = self.target(x).unflatten(-1, (-1, n_classes)).argmax(-1)
                answer = model(x[None, None])[0].unflatten(-1, (-1, n_classes)).argmax(-1)
                right[i] += (answer == wanted).double().mean(-1).sum(-1)
        return (right / run.config.fit.eval_samples).numpy()

    @cached_property
    def classes(self) -> list[Int[ndarray, " feat"]]:
        """The features of each class of `features.classes`, in order; empty where there are none."""
        edges = np.cumsum([0, *(each.count for each in self.run.config.features.classes)])
        return [np.arange(first, stop) for first, stop in pairwise(edges)]
