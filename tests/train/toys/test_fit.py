"""Training toys: what it finds, that it resumes exactly, what it refuses, and what each option does."""

from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.toys.baseline import best_constant, naive_on_final_samples
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.fit import Fit, FitState, fit
from train.toys.models import initial
from train.toys.room import Pace
from train.toys.settled import LEAST_POINTS, settled
from train.toys.targets import Target


def toy(
    network: dict[str, Any] | None = None,
    features: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    sweep: dict[str, Any] | None = None,
    **options: Any,
) -> ToyConfig:
    """A small experiment: 20 steps of 3 replicas of a bottleneck, 5 features in 2 dimensions."""
    small = {"steps": 20, "batch": 64, "lr": 1e-2, "replicas": 3, "eval_samples": 1100, "curve_points": 5}
    return ToyConfig.model_validate(
        {
            "about": {"title": "t", "question": "q", "expectation": "e", "run_time": "1 s"},
            "features": {"n": 5, "probability": 0.2} | (features or {}),
            "target": target or {},
            "network": {"kind": "bottleneck", "hidden": 2} | (network or {}),
            "fit": small | options,
            "sweep": sweep or {},
        }
    )


COMPUTATION = {"kind": "computation", "hidden": 8}
SIGNED = {"n": 6, "probability": 0.5, "values": {"low": -1.0}}
ABS = {"function": "abs"}


def assert_same(one: Fit, other: Fit) -> None:
    """Bit for bit."""
    assert torch.equal(one.losses, other.losses)
    assert torch.equal(one.per_output, other.per_output)
    assert torch.equal(one.curve_losses, other.curve_losses)
    for a, b in ((one.model.parameters, other.model.parameters), (one.snapshots, other.snapshots)):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def stopped_at(config: ToyConfig, step: int, resume: FitState | None = None) -> FitState:
    """The state that a fit leaves which is asked to stop before a step."""
    states: list[FitState] = []
    asked = resume.step if resume else 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > step

    with pytest.raises(Stopped, match=f"step {step} of {config.fit.steps}"):
        fit(config, resume=resume, save=states.append, stop=stop)
    assert [state.step for state in states] == [step]
    return states[0]


def test_five_sparse_features_in_two_dimensions_become_a_pentagon():
    found = fit(toy(features={"n": 5, "probability": 0.05}, steps=1500, batch=512, replicas=8, schedule="cosine"))
    w = found.model.select(found.best).parameters["W"][0, 0]
    share = w.square().sum(0) / ((w / w.norm(dim=0)).T @ w).square().sum(1)
    assert torch.allclose(share, torch.full((5,), 0.4), atol=0.01)


def test_the_loss_falls_below_that_of_answering_zero_for_every_kind_of_network():
    for kind in ("bottleneck", "neuron", "computation"):
        found = fit(toy({"kind": kind, "hidden": 8, "output": "linear"}, {"n": 4}, steps=300))
        assert found.losses.max() < 0.3 * 0.2 / 3, kind  # p E[x^2]


def test_losses_are_means_over_outputs_and_the_best_replica_has_the_lowest():
    found = fit(toy(sweep={"probability": [0.1, 0.9]}))
    assert found.losses.shape == (2, 3)
    assert found.per_output.shape == (2, 3, 5)
    assert torch.allclose(found.per_output.mean(-1), found.losses)
    assert torch.equal(found.best, found.losses.argmin(1))


def test_the_final_loss_is_what_the_model_itself_shows_on_the_evaluation_samples():
    config = toy(features={"n": 5, "probability": 0.2, "importance_decay": 0.5}, eval_samples=1500)
    found = fit(config)
    from train.toys.distributions import Sampler

    sampler = Sampler.of(config.instances())
    x = torch.cat([sampler.sample(n, 0, f"eval-{i}") for i, n in enumerate((1024, 476))], dim=2)
    importance = torch.tensor([0.5**i for i in range(5)])
    losses = (importance * (found.model(x) - x).square()).mean((2, 3))
    assert torch.allclose(losses.double(), found.losses, rtol=1e-5)


