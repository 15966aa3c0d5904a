"""Who descends from whom: parents found by their hash, births, and how far weights have parted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.fission.lineage import birth_of, descent_of, families_of, weight_figures, widened_layers
from tests.analyze.fission.widened import small_study, widened_run, with_start
from train.checkpoint import load, open_step, step_directory, steps
from train.config import WidenPlan
from train.errors import BadInput
from train.training_run import run
from train.widening.command import widen_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("lineage"))


def test_families_hold_the_copies_of_each_parent(place: Path) -> None:
    child = load(place / "runs/wide-s0")
    descent = descent_of(child, 0)
    assert descent.parent.hash == load(place / "runs/parent-s0").hash
    assert descent.families.shape == (16, 3)
    assert descent.n_fresh == 0
    born, parent = descent.birth.model().mlp(0), descent.parent.model().mlp(0)
    for index, family in enumerate(descent.families):
        for neuron in family:
            assert torch.equal(born.fc_in.weight[neuron], parent.fc_in.weight[index])


def test_neurons_drawn_anew_are_in_no_family() -> None:
    assert families_of(np.array([0, 1, 2, -1, -1, -1]), 3).tolist() == [[0], [1], [2]]
    assert families_of(np.array([1, 0, 1, 0, -1]), 2).tolist() == [[1, 3], [0, 2]]


def test_parents_with_unequal_numbers_of_children_are_refused() -> None:
    with pytest.raises(BadInput, match="equally many"):
        families_of(np.array([0, 0, 1]), 2)
    with pytest.raises(BadInput, match="equally many"):
        families_of(np.array([0, 1]), 3)


def test_a_run_that_was_never_widened_is_refused(place: Path) -> None:
    with pytest.raises(BadInput, match=r"plain-s0.*was never widened"):
        widened_layers(load(place / "runs/plain-s0"))


def test_a_layer_that_was_not_widened_is_refused(place: Path) -> None:
    with pytest.raises(BadInput, match="layer 1 was not widened; those that were: 0"):
        descent_of(load(place / "runs/wide-s0"), 1)


@pytest.fixture
def moved(place: Path, tmp_path: Path) -> Path:
    """The child alone, away from where it was trained, its record pointing nowhere."""
    shutil.copytree(place / "runs" / "wide-s0", tmp_path / "runs" / "wide-s0")
    return tmp_path / "runs" / "wide-s0"


def test_a_parent_is_found_beside_a_run_that_was_moved(place: Path, moved: Path, monkeypatch) -> None:
    monkeypatch.chdir(moved.parent)
    (place / "runs/parent-s0").rename(place / "runs/away")
    try:
        with pytest.raises(
            BadInput, match=r"its parent .* is neither at .* nor among the runs beside it; give --parent"
        ):
            descent_of(load(moved), 0)
        assert descent_of(load(moved), 0, place / "runs/away").parent.step == 60
        shutil.copytree(place / "runs/away", moved.parent / "another-name")
        assert descent_of(load(moved), 0).parent.directory.parent.name == "another-name"
    finally:
        (place / "runs/away").rename(place / "runs/parent-s0")


def test_another_checkpoint_is_not_mistaken_for_the_parent(place: Path) -> None:
    child = load(place / "runs/wide-s0")
    for other in (place / "runs/plain-s0", step_directory(place / "runs/parent-s0", 0)):
        with pytest.raises(BadInput, match=r"--parent .*: no step there is one that .* was widened from"):
            descent_of(child, 0, other)
    with pytest.raises(BadInput, match="no such directory"):
        descent_of(child, 0, place / "nowhere")


def test_twice_widened_neurons_have_a_direct_parent_and_a_first_ancestor(place: Path) -> None:
    twice = place / "runs/twice-s0"
    run(widened_run(place / "data", place / "runs/wide-s0", factor=2), twice)
    child = load(twice)
    direct = descent_of(child, 0)
    assert direct.parent.hash == load(place / "runs/wide-s0").hash
    assert direct.families.shape == (48, 2)
    first = descent_of(child, 0, place / "runs/parent-s0")
    assert first.parent.hash == load(place / "runs/parent-s0").hash
    assert first.families.shape == (16, 6)
    middle = load(place / "runs/wide-s0").lineage
    assert middle is not None
    for grandparent, family in enumerate(first.families):
        parents = [int(np.flatnonzero((direct.families == neuron).any(1))[0]) for neuron in family]
        assert {int(middle.parents[0][parent]) for parent in parents} == {grandparent}


def test_the_birth_of_a_run_that_goes_on_from_a_widened_one_is_that_ones_birth(place: Path) -> None:
    source = place / "runs/parent-s0"
    widen_checkpoint(source, WidenPlan(layers=(0,), factor=2), place / "data", place / "runs/by-hand-s0")
    tuned = with_start(widened_run(place / "data", source), place / "runs/by-hand-s0")
    run(tuned, place / "runs/tuned-s0")
    run(with_start(tuned, place / "runs/tuned-s0"), place / "runs/longer-s0")
    longer = load(place / "runs/longer-s0")
    assert descent_of(longer, 0).parent.hash == load(source).hash
    born = birth_of(longer)
    assert born.state["run"] == "tuned-s0"
    assert born.step == 0
    weights = (
        each.model().mlp(0).fc_out.weight for each in (born, open_step(place / "runs/by-hand-s0/step-000000000"))
    )
    assert torch.equal(*weights)


def test_a_birth_that_was_deleted_is_named(moved: Path, place: Path) -> None:
    shutil.rmtree(step_directory(moved, 0))
    with pytest.raises(BadInput, match="step-000000000: not there"):
        descent_of(load(moved), 0, place / "runs/parent-s0")


def test_weight_figures_are_cosines_and_distances_over_lengths(place: Path) -> None:
    child = load(place / "runs/wide-s0")
    descent = descent_of(child, 0)
    model, birth = child.model(), descent.birth.model()
    rows, columns = (model.mlp(0).fc_in.weight, model.mlp(0).fc_out.weight)
    with torch.no_grad():
        rows[descent.families[3]] = torch.tensor([[3.0, 4], [4, 3], [-3, -4]]).repeat(1, 4)
        columns[:, descent.families[3, 0]] = 2 * birth.mlp(0).fc_out.weight[:, descent.families[3, 0]]
    found = weight_figures(model, birth, 0, descent.families)
    assert torch.allclose(found.cos_in[3, 0], torch.tensor([1.0, 0.96, -1.0]).double())
    assert torch.allclose(found.moved_out[3, 0], torch.tensor(1.0).double())
    at_birth = weight_figures(birth, birth, 0, descent.families)
    assert float(at_birth.moved_in.abs().max()) == 0
    assert float((at_birth.cos_in - 1).abs().max()) < 1e-12
    assert float(at_birth.cos_out.min()) < 0.99  # zero-sum noise stands on W_out


def test_movement_from_weights_of_zero_is_unknown(place: Path) -> None:
    child = load(place / "runs/wide-s0")
    descent = descent_of(child, 0)
    birth = descent.birth.model()
    with torch.no_grad():
        birth.mlp(0).fc_out.weight[:, descent.families[0, 1]] = 0
    found = weight_figures(child.model(), birth, 0, descent.families)
    assert torch.isnan(found.moved_out[0, 1])
    assert bool(found.moved_in.isfinite().all())


def test_every_step_of_the_run_has_the_same_families(place: Path) -> None:
    directory = place / "runs/wide-s0"
    for step in steps(directory):
        found = descent_of(open_step(step_directory(directory, step)), 0).families
        assert np.array_equal(found, descent_of(load(directory), 0).families)
