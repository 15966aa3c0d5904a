"""Where activations come from: anything that has a SourceFacts and gives activations of tokens."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.directory import HOOKS
from analyze.activations.identity import RunIdentity, identity_of
from analyze.activations.store import NeuronFacts
from train.checkpoint import Checkpoint
from train.config import ModelConfig, WidenPlan
from train.devices import best_device
from train.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class SourceFacts(NeuronFacts):
    """What a source says of its neurons, and of what it needs."""

    name: str
    """What messages call it: a path, a name on a hub."""
    tokenizer_sha256: str
    max_neurons: int | None = None
    """The source was asked for at most so many neurons, a seeded random choice; None: for all of them."""
    parent: Int[np.ndarray, "n"] | None = None
    """The neuron of the parent checkpoint that each neuron is a copy of, where the layer was widened."""


@runtime_checkable
class NeuronSource(Protocol):
    """One layer and hook of a model that reads tokens."""

    @property
    def facts(self) -> SourceFacts:
        """Where the neurons come from."""
        ...

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """The activation of each neuron at each position, float32 on the CPU."""
        ...


def hooks_of(config: ModelConfig) -> tuple[str, ...]:
    """Hooks at which a model's neurons differ: without a mid LayerNorm `post` equals `mid` and is left out."""
    if not config.has_mlp:
        return ()
    return HOOKS if config.has_mid_ln else HOOKS[:1]


SHARED_BYTES = 2**28
"""What `SharedInputs` keeps at most: half a million tokens at d_model 128."""


class SharedInputs:
    """What a layer's MLP read, by the tokens of the micro-batch: a second hook need not run what lies before.

    It is told the same tokens in the same micro-batches. What does not fit is computed again.
    """

    def __init__(self, at_most: int = SHARED_BYTES) -> None:
        self._kept: dict[bytes, Tensor] = {}
        self._free = at_most
        self._lock = Lock()

    def of(self, tokens: Int[Tensor, "batch pos"], compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` gives, or gave, for these tokens."""
        key = sha256(tokens.numpy(force=True).tobytes()).digest()
        found = self._kept.get(key)
        if found is None:
            found = compute()
            with self._lock:
                if found.nbytes <= self._free:
                    self._free -= found.nbytes
                    self._kept[key] = found
        return found


class CheckpointSource:
    """One layer and hook of a checkpoint. The forward pass stops there; it runs on a GPU if there is one.

    Args:
        max_neurons: of a wider layer take so many neurons at random, the same ones at every step of a run. The
            untrained null needs no more, since only its share of monosemantic neurons counts.
        identity: of the checkpoint's run, where the caller has it.
        inputs: shared by the hooks of one layer of one checkpoint.
        device: where it runs; default: the best there is.

    Raises:
        BadInput: this checkpoint has no such layer or hook.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        layer: int,
        hook: str = "mid",
        max_neurons: int | None = None,
        identity: RunIdentity | None = None,
        inputs: SharedInputs | None = None,
        device: torch.device | None = None,
    ) -> None:
        config = checkpoint.config
        if not 0 <= layer < config.n_layers:
            layers = ", ".join(map(str, range(config.n_layers)))
            raise BadInput(f"{checkpoint.directory}: no layer {layer}; it has: {layers}")
        if not config.has_mlp:
            raise BadInput(f"{checkpoint.directory}: act = 'none': this model is attention-only, it has no MLP neurons")
        if hook not in hooks_of(config):
            note = f" ({config.act} has no mid LayerNorm, so post is mid)" if hook == "post" else ""
            known = ", ".join(hooks_of(config))
            raise BadInput(f"{checkpoint.directory}: no hook {hook!r}{note}; it has: {known}")
        self._chosen = choose_neurons(config.widths[layer], max_neurons, checkpoint.state["seed"])
        self.facts = facts_of(checkpoint, layer, hook, self._chosen, max_neurons, identity)
        self._layer, self._hook, self._inputs = layer, hook, inputs
        self.device = device or best_device()
        self._model = checkpoint.model().to(self.device)

    def kept_bytes(self, n_tokens: int) -> int:
        """What is kept for other hooks of the layer, of so many tokens; on the CPU."""
        kept = self._inputs is not None and self.device.type == "cpu"
        return min(SHARED_BYTES, 4 * self._model.config.d_model * n_tokens) if kept else 0

    @torch.no_grad()
    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """The activation of each neuron at each position, float32 on the CPU."""

        def read() -> Tensor:
            return self._model.mlp_input(tokens.to(self.device), self._layer)

        inputs = read() if self._inputs is None else self._inputs.of(tokens, read)
        values = self._model.mlp(self._layer).neurons(inputs, self._hook)  # pyright: ignore[reportArgumentType]
        if self._chosen is not None:
            values = values[..., self._chosen]
        return values.float().cpu()


def choose_neurons(n_neurons: int, at_most: int | None, seed: int) -> Int[np.ndarray, "n"] | None:
    """A seeded random choice of a layer's neurons, in ascending order; None for all of them."""
    if at_most is None or n_neurons <= at_most:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_neurons, at_most, replace=False))


def facts_of(
    checkpoint: Checkpoint,
    layer: int,
    hook: str,
    chosen: Int[np.ndarray, "n"] | None = None,
    max_neurons: int | None = None,
    identity: RunIdentity | None = None,
) -> SourceFacts:
    """The facts of one layer and hook of a checkpoint, of all its neurons or the chosen ones."""
    identity = identity or identity_of(checkpoint)
    state, config, lineage = checkpoint.state, checkpoint.config, checkpoint.lineage
    evaluation = state["evaluation"] or {}
    if evaluation.get("step") != checkpoint.step:
        evaluation = {}  # of earlier weights than these
    parent = lineage.parent_of(layer) if lineage else None
    if parent is not None and chosen is not None:
        parent = parent[chosen]
    same: dict[str, Any] = {
        name: state[name] for name in ("run", "variant", "seed", "n_params", "factor", "root_variant")
    }
    return SourceFacts(
        **same,
        name=str(checkpoint.directory),
        step=checkpoint.step,
        tokens_seen=state["tokens_before"] + state["tokens"],
        layer=layer,
        hook=hook,
        act=config.act,
        n_neurons=config.widths[layer] if chosen is None else len(chosen),
        start_run=(state["start"] or {}).get("run"),
        eval_loss=evaluation.get("loss"),
        unigram_loss=evaluation.get("unigram"),
        bigram_loss=evaluation.get("bigram"),
        checkpoint_hash=checkpoint.hash,
        checkpoint_dir=str(checkpoint.directory),
        n_ctx=config.n_ctx,
        tokenizer_sha256=state["data"]["tokenizer_sha256"],
        max_neurons=max_neurons,
        parent=None if parent is None else np.asarray(parent, dtype=np.int32),
        scheme=None if lineage is None or parent is None else scheme_of(lineage.plan),
        **asdict(identity),
    )


def scheme_of(plan: WidenPlan) -> str:
    """What makes the copies of a widening differ: its noise, else unequal shares of W_out; "fresh": none are copies."""
    if plan.copies == "fresh":
        return "fresh"
    return plan.noise if plan.noise != "none" or plan.split == "equal" else plan.split
