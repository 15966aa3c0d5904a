"""The phase diagram: losses of the strategies against simulation, borders, and strategies of known weights."""

import pytest
import torch

from analyze.toys.phase import (
    STRATEGIES,
    boundary,
    has_phase_diagram,
    observed_strategy,
    phase_losses,
    predicted_strategies,
    variance,
)
from tests.analyze.toys.planted import toy_config


def simulated(p: float, importance: float, weight: list[float], biases: list[float]) -> float:
    """Loss of x' = relu(W^T W x + b) on half a million samples, summed over both features."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2**19, 2, generator=generator) * (torch.rand(2**19, 2, generator=generator) < p)
    w = torch.tensor([weight])
    errors = (x @ w.T @ w + torch.tensor(biases)).relu() - x
    return float((errors.square() * torch.tensor([1.0, importance])).mean(0).sum())


@pytest.mark.parametrize(("p", "importance"), [(0.1, 0.5), (0.5, 2.0), (1.0, 1.0)])
def test_ignored_and_dedicated_cost_what_a_constant_costs(p, importance):
    losses = phase_losses(p, importance)
    assert losses.ignored == pytest.approx(simulated(p, importance, [1.0, 0.0], [0.0, p / 2]), rel=0.02)
    assert losses.dedicated == pytest.approx(simulated(p, importance, [0.0, 1.0], [p / 2, 0.0]), rel=0.02)
    assert losses.dedicated == variance(p)


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_the_antipodal_loss_is_at_or_below_that_of_plain_opposites_and_not_far_below(p):
    plain = simulated(p, 1.0, [1.0, -1.0], [0.0, 0.0])
    assert 0.8 * plain < phase_losses(p, 1.0).antipodal < 1.01 * plain


def test_no_weights_and_biases_found_by_descent_beat_the_antipodal_optimum():
    p, importance = 0.3, 0.6
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2**14, 2, generator=generator) * (torch.rand(2**14, 2, generator=generator) < p)
    parameters = torch.tensor([1.0, -0.9, 0.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        weight, bias = parameters[None, :2], parameters[2:]
        errors = ((x @ weight.T @ weight + bias).relu() - x).square()
        return (errors * torch.tensor([1.0, importance])).mean(0).sum()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert float(loss().detach()) == pytest.approx(phase_losses(p, importance).antipodal, rel=0.05)


@pytest.mark.parametrize(
    ("p", "importance", "strategy"),
    [
        (0.01, 0.1, "antipodal"),
        (0.01, 10.0, "antipodal"),
        (0.3, 1.0, "antipodal"),
        (1.0, 0.1, "ignored"),
        (0.5, 0.2, "ignored"),
        (1.0, 10.0, "dedicated"),
        (0.5, 5.0, "dedicated"),
        (0.8, 0.9, "ignored"),  # the antipodal optimum keeps a norm of 0.19 there
    ],
)
def test_sparse_features_share_a_dimension_and_dense_ones_leave_it_to_the_more_important(p, importance, strategy):
    assert STRATEGIES[phase_losses(p, importance).strategy] == strategy


def test_the_border_of_superposition_is_highest_at_equal_importance_and_the_same_for_inverse_importances():
    border = boundary(0.2)
    assert border < boundary(1.0) < 0.8
    assert boundary(5.0) == pytest.approx(border, rel=0.01)
    assert phase_losses(border, 0.2).strategy == 2
    assert phase_losses(1.01 * border, 0.2).strategy != 2


def test_of_three_features_the_two_that_matter_least_share_a_dimension_and_any_two_where_all_matter_alike():
    assert phase_losses(0.1, 0.5, n=3).strategies == (2,)
    assert phase_losses(0.1, 2.0, n=3).strategies == (3,)
    assert phase_losses(0.1, 1.0, n=3).strategies == (2, 3)
    assert phase_losses(0.1, 2.0, n=2).strategies == (2,)
    assert phase_losses(0.1, 2.0, n=3).others_antipodal == phase_losses(0.1, 1.0, n=3).antipodal
    assert phase_losses(1.0, 2.0, n=3).strategies == (1,)


def test_the_border_of_three_features_does_not_fall_where_the_last_matters_more():
    assert boundary(5.0, n=3) == pytest.approx(boundary(1.0), rel=0.01)
    assert boundary(0.2, n=3) == pytest.approx(boundary(0.2), rel=0.01)


def test_a_border_outside_the_range_asked_for_is_its_nearer_end():
    assert boundary(1.0, low=0.01, high=0.1) == 0.1
    assert boundary(0.1, low=0.5) == 0.5


@pytest.mark.parametrize(
    ("weight", "strategy"),
    [
        ([[1.0, 0.1]], 0),
        ([[0.1, 1.0]], 1),
        ([[1.0, -0.9]], 2),
        ([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], 1),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]], 2),
        ([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]], 3),
        ([[1.0, -0.5, -0.5], [0.0, 0.87, -0.87]], None),
    ],
)
def test_the_strategy_of_a_weight_matrix_is_what_its_last_column_does(weight, strategy):
    assert observed_strategy(torch.tensor(weight)) == strategy


def test_the_theory_speaks_of_one_feature_too_many_and_says_so_otherwise():
    plain = toy_config(features={"n": 3, "importance_last": 0.5}, network={"hidden": 2})
    assert has_phase_diagram(plain)
    assert predicted_strategies(plain) == phase_losses(0.1, 0.5, n=3).strategies == (2,)
    for change in (
        {"features": {"n": 4}, "network": {"hidden": 2}},
        {"network": {"output": "linear"}},
        {"network": {"bias": False}},
        {"features": {"values": {"low": -1.0}}},
        {"features": {"pairs": "correlated"}},
        {"features": {"probability": [0.1, 0.2]}},
        {"features": {"importance": [0.5, 1.0]}},
    ):
        assert not has_phase_diagram(toy_config(**change))
    with pytest.raises(ValueError, match="n - 1 dimensions"):
        predicted_strategies(toy_config(network={"bias": False}))
