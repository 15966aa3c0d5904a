"""Rules of toys are tried on cases of known truth, and one that finds nothing or too much does not hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analyze.problems.base import Measured, Measurement
from analyze.toys.verdicts.question import ToyQuestion, toy_rule
from analyze.toys.verdicts.trial import ToyTrials, try_one_toy, try_toys
from train.errors import BadInput

QUESTION = ToyQuestion("4.7", "five", toy_rule("yes if more than .2", 0.2), "share", "chance", "polysem toy five")


def case(seed: int, effect: float) -> Sequence[Measured]:
    generator = np.random.default_rng(seed)
    values = effect + 0.05 * generator.standard_normal(8)
    return [
        Measured(f"{i}", "five", i, 1, "0", Measurement(float(value), np.zeros(1))) for i, value in enumerate(values)
    ]


def trials(planted: float, null: float) -> ToyTrials:
    return ToyTrials(QUESTION, lambda seed: case(seed, planted), lambda seed: case(seed, null), "shares")


def test_a_rule_that_finds_what_was_planted_and_nothing_else_holds() -> None:
    tried = try_one_toy(trials(0.5, 0.0))
    assert tried.holds
    assert (tried.planted["yes"], tried.null["no"]) == (20, 20)
    assert not try_one_toy(trials(0.5, 0.5)).holds
    assert not try_one_toy(trials(0.1, 0.0)).holds


def test_trials_are_tabulated_by_problem_and_kept_beside_earlier_ones(tmp_path: Path) -> None:
    other = ToyTrials(
        ToyQuestion("4.10", "six", QUESTION.rule, "share", "chance", ""),
        trials(0.5, 0).planted,
        trials(0.5, 0).null,
        "",
    )
    known = [trials(0.5, 0.0), other]
    try_toys(known, ["six"], tmp_path, say=lambda line: None)
    tried = try_toys(known, ["4.7"], tmp_path, say=lambda line: None)
    assert [each.problem for each in tried] == ["4.7 five", "4.10 six"]
    table = (tmp_path / "toy-trials.md").read_text()
    assert table.index("4.7 five") < table.index("4.10 six")


def test_a_rule_that_cannot_be_tried_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no rule of this name can be tried; did you mean 'five'"):
        try_toys([trials(0.5, 0.0)], ["fiv"], tmp_path)
