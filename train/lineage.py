"""Which neuron a widened neuron comes from, under which plan, and how exact the copy was."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from safetensors import safe_open
from safetensors.numpy import save

from train.config import WidenPlan

FRESH = -1
"""The parent of a neuron that has none."""


@dataclass(frozen=True)
class Receipt:
    """How far a widened model's function is from its parent's, before any training.

    Errors of logits are relative L2 and largest absolute difference; losses are nats a token.
    """

    rows: str
    """The rows it was measured on."""
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
class Widening:
    """One widening in a line of descent."""

    plan: WidenPlan
    """With its layers listed."""
    parent_hash: str | None
    """Manifest hash of the checkpoint that was widened, where there was one."""

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Widening":
        """The reverse of `facts`, after JSON.

        Raises:
            ValueError: no plan, or a plan that does not list its layers.
        """
        plan = WidenPlan.model_validate(facts["plan"])
        if plan.layers == "all":
            raise ValueError("the plan does not spell out its layers")
        return cls(plan, facts["parent_hash"])

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return {"plan": self.plan.model_dump(mode="json"), "parent_hash": self.parent_hash}


@dataclass(frozen=True)
class Lineage:
    """The descent of a widened model's neurons."""

    plan: WidenPlan
    """Of the last widening, with its layers listed."""
    parents: dict[int, Int[np.ndarray, " d_mlp"]]
    """Layer -> the parent checkpoint's neuron that each neuron was copied from; FRESH (-1) for one drawn anew."""
    receipt: Receipt
    parent_hash: str | None = None
    """Manifest hash of the parent checkpoint, where there is one."""
    ancestors: tuple[Widening, ...] = ()
    """Earlier widenings, the first ancestor's first."""
    roots: dict[int, Int[np.ndarray, " d_mlp"]] = field(default_factory=dict)
    """Layer -> the first ancestor's neuron, for layers that an earlier widening touched."""

    @property
    def factor(self) -> int:
        """How many times wider the last widening made its layers."""
        return self.plan.factor

    @property
    def widenings(self) -> tuple[Widening, ...]:
        """Every widening since the first ancestor, in order; the last one is this."""
        return (*self.ancestors, Widening(self.plan, self.parent_hash))

    @property
    def factors(self) -> dict[int, int]:
        """Layer -> how many times wider it is than in the first ancestor."""
        return _products(self.widenings)

    @property
    def copies(self) -> dict[int, int]:
        """Layer -> how many copies of each of the first ancestor's neurons it holds; fresh neurons are none."""
        return _products(widening for widening in self.widenings if widening.plan.copies == "tiled")

    def parent_of(self, layer: int) -> Int[np.ndarray, " d_mlp"] | None:
        """The direct parent of every neuron of a layer, FRESH (-1) for none.

        None for a layer that the last widening left alone.
        """
        return self.parents.get(layer)

    def root_of(self, layer: int) -> Int[np.ndarray, " d_mlp"] | None:
        """The first ancestor's neuron that each neuron of a layer descends from, FRESH (-1) for none.

        None for a layer that was never widened.
        """
        return self.roots.get(layer, self.parents.get(layer))

    def of(self, parent_hash: str, earlier: "Lineage | None") -> "Lineage":
        """The same lineage with the hash of the parent checkpoint, continued back through the parent's lineage."""
        if earlier is None:
            return replace(self, parent_hash=parent_hash, ancestors=(), roots={})
        roots = {**earlier.parents, **earlier.roots}
        for layer in sorted(roots.keys() & self.parents.keys()):
            parents = self.parents[layer]
            roots[layer] = np.where(parents == FRESH, FRESH, roots[layer][parents]).astype(np.int32)
        return replace(self, parent_hash=parent_hash, ancestors=earlier.widenings, roots=roots)

    def to_bytes(self) -> bytes:
        """As a safetensors file: int32 tensors by layer, the rest as JSON in its metadata."""
        *earlier, last = (widening.facts() for widening in self.widenings)
        facts = {**last, "receipt": vars(self.receipt), "ancestors": earlier}
        tensors = _by_layer(self.parents, "parent") | _by_layer(self.roots, "root")
        return save(tensors, metadata={"lineage": json.dumps(facts, sort_keys=True)})

    @classmethod
    def read(cls, path: Path) -> "Lineage":
        """Read what `to_bytes` wrote."""
        kinds: dict[str, dict[int, Int[np.ndarray, " d_mlp"]]] = {"parent": {}, "root": {}}
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["lineage"])
            for name in sorted(file.keys()):
                _, layer, kind = name.split(".")
                kinds[kind][int(layer)] = file.get_tensor(name)
        last = Widening.from_facts(facts)
        return cls(
            plan=last.plan,
            parents=kinds["parent"],
            receipt=Receipt(**facts["receipt"]),
            parent_hash=last.parent_hash,
            ancestors=tuple(Widening.from_facts(each) for each in facts["ancestors"]),
            roots=kinds["root"],
        )


def _products(widenings: Iterable[Widening]) -> dict[int, int]:
    products: dict[int, int] = {}
    for widening in widenings:
        for layer in widening.plan.layers:
            assert isinstance(layer, int)
            products[layer] = products.get(layer, 1) * widening.plan.factor
    return products


def _by_layer(neurons: Mapping[int, Int[np.ndarray, " d_mlp"]], kind: str) -> dict[str, Any]:
    return {f"layers.{layer}.{kind}": values.astype(np.int32) for layer, values in sorted(neurons.items())}
