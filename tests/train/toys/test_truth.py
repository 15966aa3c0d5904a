"""What is known of a toy's neurons, against closed forms and against sampling."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.configfile import validate
from train.toys.config import ToyConfig
from train.toys.features_config import ValuesConfig
from train.toys.models import ToyModel
from train.toys.truth import KnownNeurons, Truth, value_quadrature

ABOUT = {"title": "t", "question": "q", "expectation": "e", "run_time": "r"}
SIGNED = {"kind": "uniform", "low": -1.0, "high": 1.0}


def toy(n=5, values=None, network=None, sweep=None, probability=0.3) -> ToyConfig:
    parts = {
        "about": ABOUT,
        "features": {"n": n, "values": values or SIGNED, **({} if sweep else {"probability": probability})},
        "target": {"function": "abs"},
        "network": network or {"kind": "computation", "hidden": [4]},
        "fit": {"steps": 1},
        "sweep": sweep or {},
    }
    if parts["network"]["kind"] != "computation":
        parts["target"] = {"function": "identity"}
    return validate(ToyConfig, parts, "test")


def random_model(config: ToyConfig, replicas=3, seed=0) -> ToyModel:
    from train.toys.models import shapes
    from train.toys.targets import Target

    generator = torch.Generator().manual_seed(seed)
    one = shapes(config.network, config.features.n, Target.of(config).n_outputs)
    n_inst = len(config.instances())
    return ToyModel(
        config.network, {k: torch.randn(n_inst, replicas, *s, generator=generator) for k, s in sorted(one.items())}
    )


def test_relu_without_hidden_bias_answers_with_the_weight_times_the_mean_positive_part():
    """E[relu(w v)] = |w| E[relu(v)] = |w| / 4 for v uniform in [-1, 1], whichever sign w has."""
    config = toy(sweep={"probability": [0.1, 0.3]})
    model = random_model(config)
    truth = Truth.of(model, config)
    torch.testing.assert_close(truth.responses, model.parameters["W1"].abs() / 4)
    assert not truth.rest.any()


def test_positive_values_reach_positive_weights_alone():
    config = toy(values={"kind": "uniform", "low": 0.5, "high": 1.0})
    model = random_model(config)
    torch.testing.assert_close(Truth.of(model, config).responses, model.parameters["W1"].relu() * 0.75)


def test_values_of_a_choice_are_averaged_as_they_stand():
    config = toy(values={"kind": "choice", "choices": [1.0, 2.0, 6.0]})
    model = random_model(config)
    torch.testing.assert_close(Truth.of(model, config).responses, model.parameters["W1"].relu() * 3)


def test_a_bottleneck_answers_with_its_weight_times_the_mean_size():
    config = toy(network={"kind": "bottleneck", "hidden": 4})
    model = random_model(config)
    torch.testing.assert_close(Truth.of(model, config).responses, model.parameters["W"].abs() / 2)


def test_a_hidden_bias_gives_a_rest_and_what_moves_from_it_counts_either_way():
    config = toy(n=1, network={"kind": "computation", "hidden": [2], "hidden_bias": True})
    model = random_model(config, replicas=1)
    model.parameters["W1"][:] = torch.tensor([[2.0], [1.0]])
    model.parameters["b1"][:] = torch.tensor([1.0, -0.5])
    truth = Truth.of(model, config)
    assert truth.rest[0, 0].tolist() == [1.0, 0.0]
    # relu(2 v + 1) - 1 is 2 v above -1/2 and -1 below it; relu(v - 1/2) rises from 1/2 on.
    exact = [(1.0 + 0.25 + 0.5) / 2, 0.125 / 2]
    torch.testing.assert_close(truth.responses[0, 0, :, 0], torch.tensor(exact), atol=1e-4, rtol=0)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("layer", [0, 1])
def test_responses_are_those_that_sampling_one_feature_finds(activation, layer):
    network = {"kind": "computation", "hidden": [4, 3], "activation": activation, "hidden_bias": True}
    config = toy(n=3, network=network)
    model = random_model(config, replicas=2)
    truth = Truth.of(model, config, layer)
    n = 100_000
    generator = torch.Generator().manual_seed(1)
    for feature in range(3):
        x = torch.zeros(1, 1, n, 3)
        rest = model.hidden(x[:, :, :1])[layer]
        x[..., feature] = 2 * torch.rand(n, generator=generator) - 1
        moved = (model.hidden(x)[layer] - rest).abs()
        error = 5 * moved.std(dim=2) / math.sqrt(n) + 1e-4
        assert bool(((truth.responses[..., feature] - moved.mean(dim=2)).abs() < error).all())


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_a_deep_relu_network_without_hidden_biases_is_described_exactly(layer):
    """It is linear on either side of 0: the mean over v is a quarter of its activations at 1 and at -1 together."""
    config = toy(n=3, network={"kind": "computation", "hidden": [6, 5]})
    model = random_model(config)
    ends = torch.cat([torch.eye(3), -torch.eye(3)])[None, None]
    at_ends = model.hidden(ends)[layer]
    expected = (at_ends[:, :, :3] + at_ends[:, :, 3:]).mT / 4
    torch.testing.assert_close(Truth.of(model, config, layer).responses, expected)


def test_the_same_responses_whatever_fits_into_memory_at_once():
    config = toy(network={"kind": "computation", "hidden": [4], "activation": "gelu"})
    model = random_model(config)
    whole = Truth.of(model, config).responses
    torch.testing.assert_close(Truth.of(model, config, at_once=100).responses, whole)


def test_shares_and_leading_features_distinguish_mono_poly_and_dead():
    config = toy(n=3, network={"kind": "computation", "hidden": [3]})
    model = random_model(config, replicas=1)
    model.parameters["W1"][:] = torch.tensor([[0.0, -8.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    truth = Truth.of(model, config)
    assert truth.feature[0, 0].tolist() == [1, 0, -1]
    assert truth.dead[0, 0].tolist() == [False, False, True]
    assert truth.share[0, 0, :2].tolist() == [1.0, 0.75]
    assert bool(truth.share[0, 0, 2].isnan())
    known = KnownNeurons.of(config, model, instance=0, replica=0)
    assert known.monosemantic.tolist() == [True, False, False]


def test_known_neurons_are_those_of_the_instance_and_replica_asked_for():
    config = toy(sweep={"probability": [0.05, 0.5]})
    model = random_model(config)
    known = KnownNeurons.of(config, model, instance=1, replica=2)
    assert known.config.features.probability == 0.5
    assert known.n_neurons == 4
    x, activations = known.sample(20_000, seed=3)
    torch.testing.assert_close(activations, (x @ model.parameters["W1"][1, 2].T).relu())
    assert float((x != 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(known.responses, model.parameters["W1"][1, 2].abs() / 4)
    assert known.feature.tolist() == model.parameters["W1"][1, 2].abs().argmax(dim=-1).tolist()


def test_a_sample_of_known_neurons_is_the_same_for_the_same_seed_and_another_for_another():
    config = toy()
    known = KnownNeurons.of(config, random_model(config), 0, 0)
    assert bool((known.sample(50, 1)[0] == known.sample(50, 1)[0]).all())
    assert not bool((known.sample(50, 1)[0] == known.sample(50, 2)[0]).all())


@settings(max_examples=30, deadline=None)
@given(low=st.floats(-3, 2.5), width=st.floats(0.1, 3), power=st.integers(0, 6))
def test_the_quadrature_takes_the_mean_of_every_polynomial(low, width, power):
    high = low + width
    points, weights = value_quadrature(ValuesConfig(kind="uniform", low=low, high=high))
    exact = (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * width)
    assert float((points**power * weights).sum()) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert float(points.min()) >= low
    assert float(points.max()) <= high
