"""Arms of a toy: what widening does to its networks, that every arm sees the same samples, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.toys.small import small_toy
from train.configfile import load_config, to_toml
from train.errors import BadInput, PolysemError, Stopped
from train.files import verify
from train.interrupt import Interruptible
from train.toys.adam import Scales
from train.toys.arm_config import ArmConfig
from train.toys.arms.run import train_arms
from train.toys.arms.store import (
    ToyArm,
    arm_config,
    arms_directory,
    fresh_start,
    load_arms,
    parents,
    relative_change,
    scales_of,
    scratch_config,
    start_of,
    weights_hash,
    widened,
)
from train.toys.command import ToyOutcome, run_toy
from train.toys.config import ToyConfig
from train.toys.fit import FitState, Start, fit
from train.toys.models import ToyModel
from train.toys.runs import ToyRun

ARMS: dict[str, dict[str, Any]] = {
    "narrow": {},
    "narrow-l1": {"l1": 1e-3},
    "x2-none": {"factor": 2, "noise": "none"},
    "x2-zero-sum": {"factor": 2, "noise": "zero_sum", "sigma": 1.0, "widened_rates": "full"},
    "x2-w-in": {"factor": 2, "noise": "w_in", "sigma": 0.1, "expectation": "It parts."},
    "x3-fresh": {"factor": 3, "copies": "fresh", "noise": "none"},
    "x2-scratch": {"factor": 2, "scratch": True, "l1": 1e-3},
}


def toy(**changes: Any) -> ToyConfig:
    """`small_toy` without snapshots, replicas with samples of their own, and `ARMS`."""
    return small_toy(**{"fit__data": "own", "fit__snapshots": 0, "fine_tune": {"steps": 20}, "arms": ARMS} | changes)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> ToyOutcome:
    return run_toy(toy(), tmp_path_factory.mktemp("arms") / "toy")


@pytest.fixture(scope="module")
def arms(outcome) -> dict[str, ToyArm]:
    return {arm.name: arm for arm in outcome.arms}


def trained(hidden_bias: bool = False) -> tuple[ToyConfig, ToyModel]:
    config = toy(network__hidden_bias=hidden_bias, network__activation="gelu" if hidden_bias else "relu")
    return config, fit(config).model


EXACT = {
    "copies": ArmConfig(factor=3, noise="none"),
    "Dirichlet shares": ArmConfig(factor=4, split="dirichlet", noise="none"),
    "zero-sum noise": ArmConfig(factor=3, noise="zero_sum", sigma=1.0),
    "fresh neurons": ArmConfig(factor=2, copies="fresh", noise="none"),
    "100 copies": ArmConfig(factor=100, noise="zero_sum", sigma=1.0),
    "the narrow network": ArmConfig(),
}


@pytest.mark.parametrize("hidden_bias", [False, True], ids=["relu", "gelu with hidden biases"])
@pytest.mark.parametrize("arm", EXACT.values(), ids=EXACT)
def test_exact_schemes_leave_every_answer_as_it_was(arm, hidden_bias):
    config, model = trained(hidden_bias)
    wide = widened(model, arm, [1.0, 1.0])
    assert wide.config.hidden == (5 * arm.factor,)
    assert float(relative_change(model, wide, config).max()) < 1e-6
    x = torch.rand(2, 1, 50, 4) * 2 - 1
    torch.testing.assert_close(wide(x), model(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("noise", ["w_in", "antithetic", "w_out"])
def test_other_noise_changes_the_answers_and_the_change_is_reported(noise):
    config, model = trained()
    wide = widened(model, ArmConfig(factor=2, noise=noise, sigma=0.3), [1.0, 1.0])
    change = relative_change(model, wide, config)
    assert float(change.min()) > 1e-4
    assert float(change.max()) < 1


def test_children_lie_as_their_parents_say_and_siblings_share_input_weights():
    config, model = trained()
    arm = ArmConfig(factor=3, noise="zero_sum", sigma=1.0)
    wide, of = widened(model, arm, [1.0, 1.0]), parents(config, arm)
    assert of is not None
    torch.testing.assert_close(wide.parameters["W1"], model.parameters["W1"][:, :, of], rtol=0, atol=0)
    summed = torch.stack([wide.parameters["W2"][..., of == n].sum(-1) for n in range(5)], -1)
    torch.testing.assert_close(summed, model.parameters["W2"], rtol=0, atol=1e-6)
    assert (wide.parameters["W2"][..., :5] - wide.parameters["W2"][..., 5:10]).abs().max() > 1e-3
    assert parents(config, ArmConfig(factor=2, copies="fresh", noise="none")).tolist() == [*range(5), *[-1] * 5]  # pyright: ignore[reportOptionalMemberAccess]
    assert parents(config, ArmConfig(factor=2, scratch=True)) is None


def test_a_replica_takes_the_same_noise_however_many_others_there_are():
    _, model = trained()
    arm = ArmConfig(factor=2, noise="w_in", sigma=0.5)
    few = ToyModel(model.config, {name: each[:, :2] for name, each in model.parameters.items()})
    all_of_them, some = widened(model, arm, [1.0, 1.0]), widened(few, arm, [1.0, 1.0])
    for name, each in some.parameters.items():
        assert torch.equal(each, all_of_them.parameters[name][:, :2])
    other = widened(model, arm.model_copy(update={"seed": 1}), [1.0, 1.0])
    assert not torch.equal(other.parameters["W1"], all_of_them.parameters["W1"])


def test_fresh_neurons_are_spread_like_initial_ones():
    _, model = trained()
    wide = widened(model, ArmConfig(factor=100, copies="fresh", noise="none"), [1.0, 0.1])
    spread = wide.parameters["W1"][:, :, 5:].std(dim=(1, 2, 3))
    np.testing.assert_allclose(spread.numpy(), [(2 / 4) ** 0.5, 0.1 * (2 / 4) ** 0.5], rtol=0.05)


def test_a_continued_network_reads_the_samples_that_come_next():
    """With fresh moments Adam's first step is the sign of the gradient: that of the samples of the step reached."""
    settings = {"fit__betas": [0.0, 0.999], "fit__steps": 1, "fit__lr": 1e-4}
    first = toy(**settings, fine_tune={"steps": 1})
    start = Start(fit(first).model, 1)
    second = fit(arm_config(first, "narrow"), start=start).model.parameters["W1"]
    again = fit(arm_config(first, "narrow"), start=Start(start.model, 0)).model.parameters["W1"]
    assert not torch.equal(second, again), "other samples, other signs of the gradient"
    assert torch.equal(start.model.parameters["W1"], fit(first).model.parameters["W1"]), "the start stays as it is"
    # Without a first moment, a longer run takes its second step by the sign of the same gradient.
    gradient = (second - start.model.parameters["W1"]).sign()
    longer = fit(toy(**settings | {"fit__steps": 2})).model.parameters["W1"]
    assert torch.equal((longer - start.model.parameters["W1"]).sign(), gradient)


