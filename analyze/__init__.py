"""Reads checkpoints: collects neurons' activations, scores them, compares variants, writes the report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyze.scores.store import load_scores as load_scores

__all__ = ["load_scores"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import analyze` does not wait for polars and torch.
    if name == "load_scores":
        from analyze.scores.store import load_scores

        return load_scores
    raise AttributeError(f"module 'analyze' has no attribute {name!r}")
