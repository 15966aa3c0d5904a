"""Measures: each on planted weights whose answer is known; scopes; unknown names."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.problems.catalogue import entries
from analyze.toys.geometry import regular
from analyze.toys.interference import final_samples, loss_by_active
from analyze.toys.measures import MEASURES, measure_named
from analyze.toys.reading import Reading
from analyze.toys.verdicts.nulls import untrained
from tests.analyze.toys import trained as toys
from tests.analyze.toys.planted import planted, toy_config
from train.errors import BadInput
from train.toys.command import run_toy
from train.toys.listing import is_problem
from train.toys.measures import OF_TRAINING, SCOPES
from train.toys.question import PROBLEMS
from train.toys.runs import Curves, ToyRun


def bottleneck(*replicas: torch.Tensor, **sections) -> ToyRun:
    """A bottleneck whose replicas have these W [hidden feat] and no bias."""
    hidden, n = replicas[0].shape
    sections["features"] = {"n": n, "probability": 0.1} | sections.get("features", {})
    sections["network"] = {"hidden": hidden} | sections.get("network", {})
    config = toy_config(**sections, fit={"replicas": len(replicas)})
    weight = torch.stack([each.float() for each in replicas])[None]
    return planted(config, {"W": weight} | ({"b": torch.zeros(1, len(replicas), n)} if config.network.bias else {}))


def absolute(first: list[list[float]], last: list[list[float]], **sections) -> ToyRun:
    """A computation of absolute values with these weights, rows of neurons and of outputs."""
    sections["features"] = {"n": len(first[0]), "probability": 0.2, "values": {"low": -1.0}} | sections.get(
        "features", {}
    )
    network = {"kind": "computation", "hidden": len(first)}
    config = toy_config(target={"function": "abs"}, network=network, **sections)
    return planted(
        config, {"W1": torch.tensor([[first]]), "W2": torch.tensor([[last]]), "b": torch.zeros(1, 1, len(last))}
    )


def of(run: ToyRun, name: str) -> list[float]:
    """The measure of instance 0's replicas."""
    return MEASURES[name](run)[0].tolist()


PENTAGON = torch.tensor(regular("pentagon")[0].T)
PAIRS = torch.tensor([[1.0, -1, 0, 0, 0], [0, 0, 1, -1, 0]])


def test_measures_of_geometry_read_a_pentagon_and_two_pairs():
    run = bottleneck(PENTAGON, PAIRS)
    expected = {
        "features_represented": [5, 4],
        "sum_of_dimensionality": [2, 2],
        "largest_dimensionality": [0.4, 0.5],
        "mean_dimensionality": [0.4, 0.5],
        "dimensionality_star": [0.4, 0.5],
        "mean_interference": [1.5, 1.0],
        "share_on_two_fifths": [1, 0],
        "share_on_half": [0, 1],
        "share_on_three_eighths": [0, 0],
        "count_pentagons": [1, 0],
        "count_antipodal_pairs": [0, 2],
        "count_dedicated": [0, 0],
        "count_nameless": [0, 0],
        "pentagon_error": [0, 1],
        "largest_geometry_error": [0, 0],
    }
    for name, values in expected.items():
        assert of(run, name) == pytest.approx(values, abs=1e-3), name


@pytest.mark.parametrize(
    ("name", "geometry", "share"),
    [
        ("count_triangles", "triangle", "share_on_two_thirds"),
        ("count_tetrahedra", "tetrahedron", "share_on_three_quarters"),
        ("count_square_antiprisms", "square antiprism", "share_on_three_eighths"),
    ],
)
def test_every_geometry_has_its_count_and_its_plateau(name, geometry, share):
    run = bottleneck(torch.tensor(regular(geometry)[-1].T))
    assert of(run, name) == of(run, share) == [1.0]


def test_dedicated_features_are_counted_and_lie_on_the_plateau_of_one():
    run = bottleneck(torch.eye(3)[:, :2].clone().T @ torch.eye(3))
    assert (of(run, "count_dedicated"), of(run, "share_on_one"), of(run, "features_represented")) == ([2], [1], [2])


