"""Verdicts follow from statistics, nulls and the rule, and from nothing else."""

from math import isnan, nan

import numpy as np
import pytest

from analyze.problems.base import Measured, Measurement, Problem, Rule
from analyze.problems.verdict import judge, judge_one


def problem(higher: bool = True, least: float = 0.2, against_untrained: bool = True) -> Problem:
    rule = Rule("says", least=least, higher=higher, against_untrained=against_untrained)
    return Problem("4.24", lambda subject: Measurement(0.0), rule, "share", "chance", 1.0)


def measured(values: list[float], null: float = 0.1, variant: str = "gelu", untrained: float = nan) -> list[Measured]:
    draws = null + np.linspace(-0.05, 0.05, 21)
    return [
        Measured(f"{variant}-s{i}", variant, i, 10, f"{variant}{i}", Measurement(value, draws, untrained))
        for i, value in enumerate(values)
    ]


def test_yes_needs_the_whole_interval_above_the_threshold() -> None:
    assert judge(problem(), measured([0.80, 0.82, 0.81])).verdict == "yes"
    assert judge(problem(), measured([0.35, 0.45, 0.20])).verdict == "unclear"


def test_no_needs_the_whole_interval_below_it() -> None:
    found = judge(problem(), measured([0.12, 0.10, 0.11]))
    assert found.verdict == "no"
    assert found.variants[0].effect.mean == pytest.approx(0.01)


def test_where_lower_means_yes_the_effect_is_null_minus_statistic() -> None:
    found = judge(problem(higher=False), measured([0.11, 0.10, 0.12], null=0.8))
    assert found.verdict == "yes"
    assert found.variants[0].effect.mean == pytest.approx(0.69)
    assert judge(problem(higher=False), measured([0.80, 0.82, 0.81])).verdict == "no"


def test_the_untrained_model_is_a_null_too() -> None:
    values = measured([0.80, 0.82, 0.81], untrained=0.75)
    assert judge(problem(), values).verdict == "no"
    assert judge(problem(against_untrained=False), values).verdict == "yes"


def test_fewer_than_three_seeds_are_a_look() -> None:
    found = judge(problem(), measured([0.8, 0.8]))
    assert found.verdict == "unclear"
    assert "a look, not a verdict" in found.variants[0].why


def test_one_seed_measured_at_three_steps_is_one_seed() -> None:
    one = [Measured("gelu-s0", "gelu", 0, step, str(step), Measurement(0.8, np.full(20, 0.1))) for step in (10, 20, 30)]
    assert judge(problem(), one).verdict == "unclear"


def test_variants_that_disagree_are_mixed_and_unclear_ones_do_not_overrule() -> None:
    high, low = measured([0.8, 0.8, 0.8], variant="a"), measured([0.1, 0.1, 0.1], variant="b")
    wide = measured([0.9, 0.3, 0.1], variant="c")
    assert judge(problem(), [*high, *low]).verdict == "mixed"
    assert judge(problem(), [*high, *wide]).verdict == "yes"
    assert judge(problem(), wide).verdict == "unclear"


def test_a_checkpoint_within_its_null_spoils_a_yes() -> None:
    values = measured([0.80, 0.82, 0.81])
    broad = Measurement(0.81, np.concatenate([np.zeros(18), np.ones(2)]))
    values[2] = Measured("gelu-s2", "gelu", 2, 10, "x", broad)
    found = judge(problem(), values)
    assert found.verdict == "unclear"
    assert "1 of 3 checkpoints do not lie beyond their null" in found.variants[0].why


def test_what_cannot_answer_is_not_answerable_and_says_why() -> None:
    found = judge(problem(), [Measured("a", "a", 0, 1, "h", Measurement.impossible("needs 2 layers"))])
    assert found.verdict == "not answerable"
    assert "needs 2 layers" in found.sentence
    with pytest.raises(ValueError, match="why_not"):
        Measurement(nan)


def test_power_is_half_the_interval() -> None:
    answer = judge(problem(), measured([0.7, 0.8, 0.9])).variants[0]
    assert answer.power == pytest.approx((answer.effect.high - answer.effect.low) / 2)
    assert isnan(judge(problem(), measured([0.7])).variants[0].power)


def test_one_case_is_judged_by_threshold_and_null() -> None:
    rule = Rule("says", least=0.2)
    assert judge_one(rule, Measurement(0.8, np.full(20, 0.1))) == "yes"
    assert judge_one(rule, Measurement(0.2, np.full(20, 0.1))) == "no"
    assert judge_one(rule, Measurement(0.8, np.array([0.0] * 18 + [0.9] * 2))) == "unclear"
    assert judge_one(rule, Measurement.impossible("no text")) == "not answerable"
