"""Results that move: data and checkpoints are found by their hashes, or one line says how to name their place."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from analyze.activations.provenance import held_out, origin_of
from analyze.activations.store import open_activations
from analyze.scores.store import read_scores
from tests.commands import Command
from tests.conftest import once
from tests.train.fixtures import small_data, small_run
from train.checkpoint import load
from train.locate import DATA_VARIABLE
from train.training_run import run

QUICK = ("--scores", "k_eff", "--nulls", "rotated", "w_in_rotated")
PLAN = {"layers": [0], "factor": 2, "noise": "zero_sum", "sigma": 0.1}


def made(root: Path) -> None:
    """A project: data, a run and a run that widens it. It has moved since, so that no recorded path is there."""
    built = root / "built"
    (built / "data").mkdir(parents=True)
    data = small_data(root / "texts").rename(built / "data" / "small")
    parent = run(small_run(data), built / "checkpoints" / "m-s0").directory
    run(small_run(data, start=str(parent), widen=PLAN), built / "checkpoints" / "x2-s0")
    built.rename(root / "project")


def made_other(data: Path) -> None:
    """Make a copy of prepared data other data, by a fact of its manifest: its hash is another."""
    manifest = json.loads((data / "MANIFEST.json").read_text())
    (data / "MANIFEST.json").write_text(json.dumps(manifest | {"n_duplicates": manifest["n_duplicates"] + 1}))


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analyze_command: Command
) -> Path:
    """A copy of it, collected with relative paths from inside it; nothing lies where it was trained."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    root = shutil.copytree(once(tmp_path_factory, "moving", made) / "project", tmp_path / "project")
    monkeypatch.chdir(root)
    for step in ("step-000000000", "step-000000020"):
        said = analyze_command("collect", f"checkpoints/m-s0/{step}", "--data", "data/small", "--out", "results/mine")
        assert said.code == 0, said
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return root


def last(root: Path) -> Path:
    return root / "results" / "mine" / "m-s0" / "step-000000020" / "L0.mid"


def table_of(root: Path) -> pl.DataFrame:
    return read_scores(last(root).with_name("L0.mid.scores"))[0]


def test_everything_under_a_new_root_and_from_another_directory_gives_the_same(
    project: Path, tmp_path: Path, analyze_command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project)
    assert analyze_command("score", "results", *QUICK).code == 0
    before = table_of(project)
    assert set(before["null"]) == {"none", "rotated", "w_in_rotated"}
    shutil.rmtree(last(project).with_name("L0.mid.scores"))
    root = tmp_path / "another machine" / "deep"
    root.parent.mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    project.rename(root)
    assert analyze_command("score", root / "results", *QUICK).code == 0
    assert table_of(root).equals(before)
    monkeypatch.chdir(root.parent)
    words = {
        "probe": ("deep/results", "--out", "deep/results/mine", "--families", "position in row", "--k", 1),
        "fission": ("deep/checkpoints/x2-s0", "--data", "deep/data/small", "--out", "deep/results/mine"),
        "compare": ("deep/results/mine", "--out", "deep/results/mine"),
        "report": ("deep/results/mine",),
    }
    for command, rest in words.items():
        said = analyze_command(command, *rest)
        assert said.code == 0, said
    assert "The text of examples is not shown" not in (root / "results" / "mine" / "report.html").read_text()


def test_data_that_lie_elsewhere_are_named_or_found_by_the_variable(
    project: Path, tmp_path: Path, analyze_command: Command, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "store").mkdir()
    data = shutil.move(project / "data" / "small", tmp_path / "store" / "renamed")
    said = analyze_command("score", project / "results", *QUICK)
    assert said.is_refusal(2, "data/small: not there", DATA_VARIABLE, "--data")
    assert not list(project.rglob("*.scores"))
    other = shutil.copytree(data, tmp_path / "other")
    made_other(other)
    assert analyze_command("score", project / "results", *QUICK, "--data", other).is_refusal(2, "--data")
    said = analyze_command("score", project / "results", *QUICK, "--data", tmp_path / "typo")
    assert said.is_refusal(2, "--data", "typo: no such directory")
    assert analyze_command("score", project / "results", *QUICK, "--data", tmp_path / "store").code == 0
    first = table_of(project)
    for scores in project.rglob("*.scores"):
        shutil.rmtree(scores)
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join([str(other), str(data)]))
    assert analyze_command("score", project / "results", *QUICK).code == 0
    assert table_of(project).equals(first)
    monkeypatch.delenv(DATA_VARIABLE)
    report, page = ("report", project / "results" / "mine"), project / "results" / "mine" / "report.html"
    assert analyze_command(*report).code == 0
    assert "name their place with --data" in page.read_text()
    assert analyze_command(*report, "--data", data).code == 0
    assert "The text of examples is not shown" not in page.read_text()
    probe = ("probe", project / "results", "--out", tmp_path / "probes", "--families", "position in row", "--k", 1)
    assert analyze_command(*probe).is_refusal(2, "--data")
    assert analyze_command(*probe, "--data", data).code == 0


