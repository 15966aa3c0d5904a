"""A toy that is stopped, killed or begun anew goes on to the same bits; what is in its way is named."""

import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.faults import edit_bytes
from tests.train.toys.small import small_toy
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.files import locked, verify
from train.toys.command import run_toy
from train.toys.fit import _Run
from train.toys.room import Pace
from train.toys.runs import ToyRun
from train.toys.unfinished import Unfinished


def stop_before(step: int, monkeypatch, number: int = signal.SIGINT) -> None:
    """A signal that comes while the step before `step` is taken, or before all of them."""
    real_advance, real_train = _Run._advance, _Run.train

    def advance(run, at):
        if at == step - 1:
            os.kill(os.getpid(), number)
        real_advance(run, at)

    def train(run, *arguments):
        if step == 0:
            os.kill(os.getpid(), number)
        return real_train(run, *arguments)

    monkeypatch.setattr(_Run, "_advance", advance)
    monkeypatch.setattr(_Run, "train", train)


def same(a: ToyRun, b: ToyRun) -> bool:
    arrays = [(a.losses, b.losses), (a.per_output, b.per_output), (a.curves.losses, b.curves.losses)]
    tensors = [
        (one[name], other[name])
        for one, other in ((a.model.parameters, b.model.parameters), (a.snapshots, b.snapshots))
        for name in one
    ]
    return all(np.array_equal(*pair) for pair in arrays) and all(torch.equal(*pair) for pair in tensors)


def test_the_same_command_finds_its_result_and_leaves_it_as_it_is(finished):
    outcome = run_toy(small_toy(), finished.directory)
    assert outcome.found
    assert outcome.run.hash == finished.hash
    assert outcome.text().splitlines()[-1].startswith(f"found {finished.directory}: 2 instances x 3 replicas, 40 steps")
    assert [path.name for path in finished.directory.parent.iterdir()] == ["small"]


def test_the_description_of_an_experiment_may_change_and_is_updated(finished, copy):
    about = small_toy().about.model_copy(update={"outcome": "It did."})
    config = small_toy(about=about.model_dump(), expect=())
    outcome = run_toy(config, copy)
    assert outcome.found
    assert outcome.run.config.about.outcome == "It did."
    assert outcome.run.config.expect == ()
    assert same(outcome.run, finished)
    assert verify(copy)["environment"] == verify(finished.directory)["environment"]
    assert run_toy(config, copy).run.hash == outcome.run.hash


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"fit__lr": 2e-2}, "fit.lr = 0.01, now 0.02"),
        ({"sweep": {"probability": [0.1, 0.4, 0.5]}}, "sweep.probability"),
        ({"network__hidden": 6}, r"network.hidden = \[5\], now \[6\]"),
        ({"fit__replicas": 4}, "fit.replicas = 3, now 4"),
    ],
)
def test_a_changed_input_is_named_by_its_key(finished, changes, key):
    with pytest.raises(BadInput, match=f"small: holds a toy with {key}"):
        run_toy(small_toy(**changes), finished.directory)
    assert ToyRun.load(finished.directory).hash == finished.hash


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [(0,), (1,), (23,), (5, 6, 31)])
def test_a_stopped_toy_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch, steps, number):
    out = tmp_path / "small"
    for step in steps:
        with monkeypatch.context() as patch:
            stop_before(step, patch, number)
            with pytest.raises(Stopped, match=f"small: stopped after step {step} of 40; the same command goes on"):
                run_toy(small_toy(), out)
        assert not out.exists()
        assert [path.name for path in Unfinished(out).states()] == [f"state-{step:09d}"]
    outcome = run_toy(small_toy(), out)
    assert not outcome.found
    assert same(outcome.run, finished)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_killed_toy_goes_on_from_its_last_point(finished, tmp_path, monkeypatch):
    real = _Run._advance

    def dying(run, step):
        if step == 30:
            raise MemoryError
        return real(run, step)

    monkeypatch.setattr(_Run, "_advance", dying)
    out = tmp_path / "small"
    with pytest.raises(MemoryError):
        run_toy(small_toy(), out, Pace(save_seconds=0.0))
    assert [path.name for path in Unfinished(out).states()] == ["state-000000024"]
    begun: list[int] = []
    monkeypatch.setattr(_Run, "_advance", lambda run, step: (begun.append(step), real(run, step))[1])
    assert same(run_toy(small_toy(), out).run, finished)
    assert begun == list(range(24, 40))


