"""Makes checkpoints: corpus, tokens, model, training loop, widening.

Everything in `__all__` is the public interface, imported when it is first used, so that `import train` does not wait
for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.checkpoint import load
    from train.config import ModelConfig, WidenPlan
    from train.data.prepare import prepare
    from train.data.tokens import TokenFile
    from train.lens import to_bridge
    from train.model import Transformer
    from train.training_run import run
    from train.widening.widen import widen

__all__ = ["ModelConfig", "TokenFile", "Transformer", "WidenPlan", "load", "prepare", "run", "to_bridge", "widen"]

_MODULES = {
    "ModelConfig": "train.config",
    "TokenFile": "train.data.tokens",
    "Transformer": "train.model",
    "WidenPlan": "train.config",
    "load": "train.checkpoint",
    "prepare": "train.data.prepare",
    "run": "train.training_run",
    "to_bridge": "train.lens",
    "widen": "train.widening.widen",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