def test_a_directory_of_other_data_at_the_old_path_is_not_taken(
    project: Path, tmp_path: Path, analyze_command: Command
):
    shutil.move(project / "data" / "small", tmp_path / "right")
    other = shutil.copytree(tmp_path / "right", project / "data" / "small")
    made_other(other)
    assert analyze_command("score", project / "results", *QUICK).is_refusal(2, "--data", "hash")
    assert analyze_command("score", project / "results", *QUICK, "--data", other, tmp_path / "right").code == 0


@pytest.mark.parametrize("words", [(), ("--scores", "k_eff"), QUICK])
def test_a_null_whose_checkpoint_is_nowhere_is_refused_though_nobody_named_it(
    project: Path, tmp_path: Path, analyze_command: Command, words: tuple[str, ...]
):
    (project / "checkpoints").rename(tmp_path / "elsewhere")
    said = analyze_command("score", project / "results", *words)
    assert said.is_refusal(2, "w_in_rotated", "m-s0", "--checkpoints", "--nulls")
    assert not list(project.rglob("*.scores"))


def test_a_checkpoint_that_has_moved_is_named_or_its_null_left_out(
    project: Path, tmp_path: Path, analyze_command: Command
):
    assert analyze_command("score", last(project), *QUICK).code == 0
    before = table_of(project)
    shutil.rmtree(last(project).with_name("L0.mid.scores"))
    (project / "checkpoints").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "m-s0").rename(tmp_path / "elsewhere" / "another name")
    assert analyze_command("score", last(project), "--scores", "k_eff", "--nulls", "rotated").code == 0
    assert set(table_of(project)["null"]) == {"none", "rotated"}
    for place in (tmp_path / "elsewhere", load(tmp_path / "elsewhere" / "another name").directory):
        assert analyze_command("score", last(project), *QUICK, "--checkpoints", place).code == 0
        assert table_of(project).equals(before)
        shutil.rmtree(last(project).with_name("L0.mid.scores"))
    said = analyze_command("score", last(project), *QUICK, "--checkpoints", tmp_path / "typo")
    assert said.is_refusal(2, "--checkpoints", "typo: no such directory")


def test_a_score_of_the_weights_is_refused_where_it_was_named_and_na_with_its_reason_where_not(
    project: Path, tmp_path: Path, analyze_command: Command
):
    (project / "checkpoints").rename(tmp_path / "elsewhere")
    named = ("score", last(project), "--scores", "output", "--nulls", "rotated")
    assert analyze_command(*named).is_refusal(2, "output", "--checkpoints", "--scores")
    unnamed = ("score", last(project), "--nulls", "rotated")
    for _ in range(2):
        assert "output (needs its checkpoint" in analyze_command(*unnamed).out
        assert table_of(project)["output"].null_count() == len(table_of(project))
    assert analyze_command(*named).is_refusal(2, "output", "--checkpoints", "--scores")
    assert analyze_command("compare", project / "results", "--out", project / "out").code == 0
    assert "needs its checkpoint, which was not found" in (project / "out" / "comparison.md").read_text()
    said = analyze_command(*unnamed, "--checkpoints", tmp_path / "elsewhere")
    assert said.out.startswith("wrote ")
    assert "output (needs" not in said.out


def test_a_null_that_the_activations_do_not_allow_is_na_with_the_reason_in_the_table(
    project: Path, analyze_command: Command
):
    """One neuron cannot be turned among others."""
    collect = ("collect", project / "checkpoints" / "m-s0", "--data", project / "data" / "small")
    assert analyze_command(*collect, "--out", project / "one", "--max-neurons", 1).code == 0
    for did in ("wrote", "found"):
        said = analyze_command("score", project / "one", *QUICK)
        assert said.out.startswith(did)
        assert "rotated (needs two neurons that are not dead), w_in_rotated (needs two neurons" in said.out
    assert analyze_command("compare", project / "one", "--out", project / "out").code == 0
    chance = (project / "out" / "comparison.md").read_text().split("## Against chance")[1].split("\n|")[0]
    assert "NA: rotated needs two neurons that are not dead: m L0.mid." in chance


def test_from_python_moved_results_find_what_they_came_from(project: Path, tmp_path: Path):
    root = project.rename(tmp_path / "moved")
    acts = open_activations(last(root))
    assert held_out(acts).directory == root / "data" / "small"
    origin = origin_of(acts)
    assert origin is not None
    assert origin.checkpoint.directory == root / "checkpoints" / "m-s0" / "step-000000020"


def test_a_widened_run_whose_parent_lies_elsewhere_is_followed_from_the_place_that_is_named(
    project: Path, tmp_path: Path, analyze_command: Command
):
    (tmp_path / "elsewhere").mkdir()
    (project / "checkpoints" / "m-s0").rename(tmp_path / "elsewhere" / "renamed")
    words = ("--data", project / "data" / "small", "--out", project / "results" / "mine")
    fission = ("fission", project / "checkpoints" / "x2-s0", *words)
    assert analyze_command(*fission).is_refusal(2, "its parent", "--parent or --checkpoints")
    parent = load(tmp_path / "elsewhere" / "renamed")
    said = analyze_command(*fission, "--checkpoints", tmp_path / "elsewhere")
    assert said.code == 0
    assert f"{parent.state['run']} (step 20)" in said.out
    assert analyze_command(*fission, "--checkpoints", tmp_path / "typo").is_refusal(2, "--checkpoints", "typo")
