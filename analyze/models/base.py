"""What an adapter says of a family of models: where the MLPs of its layers are, and what makes a neuron's value.

A neuron's value is what enters the matrix that writes to the residual stream: activation(W_in x), or, in a gated MLP,
activation(W_gate x) times W_up x. An adapter names the modules; hooks on them read the values of the library's own
forward pass, so nothing is computed twice and nothing can differ from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from analyze.registry import Registry
from train.errors import BadInput


@dataclass(frozen=True)
class Stack:
    """One stack of layers of a model, in order of the forward pass."""

    name: str
    """Behind the run's name where a model has several: "encoder", "decoder"; else empty."""
    layers: str
    """Dotted path of the list of layers in the base model."""
    w_out: str
    """Within a layer: the linear map whose input the neurons are."""
    gate: str = ""
    """Within a layer: the linear map that the activation reads, where a second one is multiplied in."""
    gate_is_half: bool = False
    """`gate` gives the gate and the up-projection side by side, the gate first."""


@dataclass(frozen=True)
class Adapter:
    """A family of models with one layout."""

    name: str
    model_types: tuple[str, ...]
    """`model_type` of the configs that it opens."""
    stacks: tuple[Stack, ...]
    activation: str = "hidden_act"
    """Key of the config that names the activation."""
    masked: bool = False
    """Whether tokens see those behind them: a row then ends in the model's separator."""
    when: Callable[[Any], bool] = lambda config: True
    """Of several adapters for a model_type, whether it is this one, by the model's config."""


ADAPTERS: Registry[Adapter] = Registry("analyze.models.adapters", "ADAPTER", lambda adapter: adapter.name)


def adapter_of(config: Any, name: str) -> Adapter:
    """The adapter for a model.

    Raises:
        BadInput: none knows its MLPs; says which are known.
    """
    for adapter in ADAPTERS.values():
        if config.model_type in adapter.model_types and adapter.when(config):
            return adapter
    known = ", ".join(sorted({each for adapter in ADAPTERS.values() for each in adapter.model_types}))
    raise BadInput(
        f"{name}: no adapter knows the MLPs of model_type {config.model_type!r}; known: {known}. An adapter is one "
        "file in analyze/models/adapters"
    )


def module_at(root: nn.Module, path: str, name: str) -> nn.Module:
    """A module by its dotted path.

    Raises:
        BadInput: it is not there: the model is laid out otherwise than its adapter says.
    """
    module = root
    for part in path.split("."):
        if not hasattr(module, part) and not part.lstrip("-").isdigit():
            raise BadInput(f"{name}: has no {path!r} in {type(root).__name__}, where its adapter looks for it")
        module = module[int(part)] if part.lstrip("-").isdigit() else getattr(module, part)  # pyright: ignore[reportIndexIssue]
    return module


def layers_of(model: nn.Module, stack: Stack, name: str) -> Sequence[nn.Module]:
    """The layers of a stack."""
    return list(module_at(model, stack.layers, name))  # pyright: ignore[reportArgumentType]
