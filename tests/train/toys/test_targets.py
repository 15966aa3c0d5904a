"""Target functions: what each output reads, is called and answers."""

from typing import Any

import pytest
import torch

from tests.train.toys.test_distributions import toy
from train.toys.config import ToyConfig
from train.toys.network_config import TargetConfig
from train.toys.targets import Target


def target(function: str, n: int = 4, **given: Any) -> Target:
    return Target(TargetConfig.model_validate({"function": function, **given}), n)


X = torch.tensor([[0.0, 1.0, -0.5, 0.25], [1.0, 1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("identity", [[0.0, 1.0, -0.5, 0.25], [1.0, 1.0, 0.0, 0.0]]),
        ("abs", [[0.0, 1.0, 0.5, 0.25], [1.0, 1.0, 0.0, 0.0]]),
        ("square", [[0.0, 1.0, 0.25, 0.0625], [1.0, 1.0, 0.0, 0.0]]),
        ("relu", [[0.0, 1.0, 0.0, 0.25], [1.0, 1.0, 0.0, 0.0]]),
        ("and", [[0.0, 0.0], [1.0, 0.0]]),
        ("or", [[1.0, 0.0], [1.0, 0.0]]),
        ("xor", [[1.0, 0.0], [0.0, 0.0]]),
        ("max", [[1.0, 0.25], [1.0, 0.0]]),
        ("max_abs", [[1.0, 0.5], [1.0, 0.0]]),
        ("product", [[0.0, -0.125], [1.0, 0.0]]),
        ("argmax", [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]),
    ],
)
def test_a_function_is_applied_to_each_feature_or_to_neighbours(function: str, expected: list[list[float]]):
    t = target(function)
    assert t(X).tolist() == expected
    assert t.n_outputs == len(expected[0]) == len(t.inputs) == len(t.names())


def test_a_level_has_an_output_that_is_on_where_the_feature_has_that_value():
    t = target("one_hot", n=2, levels=[0.0, 1.0, 3.0])
    x = torch.tensor([[0.0, 3.0], [1.0, 2.0]])
    assert t(x).tolist() == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0]]
    assert t.names() == ["x0 = 0", "x0 = 1", "x0 = 3", "x1 = 0", "x1 = 1", "x1 = 3"]
    assert t.inputs == [(0,)] * 3 + [(1,)] * 3
    assert t.n_classes == 3


def test_levels_that_binary_fractions_miss_still_match_their_choices():
    from train.toys.distributions import Sampler

    config = toy({"n": 3, "probability": 0.9, "values": {"kind": "choice", "choices": [0.1, 0.7]}})
    x = Sampler.of([config]).sample(500, 0, 0)
    assert (target("one_hot", n=3, levels=[0.0, 0.1, 0.7])(x).unflatten(-1, (3, 3)).sum(-1) == 1).all()


def test_all_pairs_are_those_of_every_two_features_in_order():
    t = target("max", n=3, pairs="all")
    assert t.names() == ["max(x0, x1)", "max(x0, x2)", "max(x1, x2)"]
    assert t.inputs == [(0, 1), (0, 2), (1, 2)]
    assert t(torch.tensor([[1.0, 2.0, 0.5]])).tolist() == [[2.0, 1.0, 2.0]]
    assert target("argmax", n=4, pairs="all").n_outputs == 12


def test_an_output_matters_as_much_as_the_features_that_it_reads_do_on_average():
    assert target("abs", n=3).importances((1.0, 0.5, 0.25)) == (1.0, 0.5, 0.25)
    assert target("max", n=4).importances((1.0, 0.5, 0.25, 0.25)) == (0.75, 0.25)
    assert target("one_hot", n=2, levels=[0.0, 1.0]).importances((1.0, 0.5)) == (1.0, 1.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("identity", ["x0", "x1"]),
        ("abs", ["|x0|", "|x1|"]),
        ("square", ["x0^2", "x1^2"]),
        ("xor", ["x0 xor x1"]),
        ("product", ["x0 x1"]),
        ("max_abs", ["max(|x0|, |x1|)"]),
        ("argmax", ["x0 >= x1", "x1 > x0"]),
    ],
)
def test_outputs_are_named_after_what_they_compute(function: str, names: list[str]):
    assert target(function, n=2).names() == names


def test_leading_axes_pass_through():
    x = torch.rand(3, 2, 5, 4)
    for function in ("identity", "max", "argmax"):
        t = target(function)
        assert torch.equal(t(x)[1, 1], t(x[1, 1]))


def test_the_target_of_a_toy_takes_its_features():
    config = toy({"n": 6})
    values = config.model_dump(exclude_unset=True) | {
        "network": {"kind": "computation", "hidden": 3},
        "target": {"function": "max"},
    }
    assert Target.of(ToyConfig.model_validate(values)).n_outputs == 3
