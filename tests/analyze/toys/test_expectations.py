"""Verdicts: the word follows from the best replica and from the good ones, and comes with its counts."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.toys.expectations import Verdict, bounds, judge
from analyze.toys.measures import measure_named
from tests.analyze.toys.planted import planted, toy_config
from train.configfile import load_config
from train.errors import BadInput
from train.toys.config import ToyConfig
from train.toys.experiment import Expectation
from train.toys.runs import ToyRun

TOYS = sorted((Path(__file__).parents[3] / "configs" / "toy").glob("*.toml"))
SAYS = {"says": "as many as there are", "measure": "features_represented"}


def verdict(best: float, values: list[float], good: list[bool]) -> Verdict:
    return Verdict(Expectation(**SAYS, at_least=2), float(best), np.array(values, dtype=np.float64), np.array(good))


def run_of(represented: list[list[int]], losses: list[list[float]], **expect) -> ToyRun:
    """Instances (rows) of replicas that represent so many of four features, and have these losses."""
    sweep = {"importance_decay": [0.9 - 0.1 * i for i in range(len(represented))]}
    config = toy_config(
        features={"n": 4}, network={"hidden": 4}, fit={"replicas": len(losses[0])}, sweep=sweep, expect=[SAYS | expect]
    )
    weight = torch.stack([torch.stack([torch.diag((torch.arange(4) < k).float()) for k in row]) for row in represented])
    run = planted(config, {"W": weight, "b": torch.zeros(*weight.shape[:2], 4)})
    table = np.array(losses)
    return dataclasses.replace(run, losses=table, best=table.argmin(1))


@pytest.mark.parametrize(
    ("best", "values", "good", "word"),
    [
        (2, [2, 2, 1], [True, True, True], "held"),
        (2, [2, 1, 1], [True, True, False], "held"),  # half of the good ones are enough
        (2, [2, 1, 1], [True, True, True], "unclear"),
        (1, [1, 2, 2], [True, True, True], "unclear"),
        (1, [1, 2], [True, True], "unclear"),
        (1, [1, 1, 2, 2, 2], [True, True, True, False, False], "did not hold"),
        (float("nan"), [float("nan")], [True], "did not hold"),
    ],
)
def test_the_word_asks_the_best_and_half_of_the_good(best, values, good, word):
    assert verdict(best, values, good).word == word


def test_counts_tell_good_and_all_replicas():
    one = verdict(2, [2, 1, 3, 4], [True, True, True, False])
    assert (one.word, one.of_good, one.of_all) == ("held", "2 of 3", "3 of 4")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"at_least": 2}, "at least 2"),
        ({"at_most": 0.5}, "at most 0.5"),
        ({"at_least": 0, "at_most": 1}, "0 to 1"),
        ({"at_least": 5, "at_most": 5}, "5"),
    ],
)
def test_bounds_are_put_in_words(limits, text):
    assert bounds(Expectation(**SAYS, **limits)) == text


def test_good_replicas_are_within_ten_percent_of_the_lowest_loss_of_their_instance():
    run = run_of([[3, 3, 1, 4]], [[1.0, 1.09, 1.11, 2.0]], at_least=2)
    (one,) = judge(run)
    assert (one.best, one.values.tolist(), one.good.tolist()) == (3, [3, 3, 1, 4], [True, True, False, False])
    assert (one.word, one.of_good, one.of_all) == ("held", "2 of 2", "3 of 4")


def test_a_difference_is_taken_from_every_replica_to_the_best_of_the_other_instance():
    swept = {"where": {"importance_decay": 0.8}, "minus": {"importance_decay": 0.9}}
    run = run_of([[1, 4], [3, 2]], [[1.0, 5.0], [1.0, 1.05]], **swept, at_least=2)
    (one,) = judge(run)
    assert (one.best, one.values.tolist()) == (2, [2, 1])
    assert one.word == "held"


def test_an_unknown_measure_is_refused_with_the_run_the_key_and_the_nearest():
    run = run_of([[1]], [[1.0]], measure="features_representd", at_least=2)
    with pytest.raises(BadInput, match=r"planted: expect\.0\.measure: .*did you mean 'features_represented'"):
        judge(run)


def test_a_measure_that_does_not_apply_is_refused_with_its_purpose():
    run = run_of([[1]], [[1.0]], measure="n_mono_pairs", at_least=2)
    with pytest.raises(BadInput, match=r"'n_mono_pairs' does not apply to this bottleneck model; it is for comp"):
        judge(run)


@pytest.mark.parametrize(
    "path", [path for path in TOYS if "program" not in tomllib.loads(path.read_text())], ids=lambda path: path.stem
)
def test_every_shipped_expectation_names_a_measure_that_applies(path):
    config = load_config(ToyConfig, path)
    for each in config.expect:
        assert measure_named(each.measure).scope.holds(config), each.measure
