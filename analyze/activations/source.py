"""Where neurons' values come from: anything with a SourceFacts and a function of tokens."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.directory import HOOKS
from train.checkpoint import Checkpoint
from train.config import ModelConfig, WidenPlan
from train.errors import BadInput


@dataclass(frozen=True)
class SourceFacts:
    """What a source says of itself: fields of ActivationsMeta by the same names, and what else is needed."""

    name: str
    """How messages call it: a path, a name on a hub."""
    run: str
    variant: str
    seed: int
    step: int
    tokens_seen: int
    layer: int
    hook: str
    act: str
    n_neurons: int
    n_params: int
    factor: int
    start_run: str | None
    root_variant: str
    eval_loss: float | None
    unigram_loss: float | None
    bigram_loss: float | None
    checkpoint_hash: str
    checkpoint_dir: str
    n_ctx: int
    tokenizer_sha256: str
    max_neurons: int | None = None
    """At most so many neurons were taken, a seeded random choice; None: all of them."""
    parent: Int[np.ndarray, "n"] | None = None
    scheme: str | None = None
    """How the copies of a widened layer were told apart at birth; None where it was not widened."""


@runtime_checkable
class NeuronSource(Protocol):
    """One layer and hook of something that reads tokens."""

    @property
    def facts(self) -> SourceFacts:
        """Where the neurons come from."""
        ...

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """Each neuron's value at each position, float32 on the CPU."""
        ...


def hooks_of(config: ModelConfig) -> tuple[str, ...]:
    """Hooks at which a model's neurons differ: without a mid LayerNorm `post` is `mid`, and is left out."""
    return HOOKS if config.has_mid_ln else HOOKS[:1]


class CheckpointSource:
    """One layer and hook of a checkpoint; the forward pass stops there. On a GPU where there is one.

    Args:
        max_neurons: take a random choice of so many neurons of a wider layer, the same one for every step of
            a run; enough for the untrained null, whose share needs no more.

    Raises:
        BadInput: a layer or hook that this checkpoint does not have.
    """

    def __init__(self, checkpoint: Checkpoint, layer: int, hook: str = "mid", max_neurons: int | None = None) -> None:
        config = checkpoint.config
        if not 0 <= layer < config.n_layers:
            layers = ", ".join(map(str, range(config.n_layers)))
            raise BadInput(f"{checkpoint.directory}: no layer {layer}; it has: {layers}")
        if hook not in hooks_of(config):
            note = f" ({config.act} has no mid LayerNorm, so post is mid)" if hook == "post" else ""
            known = ", ".join(hooks_of(config))
            raise BadInput(f"{checkpoint.directory}: no hook {hook!r}{note}; it has: {known}")
        self._chosen = choose_neurons(config.widths[layer], max_neurons, checkpoint.state["seed"])
        self.facts = facts_of(checkpoint, layer, hook, self._chosen, max_neurons)
        self._layer, self._hook = layer, hook
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = checkpoint.model().to(self._device)

    @torch.no_grad()
    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """Each neuron's value at each position, float32 on the CPU."""
        values = self._model.mlp_activations(tokens.to(self._device), self._layer, self._hook)  # pyright: ignore[reportArgumentType]
        if self._chosen is not None:
            values = values[..., self._chosen]
        return values.float().cpu()


def choose_neurons(n_neurons: int, at_most: int | None, seed: int) -> Int[np.ndarray, "n"] | None:
    """A seeded random choice of a layer's neurons, in order; None where all of them are taken."""
    if at_most is None or n_neurons <= at_most:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_neurons, at_most, replace=False))


def facts_of(
    checkpoint: Checkpoint,
    layer: int,
    hook: str,
    chosen: Int[np.ndarray, "n"] | None = None,
    max_neurons: int | None = None,
) -> SourceFacts:
    """The facts of one layer and hook of a checkpoint, of all its neurons or the chosen ones."""
    state: dict[str, Any] = checkpoint.state
    start = state["start"] or {}
    evaluation = state["evaluation"] or {}
    if evaluation.get("step") != checkpoint.step:
        evaluation = {}  # made at an earlier step than these weights
    lineage = checkpoint.lineage
    parent = lineage.parent_of(layer) if lineage else None
    if parent is not None and chosen is not None:
        parent = parent[chosen]
    return SourceFacts(
        name=str(checkpoint.directory),
        run=state["run"],
        variant=state["variant"],
        seed=state["seed"],
        step=checkpoint.step,
        tokens_seen=state["tokens_before"] + state["tokens"],
        layer=layer,
        hook=hook,
        act=checkpoint.config.act,
        n_neurons=checkpoint.config.widths[layer] if chosen is None else len(chosen),
        n_params=state["n_params"],
        factor=state["factor"],
        start_run=start.get("run"),
        root_variant=state["root_variant"],
        eval_loss=evaluation.get("loss"),
        unigram_loss=evaluation.get("unigram"),
        bigram_loss=evaluation.get("bigram"),
        checkpoint_hash=checkpoint.hash,
        checkpoint_dir=str(checkpoint.directory),
        n_ctx=checkpoint.config.n_ctx,
        tokenizer_sha256=state["data"]["tokenizer_sha256"],
        max_neurons=max_neurons,
        parent=None if parent is None else np.asarray(parent, dtype=np.int32),
        scheme=None if lineage is None or parent is None else scheme_of(lineage.plan),
    )


def scheme_of(plan: WidenPlan) -> str:
    """What parts the copies of a widening: its noise, else unequal shares, else that they are none at all."""
    if plan.copies == "fresh":
        return "fresh"
    return plan.noise if plan.noise != "none" or plan.split == "equal" else plan.split