def test_training_from_a_start_resumes_exactly():
    config, model = trained()
    start = Start(widened(model, config.arms["x2-w-in"], [1.0, 1.0]), 40, scales_of(config.arms["x2-w-in"], "relu"))
    own = arm_config(config, "x2-w-in")
    asked = iter([*[False] * 7, True])
    states: list[FitState] = []
    with pytest.raises(Stopped):
        fit(own, save=states.append, stop=lambda: next(asked), start=start)
    assert states[-1].step == 7
    resumed, unbroken = fit(own, resume=states[-1], start=start), fit(own, start=start)
    for name, each in unbroken.model.parameters.items():
        assert torch.equal(resumed.model.parameters[name], each)


def test_networks_of_another_shape_are_no_start():
    config, model = trained()
    with pytest.raises(BadInput, match="another shape"):
        fit(arm_config(config, "x2-none"), start=Start(model, 40))


def test_equal_copies_at_tied_rates_follow_the_narrow_network():
    config, model = trained()
    narrow = fit(arm_config(config, "narrow"), start=Start(model, 40))
    arm = config.arms["x2-none"]
    start = Start(widened(model, arm, [1.0, 1.0]), 40, scales_of(arm, "relu"))
    wide = fit(arm_config(config, "x2-none"), start=start)
    torch.testing.assert_close(wide.losses, narrow.losses, rtol=1e-3, atol=0)
    W1 = wide.model.parameters["W1"]
    torch.testing.assert_close(W1[:, :, :5], W1[:, :, 5:], rtol=0, atol=1e-5)
    untied = fit(arm_config(config, "x2-none"), start=Start(start.model, 40))
    assert ((untied.losses - narrow.losses).abs() / narrow.losses).max() > 5e-3


def test_tied_rates_are_for_what_grows_with_the_width():
    tied = Scales(rate={"W2": 0.25}, epsilon={"W1": 0.25, "b1": 0.25})
    assert scales_of(ArmConfig(factor=4, noise="none"), "relu") == tied
    assert scales_of(ArmConfig(factor=4, scratch=True), "relu") == Scales(rate={"W2": 0.25})
    for plain in (
        ArmConfig(),
        ArmConfig(factor=4, widened_rates="full"),
        ArmConfig(factor=4, scratch=True, widened_rates="full"),
        ArmConfig(factor=4, copies="fresh", noise="none"),
    ):
        assert scales_of(plain, "relu") == Scales()


