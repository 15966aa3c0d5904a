"""What toys say of problems: written beside each other, and read where `polysem problems` looks."""

from pathlib import Path

import numpy as np
import pytest

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement
from analyze.problems.catalogue import entries
from analyze.problems.page import write_index
from analyze.toys.verdicts.question import LEAST_REPLICAS, ToyQuestion, toy_rule
from analyze.toys.verdicts.record import answer, answered, assemble
from train.errors import BadInput

DRAWS = np.linspace(0.0, 0.2, 21)


def question(name: str = "five", problem: str = "4.7", least: float = 0.2) -> ToyQuestion:
    return ToyQuestion(problem, name, toy_rule("yes if more than .2", least), "share", "chance", "polysem toy five")


def replicas(value: float, n: int = LEAST_REPLICAS, variant: str = "five", settled: bool = True) -> list[Measured]:
    spread = np.linspace(-0.01, 0.01, n)
    return [
        Measured(
            f"{variant}, replica {i}", variant, i, 10, "0" * 64, Measurement(value + float(d), DRAWS, settled=settled)
        )
        for i, d in enumerate(spread)
    ]


def test_a_toy_answers_its_problem_where_problems_are_listed(tmp_path: Path) -> None:
    found = answer(question(), replicas(0.9), tmp_path)
    assert found.verdict == "yes"
    listed, facts = entries()["4.7"].finding(tmp_path)
    assert listed.verdict == "yes"
    assert facts["toys"] == {"five": "yes"}
    page = (tmp_path / "4.7.html").read_text()
    assert "yes if more than .2" in page
    assert "five, replica" not in page
    assert page.count("<td>five</td>") >= LEAST_REPLICAS
    assert "4.7.html" in write_index(tmp_path).read_text()
    assert entries()["4.8"].finding(tmp_path)[0].verdict == "not asked yet"


def test_seven_replicas_are_a_look(tmp_path: Path) -> None:
    found = answer(question(), replicas(0.9, n=7), tmp_path)
    assert found.verdict == "unclear"
    assert "7 seeds: a look, not a verdict, which takes 8" in found.variants[0].why


def test_replicas_that_did_not_converge_give_no_verdict(tmp_path: Path) -> None:
    moving = [*replicas(0.9, settled=False)[:3], *replicas(0.9)[3:]]
    found = answer(question(), moving, tmp_path)
    assert found.verdict == "unclear"
    assert "training had not converged in 3 of 8 replicas" in found.variants[0].why
    few = [*replicas(0.9, settled=False)[:2], *replicas(0.9)[2:]]
    assert answer(question(), few, tmp_path).verdict == "yes"


def test_toys_that_disagree_make_the_problem_mixed_and_a_new_answer_replaces_the_old(tmp_path: Path) -> None:
    answer(question(), replicas(0.9), tmp_path)
    answer(question("six"), replicas(0.1, variant="six"), tmp_path)
    assert entries()["4.7"].finding(tmp_path)[0].verdict == "mixed"
    answer(question("six"), replicas(0.8, variant="six"), tmp_path)
    assert entries()["4.7"].finding(tmp_path)[0].verdict == "yes"
    assert [facts["toy"] for _, facts in answered("4.7", tmp_path)] == ["five", "six"]


def test_a_figure_is_kept_and_shown(tmp_path: Path) -> None:
    figure = Figure("drawing", "<svg></svg>", "a drawing", "What it shows.")
    answer(question(), replicas(0.9), tmp_path, figures=[figure])
    assert (tmp_path / "4.7/toys/five/figures/drawing.svg").is_file()
    assert "What it shows." in (tmp_path / "4.7.html").read_text()
    assert "five/figures/drawing.svg" in write_index(tmp_path).read_text()


def test_a_replica_without_a_statistic_says_why_and_counts_as_none(tmp_path: Path) -> None:
    values = [*replicas(0.9), Measured("x", "five", 99, 10, "0", Measurement.impossible("nothing there"))]
    found = answer(question(), values, tmp_path)
    assert found.variants[0].n == 8
    assert "nothing there" in (tmp_path / "4.7.html").read_text()


def test_what_is_no_problem_or_was_not_answered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there are 4\.1 to 4\.45"):
        answer(question(problem="4.99"), replicas(0.9), tmp_path)
    with pytest.raises(BadInput, match=r"no toy has answered problem 4\.7"):
        assemble("4.7", tmp_path)
