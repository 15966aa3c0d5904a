"""A toy as its figures see it: all replicas, only the leading ones, and the names of instances."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from analyze.toys.reading import Reading
from train.toys.runs import ToyRun

NAMES = {
    "probability": "probability p of a feature",
    "probability_last": "probability of the last feature",
    "importance_decay": "decay of importance",
    "importance_last": "importance of the last feature",
    "active": "features active in every sample",
    "init_scale": "scale of the initial weights",
    "lr": "learning rate",
    "l1": "weight of L1",
}
SHORT = {"probability": "p", "importance_last": "importance", "probability_last": "p of the last"}
"""Names of swept values in a title."""


def spread(n: int, most: int) -> list[int]:
    """At most `most` of 0 .. n - 1, evenly, the first and the last among them."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, most)).round())]


@dataclass(frozen=True)
class View:
    """A run as its figures see it: all replicas, and only the leading one of every instance."""

    all: Reading

    @property
    def run(self) -> ToyRun:
        return self.all.run

    @cached_property
    def best(self) -> Reading:
        """The leading replica of every instance, as a run of one replica."""
        return Reading(leading(self.run))

    @cached_property
    def swept(self) -> list[str]:
        """What differs between instances."""
        return [name for name in self.run.instances.columns if name != "instance"]

    @property
    def label(self) -> str:
        """The axis on which instances lie."""
        if len(self.swept) == 1:
            return NAMES.get(self.swept[0], self.swept[0])
        return ", ".join(name.replace("_", " ") for name in self.swept) or "the one instance"

    def short(self, instance: int) -> str:
        """What is swept, as values alone: a tick of the axis `label`."""
        return ", ".join(f"{self.run.instances[name][instance]:g}" for name in self.swept)

    def title(self, instance: int) -> str:
        """What is swept, with names; empty where there is one instance."""
        values = ((SHORT.get(name, name.replace("_", " ")), self.run.instances[name][instance]) for name in self.swept)
        return ", ".join(f"{name} = {value:g}" for name, value in values)

    def name(self, instance: int) -> str:
        """Its title, or that it is the only one."""
        return self.title(instance) or "the one instance"

    def chosen(self, most: int, must: Iterable[int] = ()) -> list[int]:
        """At most `most` instances, evenly over the sweep, and those that must be there."""
        return sorted({*spread(self.run.n_inst, most), *must})

    def some(self, shown: Sequence[int], before: str = " ", after: str = ".") -> str:
        """How many instances a figure shows, where it leaves some out."""
        n = self.run.n_inst
        return "" if len(shown) == n else f"{before}{len(shown)} of {n} instances{after}"

    def which(self, shown: Sequence[int]) -> str:
        """The sentence that says what a figure of single replicas leaves out."""
        n_rep = self.run.n_rep
        leader = "The only replica" if n_rep == 1 else f"The replica of lowest loss of {n_rep}"
        return f"{leader}{self.some(shown, '; ', '')}."

    @property
    def by_importance(self) -> str:
        """A note for an axis of features where the first matter most."""
        importances = self.run.config.features.importances()
        falls = all(a > b for a, b in pairwise(importances))
        return " (0 matters most)" if falls and len(importances) > 1 else ""


def leading(run: ToyRun) -> ToyRun:
    """The replica of lowest loss of every instance, as a run of one replica."""
    rows = np.arange(run.n_inst)
    return replace(
        run,
        model=run.best_model,
        losses=run.best_losses[:, None],
        per_output=run.per_output[rows, run.best][:, None],
        best=np.zeros_like(run.best),
        curves=replace(run.curves, losses=run.curves.losses[:, rows, run.best][:, :, None]),
    )
