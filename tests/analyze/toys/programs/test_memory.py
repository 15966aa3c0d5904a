"""Interventions on memories whose way of holding tokens is known."""

import numpy as np
import pytest
import torch

from analyze.toys.programs.memory import (
    GruMemory,
    Swap,
    by_scale,
    by_subspace,
    initial_scale,
    initial_subspace,
    success,
)
from analyze.toys.programs.onion import Effort, Interventions, intervene, of_interventions
from analyze.toys.trials.programs import HandMemory
from train.toys.programs.base import initial
from train.toys.programs.gru import PROGRAM, GruSettings

SHORT = Effort(steps=100, batch=32)


def test_a_swap_changes_one_token_and_takes_it_from_the_source() -> None:
    swap = Swap.draw(HandMemory.draw(0, by_scale=True), 200, 0)
    changed = swap.wanted != swap.base
    assert torch.equal(changed.sum(1), torch.ones(200, dtype=torch.int64))
    assert torch.equal(changed.int().argmax(1), swap.place)
    lines = torch.arange(200)
    assert torch.equal(swap.wanted[lines, swap.place], swap.source[lines, swap.place])
    assert torch.equal(swap.new, swap.wanted[lines, swap.place])
    assert torch.equal(swap.old, swap.base[lines, swap.place])


def test_the_right_scale_changes_a_memory_by_scale() -> None:
    memory = HandMemory.draw(0, by_scale=True)
    parameters = initial_scale(memory, 0)
    parameters |= {"E": memory.E, "gamma": torch.full_like(parameters["gamma"], memory.shrink)}
    assert success(by_scale, parameters, memory).min() == 1
    parameters["gamma"] = torch.full_like(parameters["gamma"], 0.9)
    assert success(by_scale, parameters, memory).max() < 0.9


def test_the_right_turn_changes_a_memory_of_subspaces() -> None:
    memory = HandMemory.draw(0, by_scale=False)
    skew = torch.linalg.matrix_exp(torch.zeros(()) * memory.turn)
    assert torch.equal(skew[0], torch.eye(memory.hidden))
    straight = HandMemory(False, memory.E, torch.eye(memory.hidden).expand_as(memory.turn))
    assert success(by_subspace, {"A": torch.zeros_like(memory.turn)}, straight).min() == 1
    assert success(by_subspace, initial_subspace(memory, 0, 1.0), memory).max() < 0.5


@pytest.mark.parametrize("scale", [True, False])
def test_fitting_finds_how_a_memory_holds_its_tokens(scale: bool) -> None:
    found = intervene(HandMemory.draw(1, by_scale=scale), SHORT)
    assert found.repeated.min() == 1
    assert np.abs(found.random).max() < 0.2
    difference = found.scale - found.subspace
    assert (difference > 0.5).all() if scale else (difference < 0).all()


def test_a_network_that_does_not_repeat_cannot_answer() -> None:
    settings = GruSettings(tokens=3, length=3, hidden=9)
    memory = GruMemory(settings, initial(PROGRAM, settings, 0, 2))
    found = intervene(memory, Effort(steps=1, batch=4))
    assert all("repeats" in each.why_not for each in of_interventions(found))
    able = Interventions(np.array([1.0]), np.array([0.9]), np.array([0.2]), np.zeros((20, 1)))
    (one,) = of_interventions(able, [{"more": 1.0}])
    assert one.statistic == pytest.approx(0.7)
    assert one.details["more"] == 1.0
