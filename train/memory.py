"""How much memory widening and training will take, so that neither starts in vain."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from train.attention import SHORT
from train.cgroups import free_bytes, granted_bytes
from train.config import ModelConfig, RunConfig
from train.configfile import read_toml
from train.errors import EnvironmentProblem
from train.loop import eval_rows
from train.loss import CHUNK_ELEMENTS, CHUNK_ELEMENTS_ACCELERATOR, MIN_CHUNK_TOKENS
from train.recompute import tokens_at_once

HELD_BY_L1 = 1.5
"""Values a token and neuron that the L1 norm holds beside `Activation.values_held`; measured 1.2."""

HELD_BY_RESIDUAL = 40
"""fp32 values held per token, layer and dimension of the residual stream: what attention and LayerNorms keep."""

KEPT_BY_RESIDUAL = {"fp32": 40, "bf16": 26}
"""Bytes kept for the backward pass per token, layer and dimension: both LayerNorms' inputs and outputs, q, k, v, what
attention gives (twice: by head and side by side)."""

PASSING_RESIDUAL = 24
"""Bytes per token and dimension that come and go: the stream's gradient, a branch's, what is added."""

PROGRAM_BYTES = 420_000_000
"""Python with torch, accelerate and what else a training imports and reads; measured at tiny sizes."""

SHARE = 0.75
"""Of a machine's or a GPU's memory that `memory = "auto"` and dry runs count on. The rest is for the system and for
gaps: on a CPU, by the allocator settings of `train.launch`, these took up to half as much again as all that is held
(benchmarks/memory.py); for GPUs it is assumed."""


@dataclass(frozen=True)
class Need:
    """Bytes of memory, in two parts that different keys of a RUN.toml lower."""

    weights: int
    """Weights, gradients, Adam's moments, copies."""
    activations: int
    """Of one pass."""
    n_tokens: int
    """Tokens of that pass."""
    later: int = 0
    """Of the weights' part: gradients that are not there yet when activations take most."""

    @property
    def total(self) -> int:
        """All that is in memory at the peak, the program itself apart."""
        return self.weights + self.activations - self.later

    def require(self, what: str, free: int, lower: str) -> None:
        """Refuse what does not fit.

        Args:
            what: what needs the memory, as a sentence's subject.
            free: bytes.
            lower: what the user can do about it.

        Raises:
            EnvironmentProblem: with both figures.
        """
        if self.total > free:
            raise EnvironmentProblem(
                f"{what} needs about {self.total / 1e9:.1f} GB of memory (weights "
                f"{(self.weights - self.later) / 1e9:.1f}, activations of {self.n_tokens:,} tokens "
                f"{self.activations / 1e9:.1f}), {free / 1e9:.1f} GB are free; {lower}"
            )


def free_memory(device: torch.device | None = None) -> int:
    """Free bytes of an accelerator or, by default, of main memory: within the limits of this process' cgroups."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free, granted = psutil.virtual_memory().available, free_bytes()
    return free if granted is None else min(free, granted)


def whole_memory(device: torch.device | None = None) -> int:
    """Bytes of an accelerator or, by default, of main memory, whoever uses them: within the limits of its cgroups."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    whole, granted = psutil.virtual_memory().total, granted_bytes()
    return whole if granted is None else min(whole, granted)


def room_on(device: torch.device, processes: int = 1) -> int:
    """Bytes that one of so many processes may take of a GPU, or of main memory, which they share."""
    whole = int(SHARE * whole_memory(device))
    return whole // processes if device.type == "cpu" else whole


def settled_memory(config: RunConfig, saving: int, room: int, out: Path) -> RunConfig:
    """A run's config with `train.memory = "auto"` settled: it becomes "recompute", or stays and means "save".

    A run that has begun keeps what it began with. Else the arithmetic decides, by what there is (`room_on`) rather than
    what is free, so that the same machine always decides alike.

    Args:
        saving: bytes that "save" needs.
        room: bytes that it may take.
        out: the run's directory.
    """
    if config.train.memory != "auto":
        return config
    recorded = read_toml(out / "run.toml") if (out / "run.toml").is_file() else None
    if recorded is not None:
        memory = recorded.get("train", {}).get("memory", "auto")
    else:
        memory = "recompute" if PROGRAM_BYTES + saving > room else "auto"
    return config.model_copy(update={"train": config.train.model_copy(update={"memory": memory})})


