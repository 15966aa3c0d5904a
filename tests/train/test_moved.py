"""Runs whose data or parent have moved: paths are hints, hashes decide."""

import shutil
from pathlib import Path

import pytest

from tests.train.fixtures import small_data, small_run
from train.checkpoint import load, step_directory, steps
from train.config import WidenPlan
from train.errors import BadInput
from train.files import manifest_hash
from train.locate import DATA_VARIABLE, find_data, find_step
from train.training_run import run
from train.widening.command import widen_checkpoint

PLAN = {"layers": [0], "factor": 2, "noise": "zero_sum", "sigma": 0.1, "seed": 3}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests start in an empty directory, without the variable."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


@pytest.fixture
def project(data: Path, finished: Path, tmp_path: Path) -> Path:
    """A project's directory: data, a run that was stopped at step 10, both as they were made there."""
    root = tmp_path / "project"
    shutil.copytree(data, root / "data" / "small")
    run(small_run(root / "data" / "small"), root / "runs" / "gelu-s0")
    stop_at(root / "runs" / "gelu-s0", 10)
    return root


def stop_at(out: Path, last: int) -> None:
    """Leave of a run what it had left after step `last`."""
    for step in steps(out):
        if step > last:
            shutil.rmtree(step_directory(out, step))


def test_a_run_goes_on_with_the_same_data_at_another_path(project: Path, finished: Path, tmp_path: Path):
    moved = shutil.move(project / "data" / "small", tmp_path / "elsewhere")
    outcome = run(small_run(Path(moved)), project / "runs" / "gelu-s0")
    assert not outcome.found
    assert outcome.checkpoint.hash == load(finished).hash
    assert outcome.checkpoint.state["data"]["directory"] == str(moved)


def test_a_run_goes_on_with_a_relative_path_for_an_absolute_one(
    project: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project)
    assert run(small_run(Path("data/small")), "runs/gelu-s0").checkpoint.hash == load(finished).hash
    monkeypatch.chdir(project / "runs")
    assert run(small_run(Path("../data/small")), "gelu-s0").found


def test_a_run_under_a_new_root_finds_its_data_beside_it(project: Path, finished: Path, tmp_path: Path):
    """The whole project on another machine, the same command: the path in the config is not there."""
    config = small_run(project / "data" / "small")
    project.rename(tmp_path / "other-machine")
    outcome = run(config, tmp_path / "other-machine" / "runs" / "gelu-s0")
    assert not outcome.found
    assert outcome.checkpoint.hash == load(finished).hash


