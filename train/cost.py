"""What a step of training takes: operations, bytes moved, and seconds on a card that is not here."""

from dataclasses import dataclass

from train.config import ModelConfig
from train.gpus import OF_BANDWIDTH, OF_PRODUCTS, Gpu
from train.memory import neuron_bytes

TOUCHES = 3
"""How often a value of the hidden layer or a logit is written or read: written once, read about twice."""

OPTIMIZER_BYTES = 28
"""Moved a parameter and step by AdamW: weight, gradient and two moments read, three of them written."""

LOGIT_BYTES = {"fp32": 8, "bf16": 4}
"""Of a logit and of what it becomes in the same memory's place: softmax less one-hot."""


@dataclass(frozen=True)
class Operations:
    """Floating point operations of one token, forward alone: a product of n weights takes 2 n."""

    attention: int
    """With scores: each position attends to half of the context on average."""
    mlp: int
    unembedding: int

    @property
    def forward(self) -> int:
        """Of a forward pass."""
        return self.attention + self.mlp + self.unembedding

    def training(self, recompute: bool) -> int:
        """Of a forward and a backward pass, which takes twice as much; `recompute` runs the MLPs once more."""
        return 3 * self.forward + (self.mlp if recompute else 0)


def operations_of(config: ModelConfig) -> Operations:
    """What a model takes a token."""
    d = config.d_model
    attention = config.n_layers * (2 * 4 * d * d + 2 * config.n_ctx * d)
    return Operations(attention, 2 * 2 * d * sum(config.widths), 2 * d * config.d_vocab)


def bytes_moved(config: ModelConfig, precision: str, recompute: bool) -> float:
    """Between the products, a token of training: the hidden layers and the logits. The residual stream is little."""
    saved, held = neuron_bytes(config, precision, "cuda")
    hidden = TOUCHES * held * sum(config.widths) + (TOUCHES * saved * sum(config.widths) if recompute else 0)
    return hidden + TOUCHES * LOGIT_BYTES[precision] * config.d_vocab


def training_seconds(
    gpu: Gpu, config: ModelConfig, precision: str, recompute: bool, n_tokens: int, n_steps: int
) -> float:
    """Seconds of training on one such card: products at OF_PRODUCTS of its peak, then all else at OF_BANDWIDTH.

    Args:
        precision: "fp32", or "bf16", for which a card without it takes fp32.
    """
    fast = gpu.bf16 if precision == "bf16" else None
    precision = "fp32" if fast is None else "bf16"
    products = operations_of(config).training(recompute) / (OF_PRODUCTS * (fast or gpu.fp32))
    moving = bytes_moved(config, precision, recompute) / (OF_BANDWIDTH * gpu.bandwidth)
    steps = OPTIMIZER_BYTES * config.n_params / (OF_BANDWIDTH * gpu.bandwidth)
    return n_tokens * (products + moving) + n_steps * steps