def test_every_arm_is_a_toy_of_its_own_that_says_where_it_comes_from(outcome, arms):
    assert list(arms) == list(ARMS)
    base = outcome.run
    for name, arm in arms.items():
        assert arm.run.directory == arms_directory(base.directory) / name
        assert arm.run.config.network.hidden == (5 * arm.settings.factor,)
        assert arm.run.config.fit.steps == 20
        assert arm.run.config.fit.l1 == arm.settings.l1
        assert arm.facts.start_sha256 == weights_hash(base)
        assert arm.facts.steps_before == 40
        assert not arm.run.config.arms
        assert (arm.facts.parents is None) == arm.settings.scratch
        if arm.facts.parents is not None:
            assert len(arm.facts.parents) == 5 * arm.settings.factor
        promised = arm.settings.keeps_the_function or arm.settings.scratch
        assert (arm.facts.relative_l2 < 1e-6) == promised
    assert arms["x2-w-in"].run.config.about.expectation == "It parts."
    start = arms["narrow"].run.curves.losses[0]
    np.testing.assert_allclose(start, base.curves.losses[-1], rtol=1e-6)
    np.testing.assert_allclose(arms["x2-zero-sum"].run.curves.losses[0], start, rtol=1e-5)


def test_a_network_from_scratch_takes_the_steps_before_as_well(arms):
    config = toy()
    before = fit(scratch_config(config, "x2-scratch"), start=fresh_start(config, "x2-scratch"))
    assert before.model.parameters["W1"].shape == (2, 3, 10, 4)
    np.testing.assert_allclose(arms["x2-scratch"].run.curves.losses[0], before.curve_losses[-1].numpy(), rtol=1e-6)
    assert scratch_config(config, "x2-scratch").fit.l1 == 1e-3
    assert scratch_config(config, "x2-scratch").fit.steps == 40


def test_finished_arms_are_found_and_a_new_one_is_added(outcome, tmp_path):
    config = toy(arms=ARMS | {"x2-antithetic": {"factor": 2, "noise": "antithetic"}})
    out = outcome.run.directory
    before = {arm.name: arm.run.hash for arm in outcome.arms}
    again = run_toy(config, out)
    assert again.found
    assert again.arms_found == len(ARMS)
    assert {arm.name: arm.run.hash for arm in again.arms if arm.name in before} == before
    assert [arm.name for arm in load_arms(ToyRun.load(out))] == [*ARMS, "x2-antithetic"]
    text = again.text()
    assert f"{len(ARMS) + 1} arms, 20 steps each, {len(ARMS)} of them found" in text
    assert "x2-antithetic" in text
    assert "start" in text
    reworded = ARMS | {"narrow": {"expectation": "Nothing."}}
    assert run_toy(toy(arms=reworded), out).arms_found == len(ARMS), "words change nothing"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arms": ARMS | {"x2-w-in": ARMS["x2-w-in"] | {"sigma": 0.2}}}, "an arm with sigma = 0.1, now 0.2"),
        ({"fine_tune": {"steps": 21}}, "narrow: holds an arm with fit.steps = 20, now 21"),
        ({"arms": ARMS | {"x2-none": {"factor": 3, "noise": "none"}}}, "x2-none: holds an arm with network.hidden"),
    ],
)
def test_an_arm_that_has_changed_is_refused(outcome, changes, says):
    with pytest.raises(BadInput, match=says.replace("(", r"\(")):
        run_toy(toy(**changes), outcome.run.directory)
    run_toy(toy(), outcome.run.directory)