def test_only_the_description_of_an_unfinished_experiment_may_change(tmp_path, monkeypatch):
    out = tmp_path / "small"
    with monkeypatch.context() as patch:
        stop_before(7, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), out)
    with pytest.raises(BadInput, match=r"holds an unfinished toy with fit.seed = 0, now 1; choose another --out"):
        run_toy(small_toy(fit__seed=1), out)
    assert len(Unfinished(out).states()) == 1
    assert run_toy(small_toy(expect=()), out).run.config.expect == ()


def test_a_damaged_state_is_skipped_with_a_message(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "small"
    with monkeypatch.context() as patch:
        stop_before(7, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), out)
    edit_bytes(Unfinished(out).states()[0] / "state.safetensors", lambda data: data.__setitem__(-3, data[-3] ^ 4))
    assert same(run_toy(small_toy(), out).run, finished)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert "does not match its hash" in said[0]
    assert "falling back" in said[0]


def test_leftovers_of_a_dead_process_are_removed_and_files_of_others_stay(tmp_path):
    for name in (".tmp-small-4194305", ".tmp-small-1-4194305", ".unfinished-small/.tmp-state-000000007-4194305"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "part").write_text("half")
    run_toy(small_toy(), tmp_path / "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-small-1-4194305", "small"]


def test_a_toy_that_diverges_leaves_nothing_in_the_way_of_another_rate(tmp_path):
    out = tmp_path / "small"
    wild = small_toy(fit__lr=1e30)
    with pytest.raises(Diverged, match=r"small: the loss of instance 0 .* is not finite at step \d+.*lower fit.lr"):
        run_toy(wild, out)
    assert list(tmp_path.iterdir()) == []
    assert not run_toy(small_toy(), out).found


def test_too_little_memory_or_disk_space_is_reported_beforehand_and_leaves_nothing(tmp_path, monkeypatch):
    out = tmp_path / "small"
    many = small_toy(fit__replicas=100_000, network__hidden=100_000)
    with pytest.raises(EnvironmentProblem, match=r"GB of memory, .* lower fit.replicas"):
        run_toy(many, out)
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(EnvironmentProblem, match="0 MB free where"):
        run_toy(small_toy(), out)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written_leaves_the_one_before(finished, tmp_path, monkeypatch):
    out, real = tmp_path / "small", Unfinished.save
    saved: list[int] = []

    def full(self, config, state):
        saved.append(state.step)
        if len(saved) > 1:
            monkeypatch.setattr("train.toys.unfinished.write_tensors", no_room)
        return real(self, config, state)

    def no_room(tensors, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "save", full)
        with pytest.raises(EnvironmentProblem, match=r"small: step 16 was not saved \(No space left on device\)"):
            run_toy(small_toy(), out, Pace(save_seconds=0.0))
    monkeypatch.undo()
    assert [path.name for path in Unfinished(out).states()] == ["state-000000008"]
    assert same(run_toy(small_toy(), out).run, finished)


def test_a_result_that_cannot_be_written_is_reported_and_does_not_appear(tmp_path, monkeypatch):
    def no_room(table, schema, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("train.toys.runs.write_table", no_room)
    with pytest.raises(EnvironmentProblem, match=r"small: could not be written \(No space left on device\)"):
        run_toy(small_toy(), tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_train_the_same_toy(tmp_path):
    out = tmp_path / "small"
    with locked(Unfinished(out).directory), pytest.raises(BadInput, match="another run is writing here"):
        run_toy(small_toy(), out)
    assert run_toy(small_toy(), out).run.n_inst == 2


def test_an_output_directory_in_use_is_left_unchanged_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("thesis", "file"):
        with pytest.raises(BadInput, match=f"{name}: is taken by something that is not a toy; choose another --out"):
            run_toy(small_toy(), tmp_path / name)
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert not run_toy(small_toy(), tmp_path / "empty").found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "thesis"]


@pytest.mark.parametrize("name", ["a name with blanks", "zeile\n'ü 🦆\"", "x" * 250, "ü" * 120])
def test_a_toy_may_have_any_name(tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        stop_before(3, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), tmp_path / name)
    assert not run_toy(small_toy(), tmp_path / name).found
    assert run_toy(small_toy(), tmp_path / name).found
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_too_long_for_a_file_do_not_share_a_place(tmp_path):
    one, other = (Unfinished(tmp_path / ("x" * 240 + end)).directory for end in "ab")
    assert one != other


def test_a_toy_below_a_file_is_a_fault_of_the_environment(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "small", Path("/proc/polysem/small")):
        with pytest.raises(EnvironmentProblem, match="cannot be written"):
            run_toy(small_toy(), out)
