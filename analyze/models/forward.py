"""A model's own forward pass, stopped behind the last layer that is wanted; hooks keep its neurons' values."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyze.activations.directory import GATE_HOOKS
from analyze.models.base import Stack, module_at
from analyze.models.opened import OpenedModel, Tokens

Values = Float[Tensor, "batch pos neuron"]


class _Enough(Exception):
    """Raised inside a forward pass when the last wanted value is there."""


@dataclass(frozen=True)
class Reader:
    """Reads neurons of some layers of one stack."""

    opened: OpenedModel
    stack: Stack
    tokens: Tokens

    def inputs(self, ids: Int[Tensor, "batch pos"]) -> dict[str, Tensor]:
        """The arguments of the model for polysem's rows."""
        adapter = self.opened.adapter
        rows = self.tokens.to_model(ids, adapter.masked)
        if len(adapter.stacks) == 1:
            return {"input_ids": rows}
        behind_start = rows.clone()
        behind_start[:, 0] = start_token(self.opened.config)
        return {"input_ids": rows, "decoder_input_ids": behind_start}

    @torch.no_grad()
    def neurons(
        self, ids: Int[Tensor, "batch pos"], layers: Iterable[int], hooks: Iterable[str] = ("mid",)
    ) -> dict[tuple[int, str], Values]:
        """(layer, hook) -> values at every position of polysem's rows, float32.

        At "gatepos" a value counts where the gate is positive, at "gateneg" where it is not; elsewhere it is 0.
        """
        layers, hooks, name = sorted(layers), tuple(hooks), self.opened.files.name
        modules = self.opened.layers(self.stack)
        values: dict[int, Tensor] = {}
        gates: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for layer in layers:
                w_out = module_at(modules[layer], self.stack.w_out, name)
                last = layer == layers[-1]
                stack.callback(w_out.register_forward_pre_hook(_keep(values, layer, last)).remove)
                if set(hooks) & set(GATE_HOOKS):
                    gate = module_at(modules[layer], self.stack.gate, name)
                    stack.callback(gate.register_forward_hook(_keep_gate(gates, layer)).remove)
            with suppress(_Enough):
                self.opened.model(**self.inputs(ids))
        shape = (*ids.shape, -1)
        found: dict[tuple[int, str], Tensor] = {}
        for layer in layers:
            mid = _as_rows(values[layer], shape)
            for hook in hooks:
                found[layer, hook] = mid if hook == "mid" else self._where(mid, _as_rows(gates[layer], shape), hook)
        return found

    def _where(self, mid: Values, gate: Tensor, hook: str) -> Values:
        if self.stack.gate_is_half:
            gate = gate.chunk(2, dim=-1)[0]
        positive = gate > 0
        return torch.where(positive if hook == "gatepos" else ~positive, mid, 0.0)


def start_token(config: Any) -> int:
    """What a decoder's rows begin with."""
    return getattr(config, "decoder_start_token_id", None) or getattr(config, "pad_token_id", None) or 0


def _as_rows(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """[batch pos neuron], a separator behind a masked model's row left out; some models join batch and position."""
    if values.ndim == 2:
        values = values.reshape(shape[0], -1, values.shape[-1])
    return values[:, : shape[1]].float()


def _keep(values: dict[int, Tensor], layer: int, last: bool) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values[layer] = inputs[0]
        if last:
            raise _Enough

    return hook


def _keep_gate(gates: dict[int, Tensor], layer: int) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        gates[layer] = output

    return hook
