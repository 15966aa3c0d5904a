"""Who a widened neuron comes from, under which plan, and how exact the copy was."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from safetensors.numpy import save

from train.config import WidenPlan


@dataclass(frozen=True)
class Receipt:
    """How far a widened model's function is from its parent's, measured at birth.

    Errors of logits are relative L2 and largest absolute difference; losses are nats a token.
    """

    rows: str
    """Which rows it was measured on."""
    n_tokens: int
    exact_promised: bool
    logits_relative_l2: dict[str, float]
    """By precision, "fp32" and "fp64"."""
    logits_max_error: dict[str, float]
    loss_parent: dict[str, float]
    loss_widened: dict[str, float]

    def line(self) -> str:
        """The receipt in one line."""
        l2 = self.logits_relative_l2
        promise = "exact" if self.exact_promised else "not exact by design"
        return (
            f"{promise}: relative L2 of logits {l2['fp32']:.1e} (fp32) {l2['fp64']:.1e} (fp64), "
            f"loss {self.loss_parent['fp64']:.4f} -> {self.loss_widened['fp64']:.4f} on {self.rows}"
        )


@dataclass(frozen=True)
class Lineage:
    """The descent of a widened model's neurons."""

    plan: WidenPlan
    parents: dict[int, Int[np.ndarray, " d_mlp"]]
    """Layer -> the parent checkpoint's neuron that each neuron was copied from."""
    receipt: Receipt
    parent_hash: str | None = None
    """Manifest hash of the parent checkpoint, where there is one."""
    ancestors: tuple[dict[str, Any], ...] = field(default=())
    """Plans and parents' hashes of earlier widenings, the first ancestor's first."""

    @property
    def factor(self) -> int:
        """Copies of every neuron in the widened layers."""
        return self.plan.factor

    def parent_of(self, layer: int) -> Int[np.ndarray, " d_mlp"] | None:
        """The parent of every neuron of a layer; None for a layer that was not widened."""
        return self.parents.get(layer)

    def of(self, parent_hash: str, earlier: "Lineage | None") -> "Lineage":
        """The same lineage, signed with the parent checkpoint's hash and chained to its own lineage."""
        chain = () if earlier is None else (*earlier.ancestors, earlier._link())
        return replace(self, parent_hash=parent_hash, ancestors=chain)

    def _link(self) -> dict[str, Any]:
        return {"plan": self.plan.model_dump(mode="json"), "parent_hash": self.parent_hash}

    def to_bytes(self) -> bytes:
        """As a safetensors file: one int32 tensor a layer, the rest as JSON in its metadata."""
        facts = {**self._link(), "receipt": vars(self.receipt), "ancestors": list(self.ancestors)}
        tensors = {f"layers.{layer}.parent": parent.astype(np.int32) for layer, parent in sorted(self.parents.items())}
        return save(tensors, metadata={"lineage": json.dumps(facts, sort_keys=True)})

    @classmethod
    def read(cls, path: Path) -> "Lineage":
        """Read what `to_bytes` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["lineage"])
            parents = {int(name.split(".")[1]): file.get_tensor(name) for name in sorted(file.keys())}
        return cls(
            plan=WidenPlan.model_validate(facts["plan"]),
            parents=parents,
            receipt=Receipt(**facts["receipt"]),
            parent_hash=facts["parent_hash"],
            ancestors=tuple(facts["ancestors"]),
        )
