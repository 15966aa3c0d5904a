"""Jumps in learning curves."""

from itertools import pairwise

import numpy as np
import pytest

from analyze.toys.dynamics import jumps


def stairs(levels: list[float], width: int = 20, fall: int = 1) -> np.ndarray:
    """Plateaus at these losses, each reached in `fall` intervals."""
    curve = [np.full(width, levels[0])]
    for before, after in pairwise(levels):
        curve += [np.geomspace(before, after, fall + 1)[1:-1], np.full(width, after)]
    return np.concatenate(curve)


@pytest.mark.parametrize("fall", [1, 3])
def test_every_fall_between_two_plateaus_is_one_jump(fall):
    assert jumps(stairs([1.0, 0.5, 0.3, 0.1], fall=fall)) == 3
    assert jumps(stairs([1.0, 0.5], fall=fall)) == 1
    assert jumps(stairs([1.0])) == 0


def test_an_even_descent_has_no_jump_however_deep():
    assert jumps(np.geomspace(1.0, 1e-4, 100)) == 0
    assert jumps(1 / np.arange(1, 100)) == 0


def test_the_descent_that_a_curve_starts_with_is_no_jump():
    assert jumps(np.concatenate([np.geomspace(10.0, 1.0, 5), stairs([1.0, 0.5])])) == 1


def test_a_small_fall_is_no_jump():
    assert jumps(stairs([1.0, 0.95])) == 0


def test_noise_on_plateaus_is_no_jump():
    noise = np.random.default_rng(0).normal(1, 0.02, 200)
    assert jumps(np.full(200, 0.5) * noise) == 0
    assert jumps(np.repeat([1.0, 0.3], 100) * noise) == 1


def test_a_jump_follows_a_stretch_that_is_slow_and_need_not_be_flat():
    falls = [0.2, 0.3, 0.2, 0.05, 0.03, 0.06, 0.3, 0.5, 0.3, 0.05, 0.02, 0.01, 0.0]
    assert jumps(np.exp(-np.cumsum([0.0, *falls]))) == 1
    assert jumps(np.exp(-np.cumsum([0.0, *sorted(falls, reverse=True)]))) == 0


def test_a_move_at_negligible_loss_is_no_jump():
    assert jumps(np.array([1.0, 1e-2, *[1e-9] * 9, *[1e-10] * 9])) == 0


def test_an_interval_of_rest_within_a_fall_does_not_part_it():
    assert jumps(np.concatenate([np.full(20, 1.0), [0.8, 0.8, 0.6], np.full(20, 0.6)])) == 1


def test_losses_of_zero_have_no_jump():
    assert jumps(np.zeros(10)) == 0
