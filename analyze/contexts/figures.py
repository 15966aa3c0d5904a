"""What the contexts of one neuron's strong firings look like in a space: all figures that scores are made of, at once.

Each figure takes something from the fit half (a mean, a direction, clusters) and measures it in the eval half, so that
the noise of one half is not in it.
"""

from collections import deque
from dataclasses import dataclass, fields
from math import nan
from weakref import ref

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import linalg

from analyze.activations.store import Activations
from analyze.contexts.clusters import Clusters, chance_above, transfer, unit
from analyze.contexts.firings import Firings, firings_of
from analyze.contexts.spaces import Space, spaces_of

N_DIRECTIONS = 12
"""Directions of the fit half in which the eval half is measured."""
N_CLUSTERS = (2, 4, 8)


@dataclass(frozen=True)
class Figures:
    """One neuron in one space; with m and m' the weighted mean vectors of the firings of the two halves."""

    coherence: float = nan
    """m . m': how far the firings' mean lies from chance, squared."""
    coherence_by_length: float = nan
    """The same over the root mean squared lengths of the firings."""
    largest: float = nan
    """Of the second moment of the firings less the identity: its largest value, seen in both halves,"""
    total: float = nan
    """the sum of its largest N_DIRECTIONS values above 0,"""
    coherent_share: float = nan
    """and coherence over that sum."""
    spread: float = nan
    """The largest variance within the firings."""
    unity: float = nan
    """coherence / (|coherence| + spread)."""
    linear: float = nan
    """AUROC of direction m on eval firings against random tokens."""
    transfer_2: float = nan
    """Transfer between two clusters of firings,"""
    transfer_2_least: float = nan
    """the smaller of its two directions,"""
    transfer_4: float = nan
    """and transfer between four."""
    beyond_own: float = nan
    """1 - AUROC of a cluster's own direction on its own firings, mean over four."""
    one_probe: float = nan
    """`linear` less the AUROC of the best of eight clusters' directions: what one probe loses."""


NAMES = tuple(field.name for field in fields(Figures))
NOTHING = Figures()


def figures(space: Space, fit: Firings, held_out: Firings) -> Figures:
    """The figures of one neuron."""
    za, zb = space.z[fit.rows], space.z[held_out.rows]
    wa, wb = fit.weights, held_out.weights
    ma, mb = wa @ za, wb @ zb
    coherence = float(np.dot(ma, mb))
    squares_a, squares_b = np.einsum("md,md->m", za, za), np.einsum("md,md->m", zb, zb)
    lengths = float(np.sqrt(np.dot(wa, squares_a) * np.dot(wb, squares_b)))
    moments, spread = _spectrum(za, zb, wa, wb, ma, mb)
    za_unit, zb_unit = unit(za), unit(zb)
    clusters = [Clusters.of(k, za, za_unit, zb_unit) for k in N_CLUSTERS]
    directions = np.vstack([ma, *(each.direction for each in clusters)])
    scores = zb @ directions.T
    chance = directions @ space.of_background.T
    ordered = np.sort(chance, axis=1)
    above = chance_above(scores, ordered)
    linear = float(above[:, 0].mean())
    ends = 1 + np.cumsum([0, *(len(each.n_fit) for each in clusters)])
    two, four = (transfer(clusters[at], above[:, ends[at] : ends[at + 1]]) for at in (0, 1))
    return Figures(
        coherence=coherence,
        coherence_by_length=coherence / max(lengths, 1e-9),
        largest=float(moments[0]),
        total=float(moments.sum()),
        coherent_share=coherence / max(float(moments.sum()), 1e-9),
        spread=spread,
        unity=coherence / max(abs(coherence) + spread, 1e-9),
        linear=linear,
        transfer_2=two.across,
        transfer_2_least=two.least,
        transfer_4=four.across,
        beyond_own=1 - four.own,
        one_probe=linear - _best_of(scores[:, ends[2] :], chance[ends[2] :]),
    )


def _spectrum(
    za: Float[ndarray, "m d"],
    zb: Float[ndarray, "n d"],
    wa: Float[ndarray, "m"],
    wb: Float[ndarray, "n"],
    ma: Float[ndarray, "d"],
    mb: Float[ndarray, "d"],
) -> tuple[Float[ndarray, "k"], float]:
    """Second moments less 1 in the fit half's largest directions, seen in the eval half; the variance in its first."""
    root = np.sqrt(wa)[:, None] * za
    moment = root.T @ root
    d = len(ma)
    top = linalg.eigh(moment, subset_by_index=(max(d - N_DIRECTIONS, 0), d - 1), check_finite=False)[1][:, ::-1]
    seen = wb @ np.square(zb @ top) - 1
    first = linalg.eigh(moment - np.outer(ma, ma), subset_by_index=(d - 1, d - 1), check_finite=False)[1][:, 0]
    along = zb @ first
    variance = float(np.dot(wb, np.square(along))) - float(np.dot(mb, first)) ** 2
    return np.maximum(seen.astype(np.float64), 0), max(variance, 0.0)


def _best_of(scores: Float[ndarray, "m k"], chance: Float[ndarray, "k b"]) -> float:
    """AUROC of the best of several directions, each in units of what random tokens have."""
    if len(chance) < 2:
        return nan
    scale = chance.std(axis=1) + 1e-9
    best, by_chance = (scores / scale).max(axis=1), np.sort((chance / scale[:, None]).max(axis=0))
    return float(chance_above(best[:, None], by_chance[None])[:, 0].mean())


_KEPT: deque[tuple[ref[Activations], dict[str, list[Figures]]]] = deque(maxlen=1)


def figures_of(acts: Activations) -> dict[str, list[Figures]]:
    """The figures of every neuron, by the name of the space; those of the last activations are kept for other scores.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    for kept_acts, kept in _KEPT:
        if kept_acts() is acts:
            return kept
    spaces = spaces_of(acts)
    found: dict[str, list[Figures]] = {space.name: [] for space in spaces}
    for firings in firings_of(acts):
        for space in spaces:
            found[space.name].append(NOTHING if firings is None else figures(space, *firings))
    _KEPT.append((ref(acts), found))
    return found
