"""The three networks: what they compute, and from which weights they start."""

import math
from typing import Any

import pytest
import torch

from train.toys.config import ToyConfig
from train.toys.models import ToyModel, initial


def toy(network: dict[str, Any] | None = None, n: int = 6, sweep: dict[str, Any] | None = None) -> ToyConfig:
    return ToyConfig.model_validate(
        {
            "about": {"title": "t", "question": "q", "expectation": "e", "run_time": "1 s"},
            "features": {"n": n, "probability": 0.5},
            "network": {"kind": "bottleneck", "hidden": 3} | (network or {}),
            "fit": {"steps": 1},
            "sweep": sweep or {},
        }
    )


def model_of(network: dict[str, Any], replicas: int = 4, n: int = 6, n_outputs: int = 6) -> ToyModel:
    """A network with biases drawn as well, so that they count."""
    model = initial([toy(network, n), toy(network, n)], n_outputs, 0, replicas)
    generator = torch.Generator().manual_seed(0)
    for each in model.parameters.values():
        each.add_(0.1 * torch.randn(each.shape, generator=generator))
    return model


def samples(rep: int, n: int = 6) -> torch.Tensor:
    return 2 * torch.rand(2, rep, 10, n, generator=torch.Generator().manual_seed(1)) - 1


@pytest.mark.parametrize("rep", [1, 4])
def test_a_bottleneck_is_relu_of_w_transposed_w_x_plus_b(rep: int):
    model, x = model_of({"kind": "bottleneck", "hidden": 3}), samples(rep)
    for i in range(2):
        for r in range(4):
            w, b = model.parameters["W"][i, r], model.parameters["b"][i, r]
            sample = x[i, min(r, rep - 1)]
            assert torch.allclose(model(x)[i, r], (sample @ w.T @ w + b).relu(), atol=1e-5)
            assert torch.allclose(model.hidden(x)[0][i, r], sample @ w.T, atol=1e-5)


def test_a_neuron_model_passes_its_hidden_layer_through_the_activation_and_ties_its_weights():
    model, x = model_of({"kind": "neuron", "hidden": 3, "activation": "gelu", "output": "linear"}), samples(4)
    w, b = model.parameters["W"][1, 2], model.parameters["b"][1, 2]
    hidden = torch.nn.functional.gelu(x[1, 2] @ w.T)
    assert torch.allclose(model.hidden(x)[0][1, 2], hidden, atol=1e-5)
    assert torch.allclose(model(x)[1, 2], hidden @ w + b, atol=1e-5)


def test_a_computation_model_of_two_hidden_layers_has_weights_and_biases_of_its_own():
    model = model_of({"kind": "computation", "hidden": [5, 4], "hidden_bias": True, "output": "linear"}, n_outputs=7)
    x = samples(1)
    p = {name: each[0, 3] for name, each in model.parameters.items()}
    assert {name: tuple(each.shape) for name, each in p.items()} == {
        "W1": (5, 6),
        "W2": (4, 5),
        "W3": (7, 4),
        "b1": (5,),
        "b2": (4,),
        "b": (7,),
    }
    first = (x[0, 0] @ p["W1"].T + p["b1"]).relu()
    second = (first @ p["W2"].T + p["b2"]).relu()
    assert torch.allclose(model.hidden(x)[0][0, 3], first, atol=1e-5)
    assert torch.allclose(model.hidden(x)[1][0, 3], second, atol=1e-5)
    assert torch.allclose(model(x)[0, 3], second @ p["W3"].T + p["b"], atol=1e-5)


def test_a_model_knows_its_axes():
    model = model_of({"kind": "computation", "hidden": [5, 4], "bias": False}, replicas=3, n_outputs=7)
    assert (model.n_inst, model.n_rep, model.n_features, model.n_outputs) == (2, 3, 6, 7)
    assert set(model.parameters) == {"W1", "W2", "W3"}


def test_what_is_selected_answers_as_it_did_among_the_others():
    model, x = model_of({"kind": "bottleneck", "hidden": 3}), samples(1)
    best = torch.tensor([3, 1])
    chosen = model.select(best)
    assert (chosen.n_inst, chosen.n_rep) == (2, 1)
    answers = model(x)
    assert torch.allclose(chosen(x)[:, 0], answers[torch.arange(2), best], atol=1e-6)
    one = model.select(best, instance=1)
    assert (one.n_inst, one.n_rep) == (1, 1)
    assert torch.allclose(one(x[1:])[0, 0], answers[1, 1], atol=1e-6)
    assert torch.allclose(model.select(instance=1)(x[1:])[0], answers[1], atol=1e-6)


def test_replica_3_starts_from_the_same_weights_whether_4_or_100_are_asked_for():
    few, many = (initial([toy()], 6, 7, count).parameters["W"] for count in (4, 100))
    assert torch.equal(few[:, 3], many[:, 3])
    assert not torch.equal(many[:, 3], many[:, 4])
    assert not torch.equal(few, initial([toy()], 6, 8, 4).parameters["W"])


def test_every_instance_starts_from_the_same_draw_times_its_own_scale():
    config = toy(sweep={"init_scale": [1.0, 0.25]})
    weights = initial(config.instances(), 6, 0, 4).parameters["W"]
    assert torch.equal(weights[1], 0.25 * weights[0])


@pytest.mark.parametrize(("init", "sd"), [("kaiming", math.sqrt(6 / 40 / 3)), ("xavier", math.sqrt(2 / (40 + 20)))])
def test_initial_weights_have_the_spread_that_their_rule_names(init: str, sd: float):
    parameters = initial([toy({"hidden": 20, "init": init}, n=40)], 40, 0, 20).parameters
    weights = parameters["W"]
    assert weights.std().item() == pytest.approx(sd, rel=0.02)
    assert abs(weights.mean().item()) < 0.02 * sd * 3
    assert (weights.abs().max() <= math.sqrt(6 / 40)) == (init == "kaiming")
    assert not parameters["b"].any()
