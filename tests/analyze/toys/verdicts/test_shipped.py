"""The rules of the shipped toys: every one can be asked, and is tried where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analyze.problems.catalogue import entries
from analyze.toys.measures import measure_named
from analyze.toys.reading import Reading
from analyze.toys.trials import places
from analyze.toys.trials.all import trials
from analyze.toys.trials.built import built, shipped
from analyze.toys.trials.computing import absolutes_first, differences, naive_of, those_that_fit
from analyze.toys.verdicts.measured import question_of
from analyze.toys.verdicts.trial import ToyTrials, try_one_toy
from train.configfile import load_config
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED, shipped_toys, toys_of_problem

ASKING = {path.stem: config for path in shipped_toys() if (config := load_config(ToyConfig, path)).verdict is not None}
TRIALS = {each.name: each for each in trials()}


@pytest.mark.parametrize("name", ASKING)
def test_a_rule_names_a_measure_that_applies_and_stands_in_words(name: str) -> None:
    asked = question_of(name, ASKING[name])
    assert asked.problem in entries()
    assert asked.rule.says.startswith(("yes if", "of each"))
    assert "no if" in asked.rule.says
    assert ASKING[name].fit.replicas >= 8


@pytest.mark.parametrize("name", ASKING)
def test_a_null_that_is_another_toy_has_the_same_instances_and_start(name: str) -> None:
    config = ASKING[name]
    if config.verdict is None or not config.verdict.against:
        return
    other = load_config(ToyConfig, SHIPPED / f"{config.verdict.against}.toml")
    assert other.sweep == config.sweep
    assert (other.fit.seed, other.fit.replicas) == (config.fit.seed, config.fit.replicas)
    assert other.network.hidden == config.network.hidden
    assert measure_named(config.verdict.measure).scope.holds(other)


def test_every_problem_of_a_config_can_be_asked_by_what_the_list_says() -> None:
    for number in range(1, 21):
        asked = entries()[f"4.{number}"]
        assert asked.ask == f"polysem toy {asked.name}"
        assert toys_of_problem(asked.name)


def test_every_rule_can_be_tried_or_says_why_not() -> None:
    untried = {name for name, config in ASKING.items() if config.verdict and config.verdict.no_trial}
    assert set(ASKING) - untried <= set(TRIALS)
    assert len({each.question.problem for each in TRIALS.values()}) >= 15


@pytest.mark.parametrize("each", trials(), ids=lambda each: each.name)
def test_a_rule_finds_what_was_built_and_not_what_was_not(each: ToyTrials) -> None:
    """Five cases of either kind: every planted one, and no null one. `polysem toy-trial` tries twenty."""
    assert try_one_toy(replace(each, n=5)).holds


def test_the_basis_is_seen_where_features_lie_on_axes_and_only_there() -> None:
    config, measure = shipped("dropout-20-5"), measure_named("basis_alignment")
    rng = np.random.default_rng(0)
    weight = torch.eye(5).repeat(1, 4)[None, None].expand(4, 8, -1, -1).clone()
    run = built(config, {"W": weight, "b": torch.zeros(4, 8, 20)})
    assert measure(run) == pytest.approx(1.0)
    run = built(config, {"W": torch.ones_like(weight), "b": torch.zeros(4, 8, 20)})
    assert measure(run) == pytest.approx(0.2)
    assert 0.4 < measure(places.anywhere(config, rng)).mean() < 0.6


def test_interference_is_told_by_class() -> None:
    config, measure = shipped("two-classes"), measure_named("interference_within_last_class")
    weight = torch.zeros(1, 8, 8, 40)
    weight[..., 0, 10:12] = 1.0
    run = built(config, {"W": weight, "b": torch.zeros(1, 8, 40)})
    assert measure(run) == pytest.approx(1.0)
    weight[..., 0, :2] = 1.0
    run = built(config, {"W": weight, "b": torch.zeros(1, 8, 40)})
    assert measure(run) == pytest.approx(1 / 3)  # each of the two gets 1 from its like and 2 from the others


def test_opposites_and_simplices_are_told_apart() -> None:
    config = shipped("classify-8-4")
    run = places.opposites(config, np.random.default_rng(0))
    assert measure_named("share_antipodal")(run) == pytest.approx(1.0)
    other = config.model_copy(update={"network": config.network.model_copy(update={"hidden": (8,)})})
    weight = (torch.eye(8) - 1 / 8)[None, None].expand(1, 8, -1, -1).clone()
    run = built(other, {"W1": weight, "W2": weight, "b": torch.zeros(1, 8, 8)})
    assert measure_named("share_antipodal")(run) == pytest.approx(0.0)
    assert measure_named("cosine_spread")(run) == pytest.approx(0.0, abs=1e-5)


def test_a_network_without_superposition_gains_nothing_over_simple_ones() -> None:
    config, measure = shipped("abs-independent"), measure_named("loss_over_simple")
    assert measure(those_that_fit(config, np.random.default_rng(0))).min() >= 1.0
    one = shipped("or-pairs")
    fitted = measure(those_that_fit(one, np.random.default_rng(0)))
    naive = measure_named("loss_over_naive")(those_that_fit(one, np.random.default_rng(0)))
    assert (fitted > naive + 1e-3).all(), "OR is nearly linear: the linear network is the better baseline"
    assert [each.dedicated for each in naive_of(one)] == [12, 24]


def test_what_neurons_read_is_measured_against_pairs_and_absolutes() -> None:
    rng = np.random.default_rng(0)
    config = shipped("max-pairs")
    assert measure_named("pair_difference_alignment")(differences(config, rng)).min() > 0.7
    layers = shipped("two-layers")
    reading = Reading(absolutes_first(layers, rng))
    found = measure_named("absolutes_in_first_layer")(reading)
    assert (found > 0.7).all()
    assert (found < 0.95).all()
