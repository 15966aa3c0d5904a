"""Steps of a run: which one is opened, and what a save leaves that fails."""

import os
import resource
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.train.checkpoints import use_all_of, write_step
from tests.train.faults import DISK_ERRORS, at_most, disk_error, edit_bytes, failing_call
from train import load
from train.checkpoint import step_directory, steps
from train.errors import BadInput


def two_steps(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    write_step(run, 3)
    write_step(run, 7)
    return run


def test_a_damaged_newest_step_is_skipped_with_a_message(tmp_path, capsys):
    run = two_steps(tmp_path)
    edit_bytes(step_directory(run, 7) / "optim.safetensors", lambda data: data.pop())
    assert load(run).step == 3
    said = capsys.readouterr().out
    assert "optim.safetensors" in said
    assert "falling back" in said
    edit_bytes(step_directory(run, 3) / "state.json", lambda data: data.append(0))
    with pytest.raises(BadInput, match="no checkpoint step that verifies"):
        load(run)


def test_other_entries_of_a_run_directory_are_not_steps(tmp_path):
    run = two_steps(tmp_path)
    whole = step_directory(run, 7)
    for name in (".tmp-step-000000009-1", ".del-step-000000008-1", "step-9", "step-0000000009", "step-00000000٩"):
        shutil.copytree(whole, run / name)
    shutil.copytree(whole, run / "step-000000009\n")
    (run / "step-000000011").write_bytes(b"a file")
    (run / "step-000000012").symlink_to(tmp_path / "nowhere")
    os.mkfifo(run / "step-000000013")
    with at_most(20):
        assert steps(run) == [3, 7, 11, 12, 13]
        assert load(run).step == 7


def test_the_next_save_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    run = two_steps(tmp_path)
    for name in (".tmp-step-000000009-4194304", ".del-step-000000002-1", ".tmp-mine-1", ".notes"):
        (run / name).mkdir()
        (run / name / "part").write_bytes(b"half")
    write_step(run, 9)
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == [".notes", ".tmp-mine-1"]
    assert steps(run) == [3, 7, 9]


@pytest.mark.parametrize("name", ["with blanks", "münchen-漢字-🦆", "line\nbreak", "quo'te\"d", "-dash", "%s{}"])
def test_a_run_may_have_any_name(tmp_path, name):
    run = tmp_path / name
    write_step(run, 3)
    assert load(run).state["run"] == name
    load(str(run)).model()


@pytest.mark.parametrize("path", ["", "nowhere", "nul\0byte", "x" * 300])
def test_an_empty_place_is_bad_input(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"no such directory|holds no checkpoint|cannot be opened"):
        load(path)


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_save_that_fails_at_any_call_keeps_every_earlier_step_and_leaves_no_partial_one(tmp_path):
    run = two_steps(tmp_path)
    before = {step: content(step_directory(run, step)) for step in (3, 7)}
    number = 0
    while True:
        number += 1
        error = DISK_ERRORS[number % len(DISK_ERRORS)]
        with failing_call(number, disk_error(error)) as made:
            try:
                write_step(run, 9, seed=1)
                failed = False
            except OSError:
                failed = True
        assert {step: content(step_directory(run, step)) for step in (3, 7)} == before
        assert not [path for path in run.iterdir() if path.name.startswith(".")]
        for step in set(steps(run)) - {3, 7}:
            use_all_of(step_directory(run, step))
            shutil.rmtree(step_directory(run, step))
        if not failed and len(made) < number:
            break
    assert number > 15


def test_a_full_disk_fails_the_save_with_an_oserror_and_changes_nothing_else(tmp_path):
    """A limit on the size of files stands for the full disk; the weights are written by safetensors itself."""
    run = two_steps(tmp_path)
    before = {step: content(step_directory(run, step)) for step in (3, 7)}
    largest = max(len(each) for each in before[7].values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 10, 300, 1200, largest - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError):  # noqa: PT011  its words differ
                write_step(run, 9)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sorted(path.name for path in run.iterdir()) == ["step-000000003", "step-000000007"]
        assert {step: content(step_directory(run, step)) for step in (3, 7)} == before
    write_step(run, 9)
    assert load(run).step == 9


def test_an_equal_step_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    run = two_steps(tmp_path)
    old = content(step_directory(run, 7))
    number, seen = 0, set()
    while True:
        number += 1
        with failing_call(number, disk_error(DISK_ERRORS[0])) as made:
            try:
                write_step(run, 7, seed=5)
                failed = False
            except OSError:
                failed = True
        now = content(step_directory(run, 7))
        use_all_of(step_directory(run, 7))
        seen.add(now == old)
        assert now == old or load_file(step_directory(run, 7) / "model.safetensors")
        left = [path.name for path in run.iterdir() if path.name.startswith(".")]
        # Where deleting the old step failed, it lies where no reader looks, until the next save.
        assert not left or (now != old and left[0].startswith(".del-"))
        if now != old:
            shutil.rmtree(step_directory(run, 7))
            write_step(run, 7)
        if not failed and len(made) < number:
            break
    assert seen == {True, False}
