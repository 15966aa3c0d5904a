"""The gradient that is written by hand is autograd's, through the same forward pass, for every option."""

from itertools import product
from typing import Any

import pytest
import torch

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.gradient import Objective, gradients
from train.toys.models import ToyModel, forward, initial, layers_of
from train.toys.targets import Target

BATCH = 32


def toy(network: dict[str, Any], target: dict[str, Any] | None = None, **fit: Any) -> ToyConfig:
    choice = {"kind": "choice", "choices": [1.0, 2.0]}
    return ToyConfig.model_validate(
        {
            "about": {"title": "t", "question": "q", "expectation": "e", "run_time": "1 s"},
            "features": {
                "n": 6,
                "probability": 0.5,
                "importance_decay": 0.7,
                "values": choice if target else {"low": -1.0, "high": 1.0},
            },
            "target": target or {},
            "network": {"hidden": 4} | network,
            "fit": {"steps": 1, "replicas": 3} | fit,
        }
    )


def by_hand_and_by_autograd(
    configs: list[ToyConfig], own: bool, dropout: float = 0.0
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Both gradients of every parameter, in double precision."""
    config, target = configs[0], Target.of(configs[0])
    generator = torch.Generator().manual_seed(0)
    start = initial(configs, target.n_outputs, 0, 3).parameters
    parameters = {
        name: (each.double() + 0.1 * torch.randn(each.shape, generator=generator).double()).requires_grad_()
        for name, each in start.items()
    }
    x = Sampler.of(configs).sample(BATCH, 0, "test", own=3 if own else None).double()
    answers, x = target(x).mT.contiguous(), x.mT.contiguous()
    reps = 3 if own else 1
    masks = [
        (torch.rand(len(configs), reps, width, BATCH, generator=generator) >= dropout).double() / (1 - dropout)
        for width in config.network.hidden
    ]
    objective = Objective.of(configs, target)

    layers = layers_of(config.network, parameters)
    traces = forward(layers, x, masks if dropout else [])
    loss = objective.per_output(traces[-1].after, answers).mean(-1).sum()
    for instance, each in enumerate(configs):
        loss = loss + sum(each.fit.l1 * trace.after[instance].abs().sum() / BATCH for trace in traces[:-1])
    loss.backward()

    with torch.no_grad():
        layers = layers_of(config.network, {name: each.detach() for name, each in parameters.items()})
        kept = masks if dropout else []
        traces = forward(layers, x, kept)
        found = gradients(config.network, layers, x, traces, answers, objective, kept)
    assert set(found) == set(parameters)
    return {name: (found[name], each.grad) for name, each in parameters.items() if each.grad is not None}


def assert_equal(both: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    for name, (hand, autograd) in both.items():
        assert autograd.abs().max() > 0, name
        assert torch.allclose(hand, autograd, rtol=1e-6, atol=1e-9), name


NETWORKS = [
    {"kind": kind, "output": output, "bias": bias}
    for kind, output, bias in product(("bottleneck", "neuron", "computation"), ("relu", "linear"), (True, False))
]


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: "-".join(str(each) for each in n.values()))
def test_every_network_has_autograds_gradient(network: dict[str, Any], activation: str, own: bool):
    assert_equal(by_hand_and_by_autograd([toy(network | {"activation": activation})], own))


@pytest.mark.parametrize("kind", ["bottleneck", "neuron", "computation"])
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_dropout_and_l1_of_two_strengths_enter_the_gradient(kind: str, own: bool):
    configs = [toy({"kind": kind, "dropout": 0.5}, l1=l1) for l1 in (0.0, 0.3)]
    both = by_hand_and_by_autograd(configs, own, dropout=0.5)
    assert_equal(both)
    without = by_hand_and_by_autograd([toy({"kind": kind}, l1=0.0)] * 2, own)
    name = "W1" if kind == "computation" else "W"
    assert not torch.allclose(both[name][0], without[name][0])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("options", [{}, {"hidden_bias": True}, {"hidden_bias": True, "dropout": 0.2}])
def test_depth_and_hidden_biases_enter_the_gradient(activation: str, options: dict[str, Any]):
    network = {"kind": "computation", "hidden": [5, 3, 4], "activation": activation} | options
    assert_equal(by_hand_and_by_autograd([toy(network, l1=0.1)], False, options.get("dropout", 0.0)))


@pytest.mark.parametrize("output", ["gelu", "solu", "linear"])
@pytest.mark.parametrize("activation", ["solu", "gelu", "linear"])
@pytest.mark.parametrize("kind", ["bottleneck", "neuron", "computation"])
def test_every_activation_has_autograds_gradient_hidden_and_at_the_output(kind: str, activation: str, output: str):
    network = {"kind": kind, "activation": activation, "output": output, "dropout": 0.3}
    assert_equal(by_hand_and_by_autograd([toy(network)], False, dropout=0.3))


def test_solu_is_x_times_softmax_over_the_layer():
    config = toy({"kind": "computation", "activation": "solu"})
    model = ToyModel(config.network, initial([config], 6, 0, 3).parameters)
    x = Sampler.of([config]).sample(16, 0, "test")
    before = torch.einsum("rhf,bf->rbh", model.parameters["W1"][0], x[0, 0])
    assert torch.allclose(model.hidden(x)[0][0], before * before.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("kind", ["bottleneck", "computation"])
@pytest.mark.parametrize("powers", [(4.0, 4.0), (2.0, 3.5), (1.5, 2.0)])
def test_other_powers_of_the_error_have_autograds_gradient(kind: str, powers: tuple[float, float]):
    assert_equal(by_hand_and_by_autograd([toy({"kind": kind}, loss_power=power) for power in powers], False))


def test_a_power_of_two_is_the_square_whether_it_is_swept_or_not():
    alone, swept = (by_hand_and_by_autograd([toy({"kind": "bottleneck"}, loss_power=p) for p in (2.0, q)], False)
                    for q in (2.0, 4.0))  # fmt: skip
    for name in alone:
        assert torch.allclose(alone[name][0][0], swept[name][0][0])
        assert not torch.allclose(alone[name][0][1], swept[name][0][1])


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize(
    "target",
    [
        {"function": "one_hot", "levels": [0.0, 1.0, 2.0]},
        {"function": "argmax"},
        {"function": "which"},
        {"function": "max"},
    ],
)
def test_cross_entropy_and_targets_of_other_sizes_have_autograds_gradient(target: dict[str, Any], own: bool):
    loss = "mse" if target["function"] == "max" else "cross_entropy"
    network = {"kind": "computation", "output": "linear"}
    assert_equal(by_hand_and_by_autograd([toy(network, target, loss=loss)], own))


def test_the_loss_is_importance_times_squared_error_mean_over_samples_and_outputs():
    config = toy({"kind": "bottleneck"})
    target = Target.of(config)
    model = ToyModel(config.network, initial([config], 6, 0, 3).parameters)
    x = Sampler.of([config]).sample(64, 0, "test")
    losses = Objective.of([config], target).per_output(model(x).mT.contiguous(), x.mT.contiguous()).mean(-1)
    for replica in range(3):
        weights = torch.tensor([0.7**i for i in range(6)])
        expected = (weights * (model(x)[0, replica] - x[0, 0]).square()).mean()
        assert losses[0, replica].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_cross_entropy_of_a_group_stands_at_each_of_its_outputs():
    config = toy({"kind": "computation", "output": "linear"}, {"function": "argmax"}, loss="cross_entropy")
    objective = Objective.of([config], Target.of(config))
    logits = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])[:, None].expand(1, 1, 6, 8)
    losses = objective.per_output(logits, wanted)[0, 0]
    pair = logits[0, 0, 2:4].T
    expected = torch.nn.functional.cross_entropy(pair, torch.full((8,), 1)) * (0.7**2 + 0.7**3) / 2
    assert losses[2].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses[2] == losses[3]
