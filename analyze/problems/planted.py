"""What cases of known truth share: the small model that something is planted in."""

from train.config import ModelConfig
from train.model import Transformer


def small_model(seed: int, n_ctx: int, d_vocab: int) -> Transformer:
    """An untrained one-layer model with d_model 64, without gradients."""
    config = ModelConfig(n_layers=1, d_model=64, n_heads=4, n_ctx=n_ctx, d_vocab=d_vocab, act="relu", widths=(64,))
    return Transformer(config, seed).requires_grad_(False)