def test_a_stopped_trial_goes_on_with_the_arm_that_it_was_at(tmp_path, monkeypatch, outcome):
    out, seen = tmp_path / "toy", []

    class Asked(Interruptible):
        def __enter__(self) -> "Asked":
            super().__enter__()
            self.asked = len(seen) == 0 and (arms_directory(out) / "x2-none").is_dir()
            return self

    base = run_toy(toy(arms={}), out).run
    few = {name: ARMS[name] for name in ("narrow", "x2-none")}
    run_toy(toy(arms=few), out)
    with monkeypatch.context() as patch:
        patch.setattr("train.toys.arms.run.Interruptible", Asked)
        with pytest.raises(Stopped, match=r"narrow-l1: stopped after step 0 of 20.* 1 of 7 arms are finished"):
            run_toy(toy(), out)
    assert sorted(path.name for path in arms_directory(out).iterdir()) == ["narrow", "x2-none"]
    went_on = run_toy(toy(), out)
    assert went_on.found
    assert went_on.arms_found == 2
    assert weights_hash(went_on.run) == weights_hash(base)
    for arm, unbroken in zip(went_on.arms, outcome.arms, strict=True):
        assert torch.equal(arm.run.model.parameters["W1"], unbroken.run.model.parameters["W1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy", "toy-arms"]


def test_arms_of_other_networks_are_refused(tmp_path):
    few = {"narrow": {}}
    run_toy(toy(arms=few), tmp_path / "one")
    run_toy(toy(arms={}, fit__seed=1), tmp_path / "two")
    arms_directory(tmp_path / "one").rename(arms_directory(tmp_path / "two"))
    with pytest.raises(BadInput, match="started from other networks"):
        run_toy(toy(arms=few, fit__seed=1), tmp_path / "two")
    base = ToyRun.load(tmp_path / "two")
    with pytest.raises(BadInput, match="started from other networks"):
        load_arms(base)
    (tmp_path / "one-arms").mkdir()
    with pytest.raises(BadInput, match="narrow: not there"):
        load_arms(ToyRun.load(tmp_path / "one"))


def test_an_arm_whose_file_was_altered_is_refused(outcome):
    path = outcome.arms[0].run.directory / "arm.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole.replace(b'"parents": [0', b'"parents": [1'))
        with pytest.raises(BadInput, match="content does not match"):
            ToyArm.load(path.parent)
    finally:
        path.write_bytes(whole)
    assert json.loads(whole)["settings"]["factor"] == 1
    assert verify(path.parent)["arm"] == "narrow"


def test_a_scheme_that_misses_its_promise_is_a_defect(outcome):
    with pytest.raises(PolysemError, match="x2-zero-sum: widening was to be exact"):
        start_of(outcome.run, "x2-zero-sum", tolerance=0.0)
    start_of(outcome.run, "x2-w-in", tolerance=0.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arms": {"a": {"factor": 0}}}, "arms.a.factor"),
        ({"arms": {"a": {"factor": 101}}}, "arms.a.factor"),
        ({"arms": {"a": {"sigma": -0.1}}}, "arms.a.sigma"),
        ({"arms": {"a": {"noise": "zero-sum"}}}, "arms.a.noise: Input should be 'none', 'zero_sum', "
         "'w_in', 'antithetic' or 'w_out', got 'zero-sum'; did you mean 'zero_sum'"),
        ({"arms": {"a": {"copies": "fresh", "factor": 2}}}, "fresh neurons have no siblings"),
        ({"arms": {"a": {"factor": 2, "noise": "w_in", "exact": True}}}, "exact: noise on W_in"),
        ({"arms": {"a": {"scratch": True, "noise": "w_in"}}}, "noise: a network from scratch has no parents"),
        ({"arms": {"a": {"nois": "w_in"}}}, "unknown key 'arms.a.nois'; did you mean 'noise'"),
        ({"arms": {"A b": {}}}, "arms.A b"),
        ({"arms": {"a": {}}, "sweep": {"lr": [0.1, 0.2]}, "expect": []}, "sweep.lr: arms set it"),
        ({"arms": {"a": {}}, "network__hidden": [4, 4]}, "one hidden layer"),
        ({"fine_tune": {"steps": 0}}, "fine_tune.steps"),
    ],
)  # fmt: skip
def test_impossible_arms_are_refused_with_the_key(changes, says):
    with pytest.raises(BadInput) as failure:
        toy(**changes)
    assert says in str(failure.value)


def test_a_missing_layer_is_refused(tmp_path):
    with pytest.raises(BadInput, match="layer 1 is not there"):
        run_toy(toy(arms={"a": {"layers": [1], "factor": 2}}), tmp_path / "toy")


def test_arms_survive_a_round_trip_through_toml(tmp_path):
    path: Path = tmp_path / "toy.toml"
    path.write_text(to_toml(toy()))
    assert load_config(ToyConfig, path) == toy()
    assert load_config(ToyConfig, path, ["--arms.x2-w-in.sigma", "0.3"]).arms["x2-w-in"].sigma == 0.3


def test_a_toy_without_arms_has_none(tmp_path):
    run = run_toy(toy(arms={}), tmp_path / "toy").run
    assert load_arms(run) == []
    assert train_arms(run) == ([], 0)
    assert not arms_directory(run.directory).exists()