def test_a_run_finds_its_data_under_the_variable(
    project: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = small_run(project / "data" / "small")
    (tmp_path / "store" / "texts").mkdir(parents=True)
    shutil.move(project / "data" / "small", tmp_path / "store" / "texts" / "renamed")
    with pytest.raises(BadInput, match=rf"data: .*data/small is not there.*{DATA_VARIABLE}.*--data"):
        run(config, project / "runs" / "gelu-s0")
    monkeypatch.setenv(DATA_VARIABLE, f"{tmp_path / 'nowhere'}:{tmp_path / 'store'}")
    assert run(config, project / "runs" / "gelu-s0").checkpoint.hash == load(finished).hash


def test_other_data_are_refused_wherever_they_lie(project: Path, tmp_path: Path):
    other = small_data(tmp_path / "other")
    manifest = (other / "MANIFEST.json").read_text()
    (other / "MANIFEST.json").write_text(manifest.replace("\n", "\n\n", 1))
    assert manifest_hash(other) != manifest_hash(project / "data" / "small")
    with pytest.raises(BadInput, match=rf"data: {other} is other data than"):
        run(small_run(other), project / "runs" / "gelu-s0")
    shutil.rmtree(project / "data" / "small")
    shutil.copytree(other, project / "data" / "small")
    with pytest.raises(BadInput, match="is other data than"):
        run(small_run(project / "data" / "small"), project / "runs" / "gelu-s0")


def test_a_run_without_a_step_that_says_its_data_keeps_to_its_path(project: Path, tmp_path: Path):
    stop_at(project / "runs" / "gelu-s0", -1)
    moved = shutil.copytree(project / "data" / "small", tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="holds a run with data = "):
        run(small_run(moved), project / "runs" / "gelu-s0")


def widened(project: Path, **over: object) -> tuple[Path, Path]:
    """A finished parent and a run that widens it, stopped at step 8."""
    data, parent, out = project / "data" / "small", project / "runs" / "gelu-s0", project / "runs" / "gelu-x2-s0"
    run(small_run(data), parent)
    run(small_run(data, start=str(parent), widen=PLAN, **over), out)
    stop_at(out, 8)
    return parent, out


def test_a_widened_run_goes_on_from_a_parent_that_has_moved(project: Path, tmp_path: Path):
    parent, out = widened(project)
    config = small_run(project / "data" / "small", start=str(parent), widen=PLAN)
    wanted = run(config, shutil.copytree(out, tmp_path / "twin" / out.name)).checkpoint.hash
    moved = parent.rename(project / "runs" / "renamed")
    # Its own name for the parent finds it beside the run; so does a new path.
    again = shutil.copytree(out, project / "runs" / "again" / out.name)
    assert run(config, out).checkpoint.hash == wanted
    named = small_run(project / "data" / "small", start=str(moved), widen=PLAN)
    assert run(named, again).checkpoint.hash == wanted


def test_a_continued_run_under_a_new_root_finds_parent_and_data(project: Path, tmp_path: Path):
    data, parent, out = project / "data" / "small", project / "runs" / "gelu-s0", project / "runs" / "on-s0"
    run(small_run(data), parent)
    config = small_run(data, start=str(parent))
    wanted = run(config, out).checkpoint.hash
    stop_at(out, 8)
    project.rename(tmp_path / "other")
    assert run(config, tmp_path / "other" / "runs" / "on-s0").checkpoint.hash == wanted


def test_another_parent_is_refused_wherever_it_lies(project: Path):
    parent, out = widened(project)
    other = run(small_run(project / "data" / "small", seed=1), project / "runs" / "gelu-s1").directory
    with pytest.raises(BadInput, match=r"is not what .* started from"):
        run(small_run(project / "data" / "small", start=str(other), widen=PLAN), out)
    shutil.rmtree(parent)
    with pytest.raises(BadInput, match="no such directory"):
        run(small_run(project / "data" / "small", start=str(parent), widen=PLAN), out)


def test_the_receipt_of_a_widening_is_measured_on_the_checkpoints_data_after_a_move(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = project.rename(tmp_path / "other")
    plan = WidenPlan.model_validate(PLAN)
    assert "evaluation rows" in widen_checkpoint(root / "runs" / "gelu-s0", plan, out=root / "runs" / "wide")
    # Other data at the recorded path are not the checkpoint's.
    shutil.rmtree(root / "data" / "small")
    manifest = shutil.copytree(small_data(tmp_path / "texts"), root / "data" / "small") / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("\n", "\n\n", 1))
    assert "random tokens" in widen_checkpoint(root / "runs" / "gelu-s0", plan, out=root / "runs" / "wider")
    assert "do not lie at" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x[1]", "two words", "üß*", "-dash"])
def test_what_has_moved_is_found_under_any_name(project: Path, tmp_path: Path, name: str):
    root = project.rename(tmp_path / name)
    data, step = root / "data" / "small", step_directory(root / "runs" / "gelu-s0", 8)
    gone = project / "data" / "small"
    assert find_data(manifest_hash(data), gone, beside=step) == data
    assert find_data(manifest_hash(data), "", given=[root]) == data
    assert find_step(manifest_hash(step), project / "x" / step.name, given=[root]) == step
    assert find_data("0" * 64, gone, beside=step, given=[root]) is None
    with pytest.raises(BadInput, match=r"--data .*no such directory"):
        find_data("0" * 64, gone, given=[tmp_path / "nothing"])