def test_cosines_within_and_between_pairs_leave_out_what_is_not_represented():
    run = bottleneck(torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, 1]]), torch.tensor([[1.0, 0, 1, 0], [0, 0.1, 0, 0]]))
    assert of(run, "pair_cosine_within")[0] == pytest.approx(0.0)
    assert np.isnan(of(run, "pair_cosine_within")[1])
    assert of(run, "pair_cosine_between") == pytest.approx([0.0, 1.0])


def test_classes_are_counted_apart():
    classes = [{"count": 2, "probability": 0.1}, {"count": 2, "probability": 0.2}]
    config = toy_config(features={"n": 4, "classes": classes, "probability": 1.0}, network={"hidden": 2})
    run = planted(config, {"W": torch.tensor([[[[1.0, 0, 0, 0], [0, 1, 0.9, 0]]]]), "b": torch.zeros(1, 1, 4)})
    assert of(run, "features_represented_first_class") == [2]
    assert of(run, "features_represented_last_class") == [1]


def test_losses_are_compared_with_the_naive_and_the_constant():
    run = bottleneck(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    assert of(run, "loss") == run.losses[0].tolist()
    # With a bias of 0 the error of a feature that is ignored is E[x^2]: p/3 over p/3 - p^2/4.
    assert of(run, "loss_over_naive") == pytest.approx([1.08, 2.16], rel=0.05)
    assert of(run, "loss_over_constant") == pytest.approx([0.54, 1.08], rel=0.05)


def test_a_loss_over_a_naive_loss_of_nothing_is_not_a_number():
    assert np.isnan(of(absolute([[1.0], [-1.0]], [[1.0, 1.0]]), "loss_over_naive")).all()


def test_the_loss_of_an_antipodal_pair_is_simultaneous_interference_alone():
    run = bottleneck(torch.tensor([[1.0, -1.0]]), torch.tensor([[1.0, 1.0]]))
    one, two = of(run, "loss_of_one_active"), of(run, "loss_of_two_active")
    assert one[0] == 0
    assert two[0] > 0.1
    # Features that point the same way take each other's place: alternating interference, 1/3 over 2 outputs.
    assert one[1] == pytest.approx(1 / 6, rel=0.1)
    ratios = of(run, "loss_of_two_over_one")
    assert np.isnan(ratios[0])
    assert ratios[1] == pytest.approx(two[1] / (2 * one[1]))


def test_the_split_loss_adds_up_to_the_loss_with_importances():
    run = bottleneck(PENTAGON, PAIRS, features={"n": 5, "importance_decay": 0.5, "probability": 0.5})
    split = loss_by_active(run)
    assert split.samples.sum() == run.config.fit.eval_samples
    whole = (split.loss * split.samples[:, None]).sum(-1) / split.samples.sum(-1)[:, None]
    np.testing.assert_allclose(whole, run.losses, rtol=1e-5)


def test_a_number_of_active_features_that_hardly_occurs_has_no_loss():
    run = bottleneck(PENTAGON, features={"n": 5, "probability": 0.01})
    split = loss_by_active(run)
    assert 0 < split.samples[0, -1] < 30
    assert np.isnan(split.loss[split.samples[:, None] < 30]).all()
    exact = planted(
        toy_config(features={"n": 2, "probability": 1.0}), {"W": torch.ones(1, 1, 1, 2), "b": torch.zeros(1, 1, 2)}
    )
    assert np.isnan(of(exact, "loss_of_one_active")).all()


def test_final_samples_are_those_of_the_final_loss_however_they_are_cut():
    config = toy_config(fit={"eval_samples": 1500})
    whole = torch.cat(list(final_samples(config)))
    assert whole.shape == (1500, 2)
    torch.testing.assert_close(torch.cat(list(final_samples(config, at_a_time=7))), whole)


def test_jumps_are_counted_for_every_replica():
    run = bottleneck(PENTAGON, PAIRS)
    stairs = np.repeat([1.0, 0.5, 0.2], 10)
    losses = np.stack([stairs, np.ones(30)], axis=1)[:, None]
    run = dataclasses.replace(run, curves=Curves(np.arange(30), losses))
    assert of(run, "n_jumps") == [2, 0]


def test_strategies_are_read_off_and_compared_with_theory():
    sweep = {"importance_last": [0.1, 1.0]}
    config = toy_config(features={"n": 2, "probability": 0.3}, sweep=sweep, fit={"replicas": 2})
    weight = torch.tensor([[[[1.0, 0.0]], [[1.0, -1.0]]], [[[1.0, -1.0]], [[1.0, 0.9]]]])
    run = planted(config, {"W": weight, "b": torch.zeros(2, 2, 2)})
    np.testing.assert_equal(MEASURES["strategy"](run), [[0, 2], [2, np.nan]])
    np.testing.assert_equal(MEASURES["agrees_with_phase"](run), [[1, 0], [1, 0]])
    agreement = MEASURES["phase_agreement"](dataclasses.replace(run, best=np.array([0, 1])))
    np.testing.assert_equal(agreement, np.full((2, 2), 0.5))


def test_measures_of_neurons_leave_dead_ones_out():
    run = absolute([[1.0, 0.0], [-1.0, 0.05], [0.5, 0.5], [0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, -1.0]])
    expected = {
        "share_dead_neurons": 0.25,
        "share_monosemantic_90": 2 / 3,
        "share_monosemantic_999": 1 / 3,
        "mean_share": (1 + 1 / 1.05 + 0.5) / 3,
        "n_polysemantic": 1,
        "output_weights_positive": 1.0,
    }
    for name, value in expected.items():
        assert of(run, name) == pytest.approx([value]), name


def test_a_model_whose_neurons_are_all_dead_has_no_share_of_monosemantic_ones():
    run = absolute([[0.0, 0.0]], [[1.0], [1.0]])
    assert np.isnan(
        [*of(run, "share_monosemantic_90"), *of(run, "mean_share"), *of(run, "output_weights_positive")]
    ).all()
    assert of(run, "share_dead_neurons") == [1.0]


def test_neurons_of_all_layers_count():
    config = toy_config(
        features={"n": 2, "values": {"low": -1.0}}, target={"function": "abs"},
        network={"kind": "computation", "hidden": [2, 1]},
    )  # fmt: skip
    parameters = {
        "W1": torch.tensor([[[[1.0, 0.0], [-1.0, 0.0]]]]),
        "W2": torch.tensor([[[[1.0, 1.0]]]]),
        "W3": torch.tensor([[[[1.0], [0.0]]]]),
        "b": torch.zeros(1, 1, 2),
    }
    run = planted(config, parameters)
    assert Reading(run).share.tolist() == [[[1.0, 1.0, 1.0]]]
    assert of(run, "features_computed") == [1]
    assert np.isnan(of(run, "n_pairs")).all()


def test_outputs_computed_are_compared_with_the_naive_count():
    exact = absolute([[1.0, 0.0], [-1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    assert (of(exact, "features_computed"), of(exact, "features_computed_beyond_naive")) == ([1], [0])
    nothing = absolute([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    assert (of(nothing, "features_computed"), of(nothing, "features_computed_beyond_naive")) == ([0], [-1])


def test_a_constant_loss_is_the_variance_times_importance():
    run = absolute([[1.0, 0.0]], [[1.0], [0.0]], features={"n": 2, "importance_decay": 0.5, "probability": 1.0})
    np.testing.assert_allclose(Reading(run).constant_losses, [[1 / 12, 1 / 24]], rtol=0.03)
    assert run.naive[0].constant_loss == pytest.approx(Reading(run).constant_losses.mean(), rel=1e-6)


def test_accuracy_is_the_share_of_classes_predicted_correctly():
    config = toy_config(
        features={"n": 2, "probability": 0.5, "values": {"kind": "choice", "choices": [1.0]}},
        target={"function": "one_hot", "levels": [0.0, 1.0]},
        network={"kind": "computation", "hidden": 1, "output": "linear"},
        fit={"loss": "cross_entropy", "replicas": 2},
    )
    # Replica 0 takes every feature for inactive; replica 1 knows of feature 0 when it is not.
    last = torch.tensor([[[[0.0], [0.0], [0.0], [0.0]], [[0.0], [1.0], [0.0], [0.0]]]])
    bias = torch.tensor([[[0.5, 0.0, 0.5, 0.0]] * 2])
    run = planted(config, {"W1": torch.tensor([[[[1.0, 0.0]]] * 2]), "W2": last, "b": bias}, losses=[[1.0, 0.5]])
    assert of(run, "accuracy") == pytest.approx([0.5, 0.75], abs=0.02)
    assert np.isnan([*of(run, "features_computed"), *of(run, "loss_of_one_active")]).all()


def test_motifs_have_their_counts():
    run = absolute(
        [[2.0, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]],
        [[0.5, 0.0, 0.0, 0.0], [2.0, -4.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]],
    )
    counts = {"n_mono_pairs": 1, "n_antipodal_motifs": 0, "n_pairs": 1, "n_asymmetric_motifs": 1, "n_inhibitors": 1}
    for name, value in counts.items():
        assert of(run, name) == [value], name
    assert of(run, "output_weights_positive") == [4 / 5]


def test_a_measure_is_not_a_number_for_a_toy_that_it_does_not_speak_of():
    run = absolute([[1.0], [-1.0]], [[1.0, 1.0]])
    for name in ("features_represented", "strategy", "pair_cosine_within", "features_represented_last_class"):
        assert np.isnan(of(run, name)).all()
    assert np.isnan(of(bottleneck(PENTAGON), "share_monosemantic_90")).all()


def test_every_measure_says_what_it_is_and_gives_one_number_a_replica():
    for run in (bottleneck(PENTAGON, PAIRS), absolute([[1.0, 0.0]], [[1.0], [0.0]])):
        reading = Reading(run)
        for name, measure in MEASURES.items():
            values = measure(reading)
            assert (measure.name, values.shape, values.dtype) == (name, run.losses.shape, np.float64)
            assert measure.says.endswith(".")


def test_measures_read_a_toy_from_its_directory(tmp_path):
    config = toy_config(
        features={"n": 4, "values": {"low": -1.0}},
        target={"function": "abs"},
        network={"kind": "computation", "hidden": 3},
        fit={"steps": 3, "replicas": 2, "curve_points": 3},
    )
    reading = Reading(run_toy(config, tmp_path / "toy").run)
    applies = [name for name, measure in MEASURES.items() if measure.scope.holds(config)]
    assert {name: MEASURES[name](reading).shape for name in applies} == dict.fromkeys(applies, (1, 2))


def test_an_unknown_measure_gets_the_nearest_name_as_a_suggestion():
    with pytest.raises(BadInput, match=r"'feature_represented' is not known; did you mean 'features_represented'"):
        measure_named("feature_represented")


def test_every_name_that_a_toml_may_ask_is_measured() -> None:
    assert MEASURES.keys() == SCOPES.keys()


def test_measures_of_training_are_those_that_other_weights_leave_as_they_are(tmp_path: Path) -> None:
    constant: set[str] = set()
    changed: set[str] = set()
    for name, values in (("bottleneck", toys.PENTAGON), ("computation", toys.ABSOLUTE)):
        reading = Reading(toys.trained(tmp_path / name, values))
        for measure in MEASURES.values():
            if measure.scope.holds(reading.run.config):
                same = np.array_equal(untrained(reading, measure)[0], measure(reading), equal_nan=True)
                (constant if same else changed).add(measure.name)
    assert constant - changed >= OF_TRAINING
    assert not changed & OF_TRAINING


def test_numbers_of_problems_that_a_toml_may_name_are_those_of_the_catalogue() -> None:
    numbers = {name for name in entries() if is_problem(name)}
    assert numbers == {f"4.{i}" for i in range(1, PROBLEMS + 1)}
