"""The nulls of a toy's rule: the same measure where what is asked about is taken away, for every replica."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from analyze.toys.measures import Measure
from analyze.toys.reading import Reading
from train.errors import BadInput
from train.toys.models import ToyModel, initial
from train.toys.runs import ToyRun

Draws = Float[ndarray, "draw inst rep"]


def untrained(reading: Reading, measure: Measure) -> Draws:
    """The measure of every replica before training: one draw."""
    run = reading.run
    start = initial(reading.configs, reading.target.n_outputs, run.config.fit.seed, run.n_rep)
    return measure(_with(run, start.parameters))[None]


def rotations(reading: Reading, measure: Measure, draws: int) -> Draws:
    """The measure with the hidden space of each network turned by a random rotation (Haar), biases left out.

    Raises:
        BadInput: a network with an activation in its hidden space, which no rotation leaves as it is.
    """
    config = reading.run.config.network
    if config.kind != "bottleneck":
        raise BadInput(f"{reading.run.directory}: verdict.null: a {config.kind} model is not free to rotate")
    generator = np.random.default_rng(_SEED)
    weight = reading.weight

    def turned() -> dict[str, Tensor]:
        q, r = np.linalg.qr(generator.standard_normal((*weight.shape[:2], *[weight.shape[2]] * 2)))
        # Signs of the diagonal make the distribution of q uniform (Mezzadri 2007).
        q *= np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
        return {"W": torch.from_numpy(q).to(weight.dtype) @ weight}

    return _drawn(reading.run, measure, draws, turned)


def permutations(reading: Reading, measure: Measure, draws: int) -> Draws:
    """The measure with the features of each neuron in random order: what each neuron does stays, what neurons do
    together goes. In W1 and, where there is one output a feature, alike in W2. Of a bottleneck, whose neurons are no
    units, features as a whole trade places."""
    run = reading.run
    generator = torch.Generator().manual_seed(_SEED)
    first, *others = run.model.layers
    one_each = len(others) == 1 and others[0].weight.shape[-2] == first.weight.shape[-1]

    def permuted() -> dict[str, Tensor]:
        shape = first.weight.shape if run.config.network.kind != "bottleneck" else (*first.weight.shape[:2], 1, -1)
        keys = torch.rand(*shape[:3], first.weight.shape[-1], generator=generator)
        order = keys.argsort(-1).expand(first.weight.shape)
        weight = first.weight.gather(-1, order)
        if run.config.network.is_tied:
            return {"W": weight}
        last = {"W2": others[0].weight.mT.gather(-1, order).mT} if one_each else {}
        return {"W1": weight, **last}

    return _drawn(run, measure, draws, permuted)


def _drawn(run: ToyRun, measure: Measure, draws: int, change: Callable[[], dict[str, Tensor]]) -> Draws:
    return np.stack([measure(_with(run, change())) for _ in range(draws)])


def _with(run: ToyRun, parameters: dict[str, Tensor]) -> Reading:
    """The run with other weights; its losses stay, so that measures of losses say nothing here."""
    return Reading(replace(run, model=ToyModel(run.model.config, run.model.parameters | parameters)))


_SEED = 2023
"""Of the draws: the same ones for every run, so that a verdict can be repeated."""
