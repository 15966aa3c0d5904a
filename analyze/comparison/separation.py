"""What each score separates: a trained layer from chance, and one variant from another.

The figure is the probability that a neuron of the first scores above a neuron of the second, ties half (the area under
the ROC curve; 1/2: the score does not separate them). Clusters of duplicates count once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from jaxtyping import Float
from numpy import ndarray

from analyze.comparison.results import Place
from analyze.comparison.summary import CellSummary, Rows
from analyze.comparison.variants import reference_at
from analyze.nulls import shown_nulls
from analyze.scores import SCORES
from analyze.statistics import cliffs_delta

REFERENCE = "reference"
_NORMAL = 1.96


@dataclass(frozen=True)
class Separation:
    """How far one score separates a variant's neurons from one other side."""

    score: str
    variant: str
    place: Place
    side: str
    """The name of a null, or REFERENCE."""
    probability: tuple[float, ...]
    """By seed."""
    error: tuple[float, ...]
    """Standard error within each seed (Hanley and McNeil, Radiology 143, 1982): neurons taken for independent."""

    @property
    def verdict(self) -> str:
        """ "above" or "below" where every seed's 95 % interval lies on that side of 1/2, else "not shown"."""
        pairs = list(zip(self.probability, self.error))
        if all(p - _NORMAL * error > 0.5 for p, error in pairs):
            return "above"
        return "below" if all(p + _NORMAL * error < 0.5 for p, error in pairs) else "not shown"


def superiority(a: Float[ndarray, "n"], b: Float[ndarray, "m"]) -> tuple[float, float]:
    """P(a > b) + P(a = b) / 2 of a random pair, and its standard error."""
    p = (cliffs_delta(a, b) + 1) / 2
    if not (len(a) and len(b)):
        return p, p
    q1, q2 = p / (2 - p), 2 * p * p / (1 + p)
    variance = (p * (1 - p) + (len(a) - 1) * (q1 - p * p) + (len(b) - 1) * (q2 - p * p)) / (len(a) * len(b))
    return p, sqrt(max(variance, 0.0))


def separations(cells: Mapping[str, Mapping[Place, tuple[CellSummary, ...]]], reference: str) -> tuple[Separation, ...]:
    """Every score of every variant that was trained from scratch, against each null and the reference.

    Args:
        cells: variant -> place -> seeds in their order.
        reference: the variant that others are compared with, on the same layer and hook (or its `mid`).
    """
    scratch = {
        variant: places
        for variant, places in cells.items()
        if all(each.cell.meta.start_hash is None for seeds in places.values() for each in seeds)
    }
    sides = [*(null.name for null in shown_nulls()), REFERENCE]
    rows = []
    for variant, places in scratch.items():
        for place, seeds in places.items():
            partners = () if variant == reference else reference_at(scratch, reference, place) or ()
            twins = {each.twin: each.own for each in partners}
            for score in SCORES:
                for side in sides:
                    pairs = [
                        superiority(own.own.ranks[score], other.ranks[score])
                        for own in seeds
                        if own.cell.meta.step > 0
                        and (other := twins.get(own.twin) if side == REFERENCE else own.nulls.get(side))
                        and _both_have(own.own, other, score)
                    ]
                    if pairs:
                        probabilities, errors = zip(*pairs)
                        rows.append(Separation(score, variant, place, side, probabilities, errors))
    return tuple(rows)


def _both_have(a: Rows, b: Rows, score: str) -> bool:
    return all(len(rows.ranks.get(score, ())) for rows in (a, b))
