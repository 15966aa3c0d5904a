"""Makes checkpoints: corpus, tokens, model, training loop, widening. `load` opens what it made."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.checkpoint import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import train` does not wait for torch.
    if name == "load":
        from train.checkpoint import load

        return load
    raise AttributeError(f"module 'train' has no attribute {name!r}")
