"""What each score tells apart: a trained layer from chance, and one variant from another.

The figure is the probability that a neuron drawn from the first scores above one drawn from the second, ties half
(the area under the ROC curve; 1/2: the score does not tell them apart). Clusters of duplicates count once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.comparison.results import Cell, final_cells, untrained_cells, untrained_of
from analyze.comparison.summary import NULLS_SHOWN, over_clusters
from analyze.scores import SCORES
from analyze.statistics import cliffs_delta

SIDES = (*NULLS_SHOWN, "reference")
"""What the neurons of a variant are held against."""
_NORMAL = 1.96


@dataclass(frozen=True)
class Told:
    """One score, one variant, one side."""

    score: str
    variant: str
    layer: int
    hook: str
    side: str
    probability: tuple[float, ...]
    """By seed."""
    error: tuple[float, ...]
    """Standard error within each seed (Hanley and McNeil, Radiology 143, 1982): neurons taken for independent."""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return sum(self.probability) / len(self.probability)

    @property
    def verdict(self) -> str:
        """ "above" or "below" where every seed's 95 % interval lies on that side of 1/2, else "not told"."""
        pairs = list(zip(self.probability, self.error))
        if all(p - _NORMAL * error > 0.5 for p, error in pairs):
            return "above"
        return "below" if all(p + _NORMAL * error < 0.5 for p, error in pairs) else "not told"


def rank_column(name: str, columns: Sequence[str]) -> str | None:
    """The column of scores.parquet in which higher is more monosemantic; None where that score was not made."""
    for column in (f"{name}_score", name):
        if column in columns:
            return column
    return None


def superiority(a: Float[ndarray, "n"], b: Float[ndarray, "m"]) -> tuple[float, float]:
    """P(a > b) + P(a = b) / 2 of a random pair, and its standard error."""
    p = (cliffs_delta(a, b) + 1) / 2
    if not (len(a) and len(b)):
        return p, p
    q1, q2 = p / (2 - p), 2 * p * p / (1 + p)
    variance = (p * (1 - p) + (len(a) - 1) * (q1 - p * p) + (len(b) - 1) * (q2 - p * p)) / (len(a) * len(b))
    return p, sqrt(max(variance, 0.0))


def tell(cells: Sequence[Cell], reference: str) -> list[Told]:
    """Every score of every variant that was trained from scratch, against the SIDES that are there.

    Args:
        cells: of a comparison.
        reference: the variant that others are held against, on the same layer and hook (or its `mid`).
    """
    finals = {
        variant: places
        for variant, places in final_cells(cells).items()
        if all(cell.meta["start_run"] is None for seeds in places.values() for cell in seeds.values())
    }
    births = untrained_cells(cells)
    memory: dict[tuple[Any, str], dict[str, Float[ndarray, "n"]]] = {}

    def ranks(cell: Cell, null: str = "none") -> dict[str, Float[ndarray, "n"]]:
        key = (cell.directory, null)
        if key not in memory:
            memory[key] = _ranks(cell.neurons(null))
        return memory[key]

    found = []
    for variant, places in finals.items():
        for (layer, hook), seeds in places.items():
            trained = [seed for seed, cell in sorted(seeds.items()) if cell.meta["step"] > 0]
            for name in SCORES:
                for side in SIDES:
                    pairs = []
                    for seed in trained:
                        own = ranks(seeds[seed]).get(name)
                        other = _other(side, seeds[seed], births, finals, reference, ranks).get(name)
                        if own is not None and other is not None and len(own) and len(other):
                            pairs.append(superiority(own, other))
                    if pairs:
                        values, errors = zip(*pairs)
                        found.append(Told(name, variant, layer, hook, side, values, errors))
    return found


def _ranks(neurons: pl.DataFrame) -> dict[str, Float[ndarray, "n"]]:
    columns = {name: rank_column(name, neurons.columns) for name in SCORES}
    return {name: over_clusters(neurons, column).to_numpy() for name, column in columns.items() if column}


def _other(
    side: str,
    cell: Cell,
    births: Mapping[tuple[str, int, tuple[int, str]], Cell],
    finals: Mapping[str, Mapping[tuple[int, str], Mapping[int, Cell]]],
    reference: str,
    ranks: Any,
) -> dict[str, Float[ndarray, "n"]]:
    variant, seed, (layer, hook) = cell.meta["variant"], cell.meta["seed"], cell.place
    if side == "untrained":
        birth = untrained_of(cell, births)
        return ranks(birth) if birth is not None else {}
    if side != "reference":
        return ranks(cell, side)
    if variant == reference:
        return {}
    places = finals.get(reference, {})
    partner = (places.get((layer, hook)) or places.get((layer, "mid")) or {}).get(seed)
    return ranks(partner) if partner is not None else {}
