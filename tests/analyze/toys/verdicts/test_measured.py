"""The [verdict] of a TOY.toml: which replicas answer, against which null, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyze.problems.catalogue import entries
from analyze.toys.measures import measure_named
from analyze.toys.reading import Reading
from analyze.toys.verdicts.ask import answer_toys
from analyze.toys.verdicts.measured import measure_run, question_of
from analyze.toys.verdicts.nulls import permutations, rotations, untrained
from tests.analyze.toys.trained import ABSOLUTE, NEURON, PENTAGON, trained
from train.errors import BadInput
from train.toys.models import initial
from train.toys.runs import ToyRun

RULE: dict[str, Any] = {"says": "yes if", "measure": "loss_over_constant", "null": "number", "by_chance": 1.0}


def asking(values: dict[str, Any], **rule: Any) -> dict[str, Any]:
    given = {key: value for key, value in ({**RULE, "least": 0.1, "higher": False} | rule).items() if value is not None}
    return values | {"verdict": given}


def run_of(tmp_path: Path, values: dict[str, Any], name: str = "toy") -> ToyRun:
    return trained(tmp_path / name, values, problem="4.9")


def test_every_instance_is_a_variant_and_every_replica_a_seed(tmp_path: Path) -> None:
    run = run_of(tmp_path, asking(PENTAGON))
    measured = measure_run("toy", run)
    assert list(dict.fromkeys(each.variant for each in measured)) == [
        "toy, probability = 0.5",
        "toy, probability = 0.1",
        "toy, probability = 0.05",
    ]
    assert [each.seed for each in measured] == [0, 1, 2] * 3
    expected = run.losses / run.constant_losses[:, None]
    assert [each.measurement.statistic for each in measured] == pytest.approx(expected.flatten())
    assert all(each.measurement.null == [1.0] for each in measured)


def test_where_chooses_and_minus_takes_the_same_replica_elsewhere(tmp_path: Path) -> None:
    rule = {"where": {"probability": 0.05}, "null": "instance", "minus": {"probability": 0.5}, "by_chance": None}
    run = run_of(tmp_path, asking(PENTAGON, **rule))
    measured = measure_run("toy", run)
    ratio = run.losses / run.constant_losses[:, None]
    assert [each.variant for each in measured] == ["toy"] * 3
    assert [each.measurement.statistic for each in measured] == pytest.approx(ratio[2])
    assert [float(each.measurement.null[0]) for each in measured] == pytest.approx(ratio[0])


def test_a_run_that_reaches_its_limit_before_it_converges_is_unclear(tmp_path: Path) -> None:
    fit = {"steps": 60, "curve_points": 61, "lr": 1e-4, "replicas": 8, "schedule": "constant"}
    asked = asking(PENTAGON, where={"probability": 0.5}, least=-10.0)
    without = run_of(tmp_path, asked | {"fit": fit}, "without")
    assert all(each.measurement.settled for each in measure_run("toy", without))
    run = run_of(tmp_path, asked | {"fit": fit | {"converged": 1e-9}}, "toy")
    assert int(run.curves.steps[-1]) == 60, "the limit"
    assert sum(not each.measurement.settled for each in measure_run("toy", run)) > 2
    answer_toys([tmp_path / "toy"], tmp_path / "problems")
    finding, _ = entries()["4.9"].finding(tmp_path / "problems")
    assert finding.verdict == "unclear"
    assert "training had not converged in" in finding.variants[0].why


def test_good_replicas_alone_answer_where_asked(tmp_path: Path) -> None:
    run = run_of(tmp_path, asking(PENTAGON, replicas="good"))
    assert len(measure_run("toy", run)) == int(run.good.sum())


def test_a_slope_over_a_swept_key_is_one_statistic(tmp_path: Path) -> None:
    run = run_of(tmp_path, asking(PENTAGON, measure="loss", over="probability"))
    measured = measure_run("toy", run)
    assert [each.variant for each in measured] == ["toy"] * 3
    x = np.log([0.5, 0.1, 0.05])
    slopes = [np.polyfit(x, np.log(run.losses[:, r]), 1)[0] for r in range(3)]
    assert [each.measurement.statistic for each in measured] == pytest.approx(slopes)


def test_another_toy_is_a_null_where_it_lies_beside(tmp_path: Path) -> None:
    rule = {"null": "toy", "against": "twin", "by_chance": None}
    run = run_of(tmp_path, asking(PENTAGON, **rule))
    with pytest.raises(BadInput, match="polysem toy twin"):
        measure_run("toy", run)
    twin = run_of(tmp_path, PENTAGON | {"fit": {"seed": 5}}, "twin")
    null = np.array([each.measurement.null[0] for each in measure_run("toy", run)])
    assert null == pytest.approx((twin.losses / twin.constant_losses[:, None]).flatten())
    run_of(tmp_path, PENTAGON | {"fit": {"replicas": 4}}, "more")
    other = run_of(tmp_path, asking(PENTAGON, **rule | {"against": "more"}), "again")
    with pytest.raises(BadInput, match="other instances or replicas"):
        measure_run("again", other)


def test_rotations_keep_the_gram_matrix_and_turn_the_basis(tmp_path: Path) -> None:
    reading = Reading(run_of(tmp_path, PENTAGON))
    for name, same in (("sum_of_dimensionality", True), ("mean_interference", True)):
        measure = measure_named(name)
        draws = rotations(reading, measure, 20)
        assert draws.shape == (20, 3, 3)
        assert np.allclose(draws, measure(reading), atol=1e-4, equal_nan=True) == same
    with pytest.raises(BadInput, match="not free to rotate"):
        rotations(Reading(run_of(tmp_path, NEURON, "neuron")), measure_named("mean_interference"), 20)


def test_permutations_keep_what_each_neuron_does_alone(tmp_path: Path) -> None:
    reading = Reading(run_of(tmp_path, ABSOLUTE))
    assert np.allclose(permutations(reading, measure_named("mean_share"), 20), measure_named("mean_share")(reading))
    pairs = permutations(reading, measure_named("n_inhibitors"), 20)
    assert np.allclose(pairs, measure_named("n_inhibitors")(reading))
    cosine = measure_named("pair_cosine_between")
    assert permutations(Reading(run_of(tmp_path, NEURON, "neuron")), cosine, 20).std(0).max() > 0


def test_the_untrained_null_is_the_very_start(tmp_path: Path) -> None:
    run = run_of(tmp_path, PENTAGON)
    weight = initial(run.config.instances(), 5, run.config.fit.seed, 3).parameters["W"]
    expected = 2 / weight.square().sum((-2, -1))
    found = untrained(Reading(run), measure_named("dimensionality_star"))[0]
    assert torch.allclose(torch.from_numpy(found).float(), expected)


def test_finished_toys_are_judged_by_their_own_rule(tmp_path: Path) -> None:
    run_of(tmp_path, asking(PENTAGON))
    run_of(tmp_path, ABSOLUTE, "silent")
    lines: list[str] = []
    findings = answer_toys([tmp_path / "toy", tmp_path / "silent"], tmp_path / "out", say=lines.append)
    assert list(findings) == ["toy"]
    assert findings["toy"].verdict == "unclear"
    assert all("a look, not a verdict" in each.why for each in findings["toy"].variants)
    assert entries()["4.9"].finding(tmp_path / "out")[0].verdict == "unclear"
    assert lines[0].startswith("4.9 toy: ")


def test_a_rule_is_told_in_words(tmp_path: Path) -> None:
    run = run_of(tmp_path, asking(PENTAGON))
    asked = question_of("toy", run.config)
    assert (asked.problem, asked.statistic, asked.null) == ("4.9", "loss_over_constant", "1")
    assert "the interval is over initialisations" in asked.doubts[-1]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"measure": "los"}, "verdict.measure: measure 'los' is not known; did you mean 'loss'?"),
        ({"measure": "accuracy"}, "verdict.measure: 'accuracy' does not apply to this bottleneck model"),
    ],
)
def test_a_measure_that_does_not_fit_is_named(tmp_path: Path, rule: dict[str, Any], said: str) -> None:
    run = run_of(tmp_path, asking(PENTAGON, **rule))
    with pytest.raises(BadInput) as refused:
        measure_run("toy", run)
    assert said in str(refused.value)
