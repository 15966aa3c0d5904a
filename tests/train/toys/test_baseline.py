"""The naive baseline: known numbers, networks built by hand that reach it, and the best constants."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import gelu

from train.toys.baseline import Naive, naive_loss
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.gradient import Objective
from train.toys.targets import Target

SIGNED = {"low": -1.0, "high": 1.0}
BINARY = {"kind": "choice", "choices": [1.0]}


def toy(
    features: dict[str, Any],
    network: dict[str, Any],
    function: str = "identity",
    target: dict[str, Any] | None = None,
    loss: str = "mse",
) -> ToyConfig:
    return ToyConfig.model_validate(
        {
            "about": {"title": "t", "question": "q", "expectation": "e", "run_time": "1 s"},
            "features": features,
            "network": {"kind": "computation"} | network,
            "target": {"function": function} | (target or {}),
            "fit": {"steps": 1, "loss": loss},
        }
    )


def draw(config: ToyConfig, n: int = 16_384) -> Tensor:
    return Sampler.of([config]).sample(n, 0, "eval")[0]


def naive(config: ToyConfig) -> Naive:
    return naive_loss(config, draw(config))


@pytest.mark.parametrize(("p", "published"), [(0.2, 2.83e-2), (0.1, 1.54e-2)])
def test_half_the_absolute_values_of_20_features_by_20_neurons_cost_what_is_known(p: float, published: float):
    config = toy({"n": 20, "probability": p, "values": SIGNED}, {"hidden": 20}, "abs")
    found = naive_loss(config, draw(config, 65_536))
    assert (p / 3 - p**2 / 4) / 2 == pytest.approx(published, rel=3e-3)
    assert found.loss == pytest.approx((p / 3 - p**2 / 4) / 2, rel=0.02)
    assert found.constant_loss == pytest.approx(p / 3 - p**2 / 4, rel=0.02)
    assert found.dedicated == 10


@pytest.mark.parametrize("p", [0.2, 0.1])
def test_without_a_bias_the_constant_is_zero(p: float):
    found = naive(toy({"n": 20, "probability": p, "values": SIGNED}, {"hidden": 20, "bias": False}, "abs"))
    assert found.loss == pytest.approx(p / 3 / 2, rel=0.02)
    assert found.constant_loss == pytest.approx(p / 3, rel=0.02)


def test_a_bottleneck_gives_a_dimension_to_the_features_that_matter_most():
    features = {"n": 5, "probability": 0.1, "importance": [0.5, 1.0, 0.25, 0.125, 2.0]}
    found = naive(toy(features, {"kind": "bottleneck", "hidden": 2}))
    variance = 0.1 / 3 - 0.1**2 / 4
    assert found.dedicated == 2
    assert found.per_output == pytest.approx([0.5 * variance, 0, 0.25 * variance, 0.125 * variance, 0], rel=0.1)
    assert found.loss == pytest.approx(sum(found.per_output) / 5)


def test_value_is_importance_times_variance():
    features = {"n": 3, "probability": [0.01, 0.3, 0.01], "importance": [4.0, 1.0, 1.0]}
    assert naive(toy(features, {"kind": "bottleneck", "hidden": 1})).per_output[1] == 0
    features["importance"] = [90.0, 1.0, 1.0]
    assert naive(toy(features, {"kind": "bottleneck", "hidden": 1})).per_output[0] == 0


def test_no_neuron_is_spent_where_nothing_is_gained():
    features = {"n": 4, "probability": [0.5, 0.0, 0.5, 0.5], "importance": [1.0, 1.0, 0.0, 1.0]}
    assert naive(toy(features, {"kind": "bottleneck", "hidden": 3})).dedicated == 2


def test_a_relu_output_never_gives_what_is_negative():
    found = naive(toy({"n": 4, "probability": 0.6, "values": SIGNED}, {"hidden": 4}))
    assert found.dedicated == 4
    assert found.loss == pytest.approx(0.6 / 6, rel=0.02)
    # The mean is 0 and so is the constant: nothing but the half above 0 is gained.
    assert found.constant_loss == pytest.approx(0.6 / 3, rel=0.02)


def relu_net(x: Tensor, w: list[list[float]], v: list[float], b: float = 0.0, c: float = 0.0) -> Tensor:
    return (x @ torch.tensor(w).T + b).relu() @ torch.tensor(v) + c


MAX_ABS = ([[1.0, 1], [-1, -1], [1, -1], [-1, 1]], [0.5] * 4)
BY_HAND = {
    "identity": (SIGNED, "identity", {}, ([[1.0], [-1.0]], [1.0, -1.0])),
    "identity, not negative": ({}, "identity", {}, ([[1.0]], [1.0])),
    "identity, never positive": ({"low": -2.0, "high": -1.0}, "identity", {}, ([[-1.0]], [-1.0])),
    "abs": (SIGNED, "abs", {}, ([[1.0], [-1.0]], [1.0, 1.0])),
    "abs, not negative": ({}, "abs", {}, ([[1.0]], [1.0])),
    "relu": (SIGNED, "relu", {}, ([[1.0]], [1.0])),
    "square, binary": (BINARY, "square", {}, ([[1.0]], [1.0])),
    "max": (SIGNED, "max", {}, ([[1.0, -1], [0, 1], [0, -1]], [1.0, 1, -1])),
    "max, not negative": ({}, "max", {}, ([[1.0, -1], [0, 1]], [1.0, 1])),
    "max_abs": (SIGNED, "max_abs", {}, MAX_ABS),
    "max_abs, not negative": ({}, "max_abs", {}, ([[1.0, -1], [0, 1]], [1.0, 1])),
    "and": (BINARY, "and", {}, ([[1.0, 0], [1, -1]], [1.0, -1])),
    "and, hidden bias": (BINARY, "and", {"hidden_bias": True}, ([[1.0, 1]], [1.0], -1.0)),
    "and, ReLU output": (BINARY, "and", {"output": "relu"}, ([[1.0, 1]], [1.0], 0.0, -1.0)),
    "or": (BINARY, "or", {}, ([[1.0, -1], [0, 1]], [1.0, 1])),
    "or, hidden bias": (BINARY, "or", {"hidden_bias": True}, ([[-1.0, -1]], [-1.0], 1.0, 1.0)),
    "xor": (BINARY, "xor", {}, ([[1.0, -1], [-1, 1]], [1.0, 1])),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_an_output_takes_as_many_neurons_as_a_network_built_by_hand(case: str):
    values, function, network, by_hand = BY_HAND[case]
    n = 1 if function in ("identity", "abs", "relu", "square") else 2
    n_neurons = len(by_hand[1])
    enough = toy(
        {"n": n, "probability": 0.4, "values": values}, {"output": "linear", "hidden": n_neurons} | network, function
    )
    x = draw(enough)
    answer = relu_net(x, *by_hand)
    if enough.network.output == "relu":
        answer = answer.relu()
    assert torch.allclose(answer, Target.of(enough)(x)[..., 0], atol=1e-6)
    found = naive(enough)
    assert (found.loss, found.dedicated) == (0, 1)
    if n_neurons > 1:
        few = enough.network.model_copy(update={"hidden": (n_neurons - 1,)})
        found = naive(enough.model_copy(update={"network": few}))
        assert (found.loss, found.dedicated) == (found.constant_loss, 0)


def test_gelu_squares_with_two_neurons_of_small_weights_or_one_with_a_bias():
    x = torch.linspace(-1, 1, 101, dtype=torch.float64)
    e = 1e-3
    two = (gelu(e * x) + gelu(-e * x)) / (e * e * math.sqrt(2 / math.pi))
    assert torch.allclose(two, x * x, atol=1e-5)
    lowest = torch.linspace(-0.8, -0.7, 100_001, dtype=torch.float64)
    b = lowest[gelu(lowest).argmin()]
    one = gelu(b + e * x) - gelu(b)
    assert torch.allclose(one / one[-1], x * x, atol=5e-3)
    features = {"n": 6, "probability": 0.5, "values": SIGNED}
    for hidden_bias, square, product in ((False, 3, 1), (True, 6, 3)):
        network = {"hidden": 6, "activation": "gelu", "hidden_bias": hidden_bias}
        assert naive(toy(features, network, "square")).dedicated == square
        assert naive(toy(features, network | {"output": "linear"}, "product")).dedicated == product


@pytest.mark.parametrize("values", [SIGNED, {}], ids=["signed", "not negative"])
def test_squares_are_fitted_by_least_squares(values: dict[str, Any]):
    config = toy({"n": 2, "values": values}, {"hidden": 4, "output": "linear"}, "square")
    # x^2 on [0, 1] is at best x - 1/6, which leaves 1/180.
    assert naive(config).loss == pytest.approx(1 / 180, rel=0.03)


def test_a_fit_that_a_relu_cuts_off_is_taken_where_it_is_better():
    features = {"n": 2, "probability": 0.3, "values": SIGNED}
    found = naive(toy(features, {"hidden": 4}, "product"))
    below_zero = 0.3**2 / 9 / 2
    assert below_zero < found.loss < below_zero + 0.0004


def test_neurons_of_a_neuron_model_are_tied_to_their_feature():
    for activation, output, values, count in (
        ("relu", "relu", SIGNED, 4),
        ("relu", "linear", SIGNED, 2),
        ("relu", "linear", {}, 4),
        ("gelu", "relu", {}, 2),
    ):
        network = {"kind": "neuron", "hidden": 4, "activation": activation, "output": output}
        found = naive(toy({"n": 8, "probability": 0.5, "values": values}, network))
        assert found.dedicated == count, (activation, output, values)


def test_the_narrowest_layer_says_how_many_outputs_have_neurons_of_their_own():
    features = {"n": 20, "probability": 0.5, "values": SIGNED}
    for hidden, function, output, count in (
        ([20, 20], "abs", "relu", 10),
        ([20, 6], "abs", "relu", 6),
        ([20, 6], "identity", "linear", 3),
        ([8, 8], "max_abs", "relu", 2),
    ):
        found = naive(toy(features, {"hidden": hidden, "output": output}, function))
        assert found.dedicated == count, (hidden, function)


def test_levels_of_a_feature_share_neurons():
    features = {"n": 3, "probability": 0.5, "values": {"kind": "choice", "choices": [1.0, 2.0]}}
    found = naive(toy(features, {"hidden": 2, "output": "linear"}, "one_hot", {"levels": [0.0, 1.0, 2.0]}))
    assert found.dedicated == 6
    assert 0 < found.loss < found.constant_loss


@pytest.mark.parametrize("hidden", [1, 2])
def test_cross_entropy_of_a_constant_is_the_entropy_of_the_classes(hidden: int):
    features = {"n": 2, "probability": 0.5, "values": {"kind": "choice", "choices": [1.0, 2.0]}}
    network = {"hidden": hidden, "output": "linear"}
    found = naive(toy(features, network, "one_hot", {"levels": [0.0, 1.0, 2.0]}, "cross_entropy"))
    entropy = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert found.constant_loss == pytest.approx(entropy, rel=1e-2)
    assert found.loss == pytest.approx(entropy * (1 - hidden / 2), rel=1e-2)
    assert len(found.per_output) == 6


def test_without_a_bias_a_constant_gives_all_classes_equal_chances():
    features = {"n": 2, "probability": 0.5, "values": BINARY}
    levels = {"levels": [0.0, 1.0, 2.0]}
    network = {"hidden": 9, "output": "linear", "bias": False}
    found = naive(toy(features, network, "one_hot", levels, "cross_entropy"))
    assert found.loss == found.constant_loss == pytest.approx(math.log(3))
    ties = naive(toy({"n": 2, "probability": 0.5}, network, "argmax", None, "cross_entropy"))
    assert ties.constant_loss == pytest.approx(math.log(2))
    assert ties.loss == pytest.approx(0.25 * math.log(2), rel=0.03)


def test_levels_are_told_apart_by_their_logits():
    levels = torch.tensor([0.0, 1.0, 2.0, 5.0])
    logits = 1000 * (levels * levels[:, None] - levels**2 / 2)
    assert torch.equal(torch.softmax(logits, -1), torch.eye(4))


@pytest.mark.parametrize("function", ["abs", "argmax", "one_hot"])
def test_a_constant_network_loses_what_the_baseline_says_in_training_as_well(function: str):
    features = {"n": 4, "probability": 0.3, "values": {"kind": "choice", "choices": [1.0, 2.0]}}
    features["importance"] = [1.0, 0.5, 2.0, 0.0]
    target = {"levels": [0.0, 1.0, 2.0]} if function == "one_hot" else {}
    loss = "mse" if function == "abs" else "cross_entropy"
    config = toy(features, {"hidden": 3, "output": "linear"}, function, target, loss)
    x = draw(config)
    wanted = Target.of(config)(x)[:, None].mT
    shares = wanted.mean(-1, keepdim=True)
    constant = (shares if loss == "mse" else shares.log()).expand_as(wanted).contiguous()
    found = Objective.of([config], Target.of(config)).per_output(constant, wanted)
    nothing = config.model_copy(update={"network": config.network.model_copy(update={"hidden": (0,)})})
    baseline = naive_loss(nothing, x)
    assert found[0, 0].tolist() == pytest.approx(baseline.per_output, rel=1e-4)
    assert float(found.mean()) == pytest.approx(baseline.constant_loss, rel=1e-4)


@given(
    st.sampled_from(["identity", "abs", "square", "relu", "and", "or", "xor", "max", "max_abs", "product", "argmax"]),
    st.floats(0, 1),
    st.sampled_from([{}, SIGNED, BINARY, {"low": -2.0, "high": -1.0}]),
    st.integers(1, 30),
    st.sampled_from(["relu", "linear"]),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_neurons_of_its_own_never_hurt(
    function: str, p: float, values: dict[str, Any], hidden: int, output: str, bias: bool
):
    features = {"n": 4, "probability": p, "values": values, "importance": [1.0, 2.0, 0.0, 0.5]}
    config = toy(features, {"hidden": hidden, "output": output, "bias": bias}, function)
    x = draw(config, 2000)
    found = naive_loss(config, x)
    assert 0 <= found.loss <= found.constant_loss < math.inf
    more = config.network.model_copy(update={"hidden": (hidden + 1,)})
    assert naive_loss(config.model_copy(update={"network": more}), x).loss <= found.loss
    assert found.loss == pytest.approx(sum(found.per_output) / len(found.per_output))
    assert len(found.per_output) == Target.of(config).n_outputs


def test_all_pairs_are_looked_at_a_few_at_a_time():
    config = toy({"n": 12, "probability": 0.3}, {"hidden": 10}, "max", {"pairs": "all"})
    found = naive_loss(config, draw(config, 65_536))
    assert found.dedicated == 5
    assert found.per_output.count(0.0) == 5
