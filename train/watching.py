"""What a run shows of itself: loss by source, norms of gradients and updates, dead neurons, memory.

Nothing here changes a weight, a gradient or a random number. Norms are taken at steps that are logged, the rest with an
evaluation, whose losses and activations it uses.
"""

import math
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import psutil
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from train.data.tokens import TokenFile
from train.model import Transformer

if TYPE_CHECKING:
    from accelerate import Accelerator

DEAD_SHARE = 1e-6
"""A neuron is dead where its range is at most this share of the median of its layer's ranges above 0, as in the
analysis (`analyze.activations.moments`)."""

GROUPS = {"by_source": "source", "by_content": "content"}
"""Key of a line of metrics.jsonl -> the column of documents.parquet that parts the tokens."""

_LAYER_NORMS = {"ln1": "attn", "ln2": "mlp"}
"""A block's LayerNorm -> the part that reads it."""
_CHUNK = 2**20


def part_of(name: str) -> str:
    """The part of a model that a parameter belongs to: embedding, layers.0.attn, layers.0.mlp, unembedding."""
    if not name.startswith("layers."):
        return "unembedding" if name.startswith(("ln_out", "head")) else "embedding"
    _, layer, module, *_ = name.split(".")
    return f"layers.{layer}.{_LAYER_NORMS.get(module, module)}"


