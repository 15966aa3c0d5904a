"""Compositions of xor (problem 4.19): a ReLU network that computes parities of parities of bits, and its additive twin.

Bits are +1 or -1 and all 2^n inputs are known, so that training sees every one and measures are exact.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from train.section import Section
from train.toys.programs.base import Parameters, Program

MAX_BITS = 12


class ParitySettings(Section):
    """Pairs of bits, pairs of these pairs and so on: one output for each."""

    task: Literal["xor", "sum"]
    """xor: an output is the product of its group's bits. sum: it is their sum, scaled to variance 1."""
    bits: int = Field(default=8, ge=2, le=MAX_BITS)
    width: int = Field(default=64, ge=1, le=1024)
    """Of both hidden layers."""

    @model_validator(mode="after")
    def _pairs_of_pairs(self) -> "ParitySettings":
        if self.bits & (self.bits - 1):
            raise ValueError(f"bits: {self.bits} cannot be paired again and again; take a power of 2")
        return self


def groups(bits: int) -> list[range]:
    """The bits of every output: pairs, pairs of pairs, up to all."""
    sizes = [2**k for k in range(1, bits.bit_length())]
    return [range(first, first + size) for size in sizes for first in range(0, bits, size)]


def inputs(bits: int) -> Float[Tensor, "inputs bits"]:
    """All inputs, as +1 and -1; input i has bit b of i where it is -1."""
    return 1.0 - 2.0 * ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1).float()


def answers(settings: ParitySettings) -> Float[Tensor, "inputs out"]:
    """What every input is to be answered with."""
    x, of = inputs(settings.bits), groups(settings.bits)
    if settings.task == "xor":
        return torch.stack([x[:, list(group)].prod(1) for group in of], 1)
    return torch.stack([x[:, list(group)].sum(1) / math.sqrt(len(group)) for group in of], 1)


def hidden(parameters: Parameters, x: Float[Tensor, "inputs bits"]) -> list[Float[Tensor, "rep inputs width"]]:
    """Activations of both hidden layers."""
    first = torch.relu(x @ parameters["W1"].mT + parameters["b1"][:, None])
    return [first, torch.relu(first @ parameters["W2"].mT + parameters["b2"][:, None])]


def outputs(parameters: Parameters, last: Float[Tensor, "rep inputs width"]) -> Float[Tensor, "rep inputs out"]:
    """Answers from the second hidden layer."""
    return last @ parameters["W3"].mT + parameters["b3"][:, None]


def _initial(settings: ParitySettings, generator: torch.Generator) -> Parameters:
    width, n_out = settings.width, len(groups(settings.bits))
    shapes = {"W1": (width, settings.bits), "W2": (width, width), "W3": (n_out, width)}
    weights = {
        name: torch.randn(shape, generator=generator) * math.sqrt((1 if name == "W3" else 2) / shape[1])
        for name, shape in shapes.items()
    }
    return weights | {f"b{name[1]}": torch.zeros(shape[0]) for name, shape in shapes.items()}


def _losses(settings: Any, parameters: Parameters, batch: int, generator: torch.Generator) -> Float[Tensor, " rep"]:
    """Squared error, mean over all inputs and outputs."""
    last = hidden(parameters, inputs(settings.bits))[-1]
    return (outputs(parameters, last) - answers(settings)).square().mean((1, 2))


PROGRAM = Program("parity", ParitySettings, _initial, _losses)