def to_train(
    config: ModelConfig,
    n_trained: int,
    tokens_per_pass: int,
    l1: bool,
    *,
    precision: str = "fp32",
    recompute: bool = False,
    device: str = "cpu",
) -> Need:
    """What one process needs to train `n_trained` of a model's parameters with Adam, evaluations included.

    Args:
        config: of the model as it trains, widened.
        n_trained: parameters that train.
        tokens_per_pass: of one forward and backward pass: rows_per_step / accumulate / processes x n_ctx.
        l1: whether the loss penalises activations.
        precision: "fp32" or "bf16".
        recompute: as `train.memory = "recompute"`, else "save".
        device: "cpu" or "cuda".
    """
    moments = [
        _backward_through(config, layer, tokens_per_pass, l1, precision, recompute, device)
        for layer in reversed(range(config.n_layers))
    ]
    moments.append(_loss(config, tokens_per_pass, precision, recompute, device))
    peak = max(moments, key=lambda moment: moment.activations + min(moment.gradients, 4 * n_trained))
    evaluation = _evaluation(config, recompute, device)
    weights = 4 * config.n_params + 12 * n_trained + (2 * config.n_params if precision == "bf16" else 0)
    n_tokens = tokens_per_pass
    if evaluation > peak.activations + min(peak.gradients, 4 * n_trained):
        peak, n_tokens = Moment(evaluation, 0), eval_rows(config) * config.n_ctx
    return Need(weights, peak.activations, n_tokens, 4 * n_trained - min(peak.gradients, 4 * n_trained))


@dataclass(frozen=True)
class Moment:
    """Bytes at one moment of a step."""

    activations: int
    gradients: int
    """Of parameters, made by then, were all of them trained."""


def neuron_bytes(config: ModelConfig, precision: str, device: str, l1: bool = False) -> tuple[float, float]:
    """Bytes a token and neuron that are kept for the backward pass, and that a layer holds at its peak."""
    if not config.has_mlp:
        return 0.0, 0.0
    activation = config.activation
    value = 4 if precision == "fp32" else 2
    saved, held = value * activation.values_saved, value * activation.values_held
    if value == 2 and device != "cpu" and activation.gpu_bytes is not None:
        saved, held = activation.gpu_bytes
    return float(saved), held + (value * HELD_BY_L1 if l1 else 0.0)


def _backward_through(
    config: ModelConfig, layer: int, n_tokens: int, l1: bool, precision: str, recompute: bool, device: str
) -> Moment:
    """While the gradient goes through a layer's MLP."""
    saved, held = neuron_bytes(config, precision, device, l1)
    d, width = config.d_model, config.widths[layer]
    made = 4 * d * config.d_vocab
    made += sum(4 * (2 * d * above + 4 * d * d) for above in config.widths[layer + 1 :])
    if recompute:
        at_once = min(n_tokens, tokens_at_once(max(width, 1), device))
        # The sums of the pieces' gradients, and those of one piece.
        neurons, made = at_once * held * width + 8 * d * width, made + 8 * d * width
    else:
        neurons, made = n_tokens * (saved * sum(config.widths[:layer]) + held * width), made + 4 * d * width
    return Moment(int(neurons) + n_tokens * _residual(config, layer, precision, device), made)


def _residual(config: ModelConfig, layer: int, precision: str, device: str) -> int:
    """Bytes a token of the residual stream and attention, when the layers up to `layer` wait for the gradient."""
    attention = 0
    if precision == "bf16" and device == "cpu" and config.n_ctx <= SHORT:
        attention = config.n_heads * config.n_ctx * 3 // 2  # weights of half of the pairs, 2 bytes, and their masks
    kept = KEPT_BY_RESIDUAL[precision] * config.d_model + attention
    return (layer + 1) * kept + PASSING_RESIDUAL * config.d_model


def _loss(config: ModelConfig, n_tokens: int, precision: str, recompute: bool, device: str) -> Moment:
    """While the loss is computed, with everything kept."""
    saved, _ = neuron_bytes(config, precision, device)
    kept = 0 if recompute else n_tokens * saved * sum(config.widths)
    residual = n_tokens * _residual(config, config.n_layers - 1, precision, device)
    return Moment(int(kept) + residual + logits_bytes(config, precision, device), 8 * config.d_vocab * config.d_model)


def logits_bytes(config: ModelConfig, precision: str, device: str) -> int:
    """Of the chunk of logits that is in memory at a time: themselves, and what becomes of them."""
    elements = CHUNK_ELEMENTS if device == "cpu" else CHUNK_ELEMENTS_ACCELERATOR
    n_tokens = max(MIN_CHUNK_TOKENS, elements // config.d_vocab)
    return 2 * (4 if precision == "fp32" else 2) * n_tokens * config.d_vocab


def _evaluation(config: ModelConfig, recompute: bool, device: str) -> int:
    """Bytes of an evaluation pass, in fp32; without gradients, torch frees a layer's neurons when the next begins."""
    n_tokens, width = eval_rows(config) * config.n_ctx, max(config.widths)
    held = config.activation.values_held - 1 if config.has_mlp else 0
    neurons = held * width * (min(n_tokens, tokens_at_once(max(width, 1), device)) if recompute else n_tokens)
    return 4 * (neurons + 8 * config.d_model * n_tokens)


def to_widen(narrow: ModelConfig, wide: ModelConfig) -> Need:
    """What widening needs: both models, the tensors of a layer in fp64, and the receipt's copies of both in fp64."""
    both = narrow.n_params + wide.n_params
    copying = 4 * 8 * wide.d_model * max(wide.widths)
    receipt = (4 + 8) * both
    per_token = wide.activation.values_held * max(wide.widths) + 4 * wide.d_vocab + HELD_BY_RESIDUAL * wide.d_model
    return Need(8 * both + max(copying, receipt), 8 * wide.n_ctx * per_token, wide.n_ctx)
