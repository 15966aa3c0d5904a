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

from analyze.activations.store import Activations
from analyze.contexts.clusters import Clusters, chance_above, transfer, unit
from analyze.contexts.firings import Firings, firings_of
from analyze.contexts.known_text import known_text_on
from analyze.contexts.part import part_of
from analyze.contexts.parts import N_PARTS, SIDES, SPLITS, likeness
from analyze.contexts.spaces import SPACES, Space, spaces_of
from analyze.text.stream import sampled_text


@dataclass(frozen=True)
class Figures:
    """One neuron in one space; with m and m' the weighted mean vectors of the firings of the two halves."""

    coherence: float = nan
    """m . m': how far the firings' mean lies from chance, squared."""
    coherence_by_length: float = nan
    """The same over the root mean squared lengths of the firings."""
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


NAMES = tuple(field.name for field in fields(Figures))
NOTHING = Figures()


@dataclass(frozen=True)
class Vectors:
    """The vectors of one neuron's strong firings in a space, of both halves, and the clusters of them."""

    fit: Float[ndarray, "m d"]
    held_out: Float[ndarray, "n d"]
    clusters: tuple[Clusters, ...]
    """By N_PARTS."""

    @classmethod
    def of(cls, fit: Float[ndarray, "m d"], held_out: Float[ndarray, "n d"]) -> "Vectors":
        """Vectors, split into each of N_PARTS clusters."""
        fit_unit, eval_unit = unit(fit), unit(held_out)
        return cls(fit, held_out, tuple(Clusters.of(k, fit, fit_unit, eval_unit) for k in N_PARTS))


def figures(space: Space, fit: Firings, held_out: Firings, vectors: Vectors | None = None) -> Figures:
    """The figures of one neuron."""
    if vectors is None:
        vectors = Vectors.of(space.z[fit.rows], space.z[held_out.rows])
    za, zb, clusters = vectors.fit, vectors.held_out, vectors.clusters
    wa, wb = fit.weights, held_out.weights
    ma, mb = wa @ za, wb @ zb
    coherence = float(np.dot(ma, mb))
    squares_a, squares_b = np.einsum("md,md->m", za, za), np.einsum("md,md->m", zb, zb)
    lengths = float(np.sqrt(np.dot(wa, squares_a) * np.dot(wb, squares_b)))
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
        linear=linear,
        transfer_2=two.across,
        transfer_2_least=two.least,
        transfer_4=four.across,
        beyond_own=1 - four.own,
    )


@dataclass(frozen=True)
class Found:
    """Figures of every neuron."""

    of_space: dict[str, list[Figures]]
    """By the name of the space."""
    parts: list[dict[tuple[int, str, str], float]]
    """Likeness of so many parts, split in one space, from the side of another; empty for a neuron without figures."""
    known_text: list[float]
    """The share of the strong firings that stands in text of a known sort (`analyze.contexts.known_text`)."""


_KEPT: deque[tuple[ref[Activations], Found]] = deque(maxlen=1)


def figures_of(acts: Activations) -> Found:
    """The figures of every neuron, by the name of the space; those of the last activations are kept for other scores.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    for kept_acts, kept in _KEPT:
        if kept_acts() is acts:
            return kept
    part = part_of(acts)
    spaces = {space.name: space for space in spaces_of(part)}
    found = Found({name: [] for name in spaces if name in SPACES}, [], [])
    known = known_text_on(sampled_text(part))[np.asarray(part.tokens.stream_position, np.int64)]
    for firings in firings_of(part):
        halves = firings or ()
        shares = [float(half.weights @ known[half.rows]) for half in halves]
        found.known_text.append(sum(shares) / len(shares) if shares else nan)
        of_space, of_parts = _neuron(spaces, *firings) if firings else ({}, {})
        for name, each in found.of_space.items():
            each.append(of_space.get(name, NOTHING))
        found.parts.append(of_parts)
    _KEPT.append((ref(acts), found))
    return found


def _neuron(
    spaces: dict[str, Space], fit: Firings, held_out: Firings
) -> tuple[dict[str, Figures], dict[tuple[int, str, str], float]]:
    """All figures of one neuron."""
    halves = {name: (space.z[fit.rows], space.z[held_out.rows]) for name, space in spaces.items()}
    sides = {name: halves[name] for name in SIDES if name in halves}
    of_space, of_parts = {}, {}
    for name, both in halves.items():
        if name not in SPLITS:
            continue
        vectors = Vectors.of(*both)
        if name in SPACES:
            of_space[name] = figures(spaces[name], fit, held_out, vectors)
        for k, clusters in zip(N_PARTS, vectors.clusters):
            of_parts |= {(k, name, side): value for side, value in likeness(clusters, fit, held_out, sides).items()}
    return of_space, of_parts