def test_curves_run_from_the_initial_loss_to_the_last_step_and_progress_sees_each_point():
    seen: list[tuple[int, torch.Tensor]] = []
    found = fit(toy(steps=50, eval_samples=4096), progress=lambda step, losses: seen.append((step, losses)))
    assert found.curve_steps.tolist() == [0, 12, 25, 38, 50]
    assert [step for step, _ in seen] == found.curve_steps.tolist()
    assert torch.equal(torch.stack([losses for _, losses in seen]), found.curve_losses)
    assert torch.equal(found.curve_losses[-1], found.losses)
    assert (found.curve_losses[-1] < found.curve_losses[0]).all()


def test_snapshots_are_replica_0s_weights_in_equal_steps_the_last_of_them_final():
    found = fit(toy(snapshots=3, sweep={"probability": [0.1, 0.5]}))
    assert found.snapshot_steps.tolist() == [0, 10, 20]
    assert found.snapshots["W"].shape == (3, 2, 2, 5)
    for name, each in found.snapshots.items():
        assert torch.equal(each[-1], found.model.parameters[name][:, 0])
    assert fit(toy()).snapshots == {}


def test_more_points_than_steps_give_one_point_a_step():
    assert fit(toy(steps=3, curve_points=100)).curve_steps.tolist() == [0, 1, 2, 3]


OPTIONS: list[ToyConfig] = [
    toy(snapshots=4, schedule="cosine", warmup_steps=3),
    toy({"dropout": 0.3}, data="own", weight_decay=0.1),
    toy(COMPUTATION | {"dropout": 0.2, "activation": "gelu"}, SIGNED, ABS, l1=0.01, snapshots=1, schedule="linear"),
    toy(COMPUTATION | {"hidden": [4, 3]}, {"n": 4}, {"function": "max"}, {"lr": [1e-2, 1e-3], "probability": [0.1, 1]}),
]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, len(OPTIONS) - 1), first=st.integers(0, 19), more=st.integers(0, 19))
def test_a_fit_stopped_twice_at_any_steps_ends_as_an_uninterrupted_one(which: int, first: int, more: int):
    config = OPTIONS[which]
    state = stopped_at(config, first)
    state = stopped_at(config, min(19, first + more), state)
    resumed = fit(config, resume=state)
    assert_same(resumed, _whole(which))


_WHOLE: dict[int, Fit] = {}


def _whole(which: int) -> Fit:
    if which not in _WHOLE:
        _WHOLE[which] = fit(OPTIONS[which])
    return _WHOLE[which]


def test_a_state_saved_on_the_way_is_not_changed_by_further_training():
    states: list[FitState] = []
    whole = fit(OPTIONS[0], save=states.append, pace=Pace(save_seconds=0.0))
    assert [state.step for state in states] == [5, 10, 15]
    for state in states:
        assert_same(fit(OPTIONS[0], resume=state), whole)


def test_a_state_of_another_config_is_refused():
    state = stopped_at(toy(), 7)
    for other in (toy(replicas=4), toy({"hidden": 3}), toy(snapshots=2), toy(steps=5)):
        with pytest.raises(BadInput, match="another config"):
            fit(other, resume=state)
    with pytest.raises(BadInput, match="another config"):
        fit(toy(), resume=replace(state, tensors={}))


def test_the_same_config_gives_the_same_bits_and_another_seed_does_not():
    assert_same(fit(toy()), fit(toy()))
    assert not torch.equal(fit(toy()).losses, fit(toy(seed=1)).losses)


