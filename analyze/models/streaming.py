"""Collects a T5 layer by layer: each layer's neurons as soon as the residual stream has passed it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analyze.activations.checks import recorded_settings
from analyze.activations.collect import collect_source
from analyze.activations.directory import GATE_HOOKS, ResultDirectory
from analyze.models.base import adapter_of
from analyze.models.forward import start_token
from analyze.models.opened import About, ModelFiles, Tokens, act_of
from analyze.models.source import chosen_of
from analyze.models.stream import Rows, StreamedLayer, StreamedStack, index_of
from analyze.models.t5_layers import Shape, untrained_weights
from analyze.models.weight_files import WeightFiles, Weights
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json
from train.hashes import sha256
from train.memory import free_memory

PROGRAM_BYTES = 1_000_000_000
"""Beside a layer's weights: Python, torch, a pass of some tokens through 65,536 neurons."""


@dataclass(frozen=True)
class Streaming:
    """A T5 whose neurons are collected layer by layer."""

    files: ModelFiles
    config: Any
    mapping: Tokens
    tokens: TokenFile
    out: Path
    untrained: bool

    @cached_property
    def shape(self) -> Shape:
        """Its widths.

        Raises:
            BadInput: a model of another kind.
        """
        if self.config.model_type != "t5":
            raise BadInput(f"{self.files.name}: --stream reads T5 alone; its model_type is {self.config.model_type!r}")
        return Shape.of(self.config)

    @cached_property
    def weights(self) -> Weights:
        """Its weights, or the same architecture's at random."""
        return untrained_weights(self.shape) if self.untrained else WeightFiles(self.files.directory)

    def collect(
        self,
        layers: Sequence[int] | None,
        hooks: Sequence[str],
        max_tokens: int | None,
        sample_tokens: int | None,
        max_neurons: int | None,
        batch: int,
        say: Callable[[str], None],
    ) -> list[Path]:
        """Collect the layers of both stacks, or of the encoder alone where the weights have no decoder.

        Raises:
            BadInput: no such layer or hook, weights that are missing or do not fit the config.
            EnvironmentProblem: too little memory or disk.
        """
        shape, names = self.shape, self.weights.names()
        stacks = ["encoder", *(["decoder"] if any(name.startswith("decoder.") for name in names) else [])]
        self._refuse(layers, hooks, stacks)
        n_rows = recorded_settings(self.tokens, 1, max_tokens, sample_tokens)["n_rows"]
        rows = Rows(self.tokens, self.mapping, n_rows, start_token(self.config))
        asked = [self.files.hash, self.tokens.data_hash, layers and list(layers), list(hooks), n_rows, sample_tokens]
        key = sha256(canonical_json([*asked, max_neurons, self.untrained]))[:12]
        work = self.out / f".stream-{self.files.run}-{key}"  # an earlier start of this very command goes on there
        index, made, encoded = index_of(rows), [], None
        for stack in stacks:
            streamed = StreamedStack(self.weights, shape, stack, rows, work / stack, encoded)
            n_layers = shape.n_layers[stack]
            wanted = range(n_layers) if layers is None else sorted(layers)
            chosen = chosen_of([shape.d_ff] * n_layers, list(wanted), max_neurons)
            targets = {(layer, hook): self._target(stack, layer, hook) for layer in wanted for hook in hooks}
            made += list(targets.values())
            streamed.embed()
            last = n_layers if stack != stacks[-1] else max(wanted, default=-1) + 1
            for layer in range(last):
                here = {place: target for place, target in targets.items() if place[0] == layer}
                if layer < streamed.done() - 1:
                    continue  # it was collected before the residual stream went on
                if layer >= streamed.done():
                    streamed.through(layer)
                for place, target in here.items():
                    facts = self._about.facts(
                        stack, place, shape.d_ff, chosen[layer], max_neurons, self.mapping, self.tokens
                    )
                    neurons = streamed.reader.neurons(layer)
                    source = StreamedLayer(facts, neurons, streamed.inputs(), index, chosen[layer])
                    collect_source(
                        source,
                        self.tokens,
                        target,
                        max_tokens=max_tokens,
                        sample_tokens=sample_tokens,
                        batch=batch,
                        say=say,
                    )
            if stack != stacks[-1]:
                encoded = streamed.output()
        shutil.rmtree(work, ignore_errors=True)
        return made

    @cached_property
    def _about(self) -> About:
        shape = self.shape
        n_params = shape.d_vocab * shape.d_model + sum(
            n_layers * shape.layer_bytes(stack) // 4 for stack, n_layers in shape.n_layers.items()
        )
        act = act_of(self.config, adapter_of(self.config, self.files.name))
        return About(self.files, self.config, act, n_params, self.untrained)

    def _target(self, stack: str, layer: int, hook: str) -> Path:
        step = 0 if self.untrained else 1
        return ResultDirectory(self.out, self._about.run(stack), step, layer, hook).path

    def _refuse(self, layers: Sequence[int] | None, hooks: Sequence[str], stacks: Sequence[str]) -> None:
        shape = self.shape
        known = ("mid", *(GATE_HOOKS if shape.gated else ()))
        for hook in hooks:
            if hook not in known:
                raise BadInput(f"{self.files.name}: no hook {hook!r}; it has: {', '.join(known)}")
        least = min(shape.n_layers[stack] for stack in stacks)
        for layer in layers or ():
            if not 0 <= layer < least:
                raise BadInput(f"{self.files.name}: no layer {layer}; it has 0 to {least - 1}")
        need = PROGRAM_BYTES + max(map(shape.layer_bytes, stacks)) + 4 * shape.d_vocab * shape.d_model
        if need > (free := free_memory()):
            raise EnvironmentProblem(
                f"{self.files.name}: a layer takes {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
            )
