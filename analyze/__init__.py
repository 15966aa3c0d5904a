"""Reads checkpoints: collects neurons' activations, scores them, compares variants, writes the report.

Everything in `__all__` is the public interface, imported when it is first used, so that `import analyze` waits for
neither polars nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyze.activations.collect import collect
    from analyze.comparison.command import compare
    from analyze.nulls import NULLS
    from analyze.problems import PROBLEMS
    from analyze.scores import SCORES
    from analyze.scores.run import score
    from analyze.scores.store import load_scores

__all__ = ["NULLS", "PROBLEMS", "SCORES", "collect", "compare", "load_scores", "score"]

_HOMES = {
    "NULLS": "analyze.nulls.NULLS",
    "PROBLEMS": "analyze.problems.PROBLEMS",
    "SCORES": "analyze.scores.SCORES",
    "collect": "analyze.activations.collect.collect",
    "compare": "analyze.comparison.command.compare",
    "load_scores": "analyze.scores.store.load_scores",
    "score": "analyze.scores.run.score",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analyze' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].rpartition(".")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