class StepNorms:
    """Norms of one optimizer step, by part of the model: call `before` and `after` around it.

    Args:
        model: its trained parameters; what is frozen has no part.
        optimizer: AdamW over them.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.parts: dict[str, list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.parts.setdefault(part_of(name), []).append(parameter)
        self.optimizer = optimizer
        self._gradients: list[Tensor] = []
        self.by_part: dict[str, dict[str, float]] = {}
        """Part -> norms of its weights, of its gradient before clipping, and of what the step added to its weights."""

    @torch.no_grad()
    def before(self, norm: float, clip: float) -> None:
        """Take the gradients' norms as they were before clipping.

        Args:
            norm: of the whole gradient, before clipping.
            clip: the largest norm that clipping leaves.
        """
        share = min(1.0, clip / (norm + 1e-6))  # as torch.nn.utils.clip_grad_norm_ has it
        self._gradients = [
            torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None]) / share
            for parameters in self.parts.values()
        ]

    @torch.no_grad()
    def after(self) -> None:
        """Take the norms of the weights and of what the step added to them."""
        group_of = {parameter: group for group in self.optimizer.param_groups for parameter in group["params"]}
        weights, updates = [], []
        for parameters in self.parts.values():
            weights.append(torch.nn.utils.get_total_norm(parameters))
            squares = [_squared_update(each, group_of[each], self.optimizer.state[each]) for each in parameters]
            updates.append(torch.stack(squares).sum().sqrt())
        # One transfer from the device.
        table = torch.stack([torch.stack(row).float() for row in (weights, self._gradients, updates)]).tolist()
        self.by_part = {
            part: {"weight": weight, "gradient": gradient, "update": update}
            for part, weight, gradient, update in zip(self.parts, *table)
        }

    def line(self) -> dict[str, Any]:
        """What a line of metrics.jsonl says of the step."""
        return {"update_norm": math.hypot(*(each["update"] for each in self.by_part.values())), "norms": self.by_part}


def _squared_update(parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Float[Tensor, ""]:
    """Squared norm of what AdamW's last step added to a parameter, from the state that it left: no copy is needed.

    With s = lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) the step was w' = (1 - lr decay) w - s, so
    w' - w = -(s + lr decay w') / (1 - lr decay).
    """
    step, (beta1, beta2) = float(state["step"]), group["betas"]
    rate, decay = group["lr"], group["lr"] * group["weight_decay"]
    total = torch.zeros((), device=parameter.device)
    flat = [each.flatten() for each in (parameter, state["exp_avg"], state["exp_avg_sq"])]
    for start in range(0, parameter.numel(), _CHUNK):
        weight, mean, square = (each[start : start + _CHUNK] for each in flat)
        size = mean / (square.sqrt() / (1 - beta2**step) ** 0.5 + group["eps"]) * (rate / (1 - beta1**step))
        total += torch.linalg.vector_norm(size if not decay else size.add_(weight, alpha=decay)).square()
    return total / (1 - decay) ** 2


def memory() -> dict[str, int]:
    """Bytes: of this process now, at most so far, and at most so far on its CUDA device."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    now = psutil.Process().memory_info().rss
    used = {"memory_bytes": now, "peak_memory_bytes": max(now, peak)}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        used["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return used


@dataclass(frozen=True)
class Groups:
    """The groups into which a column of documents.parquet parts the held-out tokens."""

    names: list[str]
    of_documents: Int[np.ndarray, " documents"]

    @classmethod
    def of(cls, held_out: TokenFile) -> "dict[str, Groups]":
        """Every column of GROUPS that the documents have, with more than one group."""
        table, groups = held_out.documents(), {}
        for key, column in GROUPS.items():
            if column in table.columns and table[column].n_unique() > 1:
                names = sorted(table[column].drop_nulls().unique().to_list())
                codes = table[column].replace_strict(names, range(len(names)), return_dtype=pl.Int64)
                groups[key] = cls(names, codes.to_numpy())
        return groups


class LossByGroup:
    """Adds up held-out losses by group. A document's separator belongs to the document."""

    def __init__(self, held_out: TokenFile, device: torch.device, exact: torch.dtype):
        self.held_out, self.groups = held_out, Groups.of(held_out)
        self.sums = {
            key: torch.zeros(2, len(group.names), dtype=exact, device=device) for key, group in self.groups.items()
        }

    def add(self, first: int, losses: Float[Tensor, "rows pos"]) -> None:
        """Add the losses of held-out rows from `first` on."""
        if not self.groups:
            return
        documents = self.held_out.document_of_targets(first, len(losses))
        for key, group in self.groups.items():
            codes = torch.from_numpy(group.of_documents[documents].ravel()).to(losses.device)
            sums = self.sums[key]
            sums[0].index_add_(0, codes, losses.flatten().to(sums.dtype))
            sums[1] += torch.bincount(codes, minlength=len(group.names))

    def result(self, reduced: Callable[[Tensor], Tensor]) -> dict[str, dict[str, dict[str, int | float]]]:
        """Key of GROUPS -> group -> loss in nats a token and tokens; groups without tokens are left out.

        Args:
            reduced: adds a tensor up over all processes.
        """
        found = {}
        for key, group in self.groups.items():
            losses, counts = reduced(self.sums[key]).tolist()
            found[key] = {
                name: {"loss": loss / count, "n_tokens": int(count)}
                for name, loss, count in zip(group.names, losses, counts)
                if count
            }
        return found


class NeuronRanges:
    """The smallest and largest value of every neuron, after the activation, over the tokens of an evaluation."""

    def __init__(self, model: Transformer):
        self.model = model
        self.layers = range(model.config.n_layers if model.config.has_mlp else 0)
        self._ends: dict[int, Float[Tensor, "2 d_mlp"]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block every activation that the model computes is looked at."""
        before = {layer: self.model.mlp(layer).activation for layer in self.layers}
        for layer, activation in before.items():
            self.model.mlp(layer).activation = replace(activation, function=self._noting(layer, activation.function))
        try:
            yield
        finally:
            for layer, activation in before.items():
                self.model.mlp(layer).activation = activation

    def _noting(self, layer: int, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def noting(pre: Tensor) -> Tensor:
            values = function(pre)
            flat = values.detach().flatten(0, -2)
            smallest, largest = flat.amin(0), flat.amax(0)  # torch.aminmax takes four times as long on a CPU
            if (ends := self._ends.get(layer)) is not None:
                smallest, largest = torch.minimum(ends[0], smallest), torch.maximum(ends[1], largest)
            self._ends[layer] = torch.stack([smallest, largest])
            return values

        return noting

    def dead(self, accelerator: "Accelerator") -> dict[str, dict[str, int | float]]:
        """Layer -> dead neurons and their share; all processes together."""
        found = {}
        for layer in self.layers:
            ends = self._ends.get(layer)
            if ends is None:  # a process without rows of its own
                ends = torch.tensor([[float("inf")], [float("-inf")]], device=accelerator.device)
                ends = ends.expand(2, self.model.config.widths[layer]).contiguous()
            gathered = accelerator.gather(ends[None])
            assert isinstance(gathered, Tensor)
            ranges = (gathered[:, 1].amax(0) - gathered[:, 0].amin(0)).double().cpu().numpy()
            n_dead = int(is_dead(ranges).sum())
            found[f"layers.{layer}"] = {"neurons": n_dead, "share": n_dead / len(ranges)}
        return found


def is_dead(ranges: Float[np.ndarray, " n"]) -> np.ndarray:
    """Which neurons of a layer are dead, by the ranges of their values: [n], bool."""
    moving = ranges[ranges > 0]
    return ranges <= (DEAD_SHARE * np.median(moving) if len(moving) else 0.0)
