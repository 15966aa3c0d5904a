"""Figures of single neurons, from firings whose contexts are known."""

from dataclasses import astuple

import numpy as np
import pytest

from analyze.contexts.figures import Figures, figures
from analyze.contexts.firings import Firings
from analyze.contexts.spaces import Space

D, T = 16, 4000


def space_of(heaps: int, seed: int = 0) -> tuple[Space, Firings, Firings]:
    """Random tokens, of which the first 600 lie 4 from the middle in one of so many directions by turns."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((T, D)).astype(np.float32)
    z[np.arange(600), np.arange(600) % heaps] += 4
    space = Space("left", z, np.arange(2000, T))
    weights = np.full(300, 1 / 300, np.float32)
    return space, Firings(np.arange(0, 600, 2), weights), Firings(np.arange(1, 600, 2), weights)


def heaps_by_turns(heaps: int) -> Figures:
    space, fit, held_out = space_of(heaps)
    # Both halves take turns over all heaps.
    rows = np.arange(600).reshape(-1, heaps)
    fit = Firings(np.sort(rows[::2].ravel()), np.full(rows[::2].size, 1 / rows[::2].size, np.float32))
    held_out = Firings(np.sort(rows[1::2].ravel()), np.full(rows[1::2].size, 1 / rows[1::2].size, np.float32))
    return figures(space, fit, held_out)


def test_one_direction_scores_above_three_by_every_figure_that_ranks():
    one, three = heaps_by_turns(1), heaps_by_turns(3)
    for name in ("coherence", "linear", "transfer_2", "transfer_4"):
        assert getattr(one, name) > getattr(three, name), name
    assert one.beyond_own >= 0


def test_coherence_is_the_squared_distance_from_chance():
    assert heaps_by_turns(1).coherence == pytest.approx(16, rel=0.1)
    assert heaps_by_turns(4).coherence == pytest.approx(4, rel=0.15)


def test_random_tokens_have_no_coherence_and_no_transfer():
    rng = np.random.default_rng(3)
    space, _, _ = space_of(1)
    weights = np.full(300, 1 / 300, np.float32)
    fit, held_out = (Firings(np.sort(rng.choice(np.arange(700, 2000), 300, replace=False)), weights) for _ in range(2))
    found = figures(space, fit, held_out)
    assert abs(found.coherence) < 0.1
    assert found.linear == pytest.approx(0.5, abs=0.07)
    assert found.transfer_2 < 0.6


def test_a_factor_on_the_weights_of_all_firings_changes_nothing_that_matters():
    space, fit, held_out = space_of(2)
    shuffled = np.random.default_rng(0).permutation(len(fit.rows))
    same = Firings(fit.rows[shuffled], fit.weights)
    assert figures(space, same, held_out).coherence == pytest.approx(figures(space, fit, held_out).coherence, rel=1e-4)
    assert all(np.isfinite(astuple(figures(space, fit, held_out))))
