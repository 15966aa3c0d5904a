"""How much memory widening and training will take, so that neither starts in vain."""

from dataclasses import dataclass

import psutil
import torch

from train.cgroups import free_bytes
from train.config import ModelConfig
from train.errors import EnvironmentProblem
from train.loop import eval_rows

HELD_BY_L1 = 1.5
"""fp32 values a token and neuron that the L1 norm holds beside `Activation.values_held`; measured 1.2."""

HELD_BY_RESIDUAL = 40
"""fp32 values held per token, layer and dimension of the residual stream: what attention and LayerNorms keep."""


@dataclass(frozen=True)
class Need:
    """Bytes of memory, in two parts that different keys of a RUN.toml lower."""

    weights: int
    """Weights, gradients, Adam's moments, copies."""
    activations: int
    """Of one pass."""
    n_tokens: int
    """Tokens of that pass."""

    def require(self, what: str, free: int, lower: str) -> None:
        """Refuse what does not fit.

        Args:
            what: what needs the memory, as a sentence's subject.
            free: bytes.
            lower: what the user can do about it.

        Raises:
            EnvironmentProblem: with both figures.
        """
        if self.weights + self.activations > free:
            raise EnvironmentProblem(
                f"{what} needs about {(self.weights + self.activations) / 1e9:.1f} GB of memory (weights "
                f"{self.weights / 1e9:.1f}, activations of {self.n_tokens:,} tokens {self.activations / 1e9:.1f}), "
                f"{free / 1e9:.1f} GB are free; {lower}"
            )


def free_memory(device: torch.device | None = None) -> int:
    """Free bytes of an accelerator or, by default, of main memory: within the limits of this process' cgroups."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free, granted = psutil.virtual_memory().available, free_bytes()
    return free if granted is None else min(free, granted)


def to_train(config: ModelConfig, n_trained: int, tokens_per_pass: int, l1: bool) -> Need:
    """What one process needs to train `n_trained` of a model's parameters with Adam, evaluations included.

    Args:
        config: of the model as it trains, widened.
        n_trained: parameters that train.
        tokens_per_pass: of one forward and backward pass: rows_per_step / accumulate / processes x n_ctx.
        l1: whether the loss penalises activations.
    """
    held = config.activation.values_held if config.has_mlp else 1
    per_neuron = held + (HELD_BY_L1 if l1 else 0)
    per_token = per_neuron * sum(config.widths) + HELD_BY_RESIDUAL * config.d_model * config.n_layers
    training = tokens_per_pass * per_token
    # Without gradients, torch frees a layer's neurons when the next layer begins.
    tokens_per_evaluation = eval_rows(config) * config.n_ctx
    evaluating = tokens_per_evaluation * ((held - 1) * max(config.widths) + 8 * config.d_model)
    n_tokens = tokens_per_pass if training > evaluating else tokens_per_evaluation
    return Need(4 * config.n_params + 12 * n_trained, int(4 * max(training, evaluating)), n_tokens)


def to_widen(narrow: ModelConfig, wide: ModelConfig) -> Need:
    """What widening needs: both models, the tensors of a layer in fp64, and the receipt's copies of both in fp64."""
    both = narrow.n_params + wide.n_params
    copying = 4 * 8 * wide.d_model * max(wide.widths)
    receipt = (4 + 8) * both
    per_token = wide.activation.values_held * max(wide.widths) + 4 * wide.d_vocab + HELD_BY_RESIDUAL * wide.d_model
    return Need(8 * both + max(copying, receipt), 8 * wide.n_ctx * per_token, wide.n_ctx)