@pytest.mark.parametrize("data", ["shared", "own"])
@pytest.mark.parametrize("piece", [1, 2**18])
def test_a_replicas_result_does_not_depend_on_how_many_others_there_are(data: str, piece: int):
    few, many = (
        fit(toy({"dropout": 0.2}, replicas=count, data=data, seed=3), pace=Pace(piece=piece)) for count in (2, 9)
    )
    for name, each in few.model.parameters.items():
        assert torch.allclose(each, many.model.parameters[name][:, :2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(few.losses[:, 0], few.losses[:, 1], rtol=1e-3)


@pytest.mark.parametrize("piece", [1, 2 * 5 * 64, 4 * 5 * 64])
def test_cutting_the_work_into_pieces_changes_nothing_but_rounding(piece: int):
    config = toy(replicas=4, sweep={"probability": [0.1, 0.5, 0.9], "l1": [0.0, 0.1]})
    whole = fit(config)
    assert torch.allclose(fit(config, pace=Pace(piece=piece)).losses, whole.losses, rtol=1e-4)


def test_an_instance_trains_as_it_would_alone():
    swept = toy(sweep={"lr": [1e-3, 3e-2], "dropout": [0.0, 0.4], "l1": [0.0, 0.1]})
    together = fit(swept)
    for i, alone in enumerate(swept.instances()):
        assert torch.allclose(fit(alone).losses[0], together.losses[i], rtol=1e-4)


def test_adam_is_torchs(monkeypatch: pytest.MonkeyPatch):
    config = toy(COMPUTATION, SIGNED, ABS, replicas=1, weight_decay=0.1, warmup_steps=3, schedule="cosine")
    found = fit(config)
    from train.toys.adam import rate_factor
    from train.toys.distributions import Sampler
    from train.toys.models import initial

    parameters = {k: v.requires_grad_() for k, v in initial([config], 6, 0, 1).parameters.items()}
    groups = [
        {"params": [v for k, v in parameters.items() if k.startswith("W")], "weight_decay": 0.1},
        {"params": [v for k, v in parameters.items() if k.startswith("b")], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.fit.lr)
    for step in range(config.fit.steps):
        x = Sampler.of([config]).sample(64, 0, step)[0, 0]
        hidden = (x @ parameters["W1"][0, 0].T).relu()
        output = (hidden @ parameters["W2"][0, 0].T + parameters["b"][0, 0]).relu()
        for group in optimizer.param_groups:
            group["lr"] = config.fit.lr * rate_factor(config.fit, step)
        optimizer.zero_grad()
        (output - x.abs()).square().mean().backward()
        optimizer.step()
    for name, each in parameters.items():
        assert torch.allclose(found.model.parameters[name], each, rtol=1e-3, atol=1e-5), name


def test_the_rate_warms_up_then_follows_its_schedule_to_zero():
    from train.toys.adam import rate_factor

    for schedule, middle in (("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)):
        config = toy(steps=104, warmup_steps=4, schedule=schedule).fit
        assert [rate_factor(config, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
        assert rate_factor(config, 4) == 1.0
        assert rate_factor(config, 54) == pytest.approx(middle)
        assert (rate_factor(config, 103) < 0.02) == (schedule != "constant")


def test_l1_makes_hidden_activations_small_and_stays_out_of_the_reported_loss():
    config = toy(COMPUTATION, SIGNED, ABS, {"l1": [0.0, 1.0]}, steps=300)
    found = fit(config)
    x = 2 * torch.rand(1, 1, 100, 6) - 1
    free, held = (found.model.select(instance=i).hidden(x)[0].abs().mean() for i in range(2))
    assert held < 0.2 * free
    assert found.losses[1].max() <= 0.5 / 3 * 1.1  # of answering zero: p E[x^2]


def test_dropout_spreads_a_feature_over_neurons():
    network = {"kind": "computation", "hidden": 12}
    config = toy(network, {"n": 3, "probability": 0.5}, None, {"dropout": [0.0, 0.6]}, steps=600, lr=1e-2)
    w = fit(config).model.parameters["W1"].relu()
    share = (w.max(2).values / w.sum(2)).mean((1, 2))
    assert share[1] < share[0]


def test_a_smaller_initial_scale_starts_from_smaller_weights():
    found = fit(toy(snapshots=2, sweep={"init_scale": [1.0, 0.1]}))
    start = found.snapshots["W"][0]
    assert torch.allclose(start[1], 0.1 * start[0])


def test_classification_beats_the_entropy_of_the_classes():
    features = {"n": 4, "probability": 1.0}
    config = toy(COMPUTATION | {"output": "linear"}, features, {"function": "argmax"}, loss="cross_entropy", steps=300)
    assert fit(config).losses.max() < 0.5  # log 2 without looking


@pytest.mark.parametrize("save", [None, lambda state: None])
def test_a_rate_far_too_high_is_named_with_instance_and_step(save: Any):
    config = toy(COMPUTATION | {"output": "linear"}, SIGNED, None, {"lr": [1e-30, 1e18]}, steps=40)
    with pytest.raises(
        Diverged, match=r"instance 1 \(lr = 1e\+18\), replica 0.* step 10 \(it was at step 0\); the rate was 1e\+18"
    ):
        fit(config, save=save)


def test_a_broken_state_is_not_saved():
    config = toy(COMPUTATION | {"output": "linear"}, SIGNED, lr=1e18, curve_points=2)
    asked = iter(range(100))
    with pytest.raises(Diverged, match="step 7"):
        fit(config, save=lambda state: pytest.fail("saved"), stop=lambda: next(asked) == 7)


def test_a_fit_too_large_for_memory_is_refused_before_training(monkeypatch: pytest.MonkeyPatch):
    for key, config in {
        "fit.replicas": toy({"hidden": 900}, {"n": 1000}, replicas=100_000),
        "fit.batch": toy(batch=2**33),
        "fit.snapshots": toy({"hidden": 900}, {"n": 1000}, snapshots=10**6, steps=10**7),
        "fit.curve_points": toy(curve_points=10**11, steps=10**8, replicas=100_000),
    }.items():
        with pytest.raises(EnvironmentProblem, match=rf"need \d.* GB of memory, .* are free; lower {key}"):
            fit(config)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 1000}))
    with pytest.raises(EnvironmentProblem):
        fit(toy())


def test_neurons_that_take_no_part_stay_at_zero_and_a_network_of_their_number_is_the_same():
    network = COMPUTATION | {"init": "kaiming"}
    found = fit(toy(network, SIGNED, ABS, sweep={"neurons": [8, 3]}, steps=50))
    first, last = found.model.parameters["W1"], found.model.parameters["W2"]
    assert first[0].abs().amax(-1).min() > 0
    assert not first[1, :, 3:].any()
    assert not last[1, :, :, 3:].any()
    assert first[1, :, :3].abs().amax(-1).min() > 0
    # The first neurons start as those of the whole network, W2 wider by the square root of 8 / 3.
    start = initial(toy(network, SIGNED, ABS, sweep={"neurons": [8, 3]}).instances(), 6, 0, 3).parameters
    assert torch.equal(start["W1"][0, :, :3], start["W1"][1, :, :3])
    assert torch.allclose(start["W2"][1, :, :, :3], start["W2"][0, :, :, :3] * (8 / 3) ** 0.5)
    bound = (6 / 3) ** 0.5
    assert bound * 0.8 < start["W2"][1].abs().max() <= bound


@pytest.mark.parametrize("kind", ["neuron", "computation"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "linear"])
def test_neurons_are_left_out_under_every_activation_that_acts_alone(kind: str, activation: str):
    network = {"kind": kind, "hidden": 6, "activation": activation, "neurons": 2, "init": "xavier", "dropout": 0.2}
    options: dict[str, Any] = {"l1": 0.01, "weight_decay": 0.01}
    found = fit(toy(network | ({"hidden_bias": True} if kind == "computation" else {}), steps=30, **options))
    assert not found.model.layers[0].weight[:, :, 2:].any()
    assert not found.model.layers[1].weight[..., 2:].any()
    if kind == "computation":
        assert not found.model.parameters["b1"][..., 2:].any()


def test_what_is_frozen_stays_as_it_began_and_the_rest_learns():
    config = toy(COMPUTATION, SIGNED, ABS, frozen=["W1"], weight_decay=0.1, steps=50)
    found = fit(config)
    start = initial([config], 6, 0, 3).parameters
    assert torch.equal(found.model.parameters["W1"], start["W1"])
    assert not torch.allclose(found.model.parameters["W2"], start["W2"], atol=1e-2)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs(momentum: float):
    config = toy(COMPUTATION, SIGNED, ABS, optimizer="sgd", momentum=momentum, lr=0.05, steps=5, replicas=1)
    found = fit(config)
    start = {name: each[0, 0].clone().requires_grad_() for name, each in initial([config], 6, 0, 1).parameters.items()}
    optimizer = torch.optim.SGD(start.values(), lr=0.05, momentum=momentum)
    for step in range(5):
        x = Sampler.of([config]).sample(64, 0, step)[0, 0]
        answer = ((x @ start["W1"].T).relu() @ start["W2"].T + start["b"]).relu()
        optimizer.zero_grad()
        (answer - x.abs()).square().mean().backward()
        optimizer.step()
    for name, each in start.items():
        assert torch.allclose(found.model.parameters[name][0, 0], each, atol=1e-6), name


def test_sgd_resumes_bit_for_bit():
    config = toy(COMPUTATION, SIGNED, ABS, optimizer="sgd", momentum=0.9)
    assert_same(fit(config), fit(config, resume=stopped_at(config, 7)))


def test_training_stops_where_all_have_converged_and_says_at_which_step():
    options: dict[str, Any] = {"curve_points": 101, "schedule": "constant", "lr": 3e-3, "eval_samples": 4096}
    config = toy(features={"n": 2, "probability": 1.0}, steps=4000, converged=0.02, **options)
    found = fit(config)
    last = int(found.curve_steps[-1])
    assert last < 4000
    assert len(found.curve_steps) == len(found.curve_losses) >= LEAST_POINTS
    assert settled(found.curve_steps.numpy(), found.curve_losses.numpy(), found.curve_losses[0].numpy(), 0.02).all()
    assert_same(found, fit(config, resume=stopped_at(config, last - 5)))
    never = fit(toy(steps=60, converged=1e-9, **options))
    assert int(never.curve_steps[-1]) == 60


def test_swept_mixing_adds_the_same_noise_times_its_strength():
    config = toy(COMPUTATION, SIGNED, {"function": "relu"}, sweep={"mixing": [0.0, 0.1, 0.2]})
    instances = config.instances()
    x = Sampler.of(instances).sample(32, 0, "test")
    wanted = Target.of_instances(instances)(x)
    noise = wanted - x.relu()
    assert not noise[0].any()
    assert torch.allclose(2 * noise[1], noise[2], atol=1e-6)
    assert torch.allclose(Target.of(instances[2])(x[0]), wanted[2], atol=1e-6)
    matrix = torch.linalg.lstsq(x[0, 0], noise[1, 0]).solution
    assert 0.05 < matrix.std() < 0.15
    found = fit(config)
    assert found.losses.shape == (3, 3)
    naive = [naive_on_final_samples(each).loss for each in instances]
    assert naive[0] < naive[1] < naive[2]


def test_constants_are_the_best_for_the_power_of_the_loss():
    wanted = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    assert best_constant(wanted).item() == 0.25
    found = best_constant(wanted, 4.0).item()
    grid = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:, None]
    assert found == pytest.approx(grid[(grid - wanted).pow(4).sum(1).argmin()].item(), abs=1e-4)
    assert best_constant(wanted, 1.0).item() == pytest.approx(0.0, abs=1e-6)
