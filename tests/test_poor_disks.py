"""Results on file systems that lack something: exFAT, cloud mounts, shares of other machines."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command
from tests.inputs import write_inputs
from tests.train.faults import disk_error
from train import filesystem
from train.files import verify

ROOT = Path(__file__).parents[1]
TOY = ("toy", ROOT / "configs" / "toy" / "abs-20-10.toml", "--fit.steps", "10", "--fit.batch", "32")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(filesystem, "_tried", set())
    write_inputs(tmp_path)
    return tmp_path


def lines(place: Path, train: Command, analyze: Command) -> list[tuple[Command, list[object]]]:
    """Every stage that works for long, in order."""
    data = place / "d"
    return [
        (train, ["prepare", place / "data.toml", "--out", data]),
        (train, ["run", place / "run.toml", "--data", data, "--out", place / "run"]),
        (train, ["widen", place / "run", "--layers", "0", "--factor", "2", "--data", data, "--out", place / "wide"]),
        (analyze, ["collect", place / "run", "--data", data, "--out", place / "results"]),
        (analyze, ["score", place / "results", "--scores", "rule_share", "--nulls", "rotated"]),
        (analyze, ["probe", place / "results", "--out", place / "probes", "--families", "casing", "--shifts", "1"]),
        (analyze, ["fission", place / "wide", "--data", data, "--out", place / "results"]),
        (train, [*TOY, "--out", place / "toy"]),
        (analyze, ["study", place / "study.toml", "--out", place / "study"]),
    ]


def missing_on(place: Path, call: Callable[..., None], error: int) -> Callable[..., None]:
    """The call of `os`, which the disk of `place` does not have and every other disk does."""

    n_paths = 2 if call in (os.link, os.symlink) else 1

    def attempt(*words: Any, **more: Any) -> None:
        if any(isinstance(word, int) or Path(os.fsdecode(word)).is_relative_to(place) for word in words[:n_paths]):
            disk_error(error)()
        call(*words, **more)

    return attempt


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP])
def test_every_stage_does_without_links_modes_times_and_forced_directories(
    place: Path, monkeypatch: pytest.MonkeyPatch, train_command: Command, analyze_command: Command, error: int
) -> None:
    fsync = os.fsync

    def of_files(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            disk_error(error)()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files)
    # Not on every disk: multiprocessing sets the modes of its own sockets.
    for call in ("link", "symlink", "chmod", "utime"):
        monkeypatch.setattr(os, call, missing_on(place, getattr(os, call), error))
    for command, words in lines(place, train_command, analyze_command):
        said = command(*words)
        assert (said.code, said.err) == (0, ""), (words, said)
    verify(next((place / "results").rglob("L0.mid.sample")))


def test_every_stage_that_works_for_long_names_what_is_missing_before_it_works(
    place: Path, monkeypatch: pytest.MonkeyPatch, train_command: Command, analyze_command: Command
) -> None:
    """One directory after the other comes to lie on a file system that cannot rename directories."""
    rename = os.rename

    def of_files(old: str, new: str) -> None:
        if os.path.isdir(old):
            disk_error(errno.ENOTSUP)()
        rename(old, new)

    for command, words in lines(place, train_command, analyze_command):
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", of_files)
            patch.setattr(filesystem, "_tried", set())
            before = sorted(path for path in place.rglob("*") if path.is_file() and path.name != ".lock")
            said = command(*words)
            assert said.is_refusal(3, str(place), "cannot rename a directory", "choose a directory on another one")
            assert sorted(path for path in place.rglob("*") if path.is_file() and path.name != ".lock") == before
        filesystem._tried.clear()
        said = command(*words)
        assert (said.code, said.err) == (0, ""), (words, said)


@pytest.mark.parametrize("error", [errno.EBUSY, errno.ENOTEMPTY])
def test_a_lock_that_cannot_be_deleted_while_it_is_open_stops_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, train_command: Command, analyze_command: Command, error: int
) -> None:
    """NFS and FUSE keep a file that is open under another name in its directory, which then cannot be deleted."""
    real = os.unlink

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        if Path(path).name == ".lock":
            disk_error(error)()
        real(path, dir_fd=dir_fd)

    todo = lines(place, train_command, analyze_command)
    monkeypatch.setattr(os, "unlink", unlink)
    for command, words in (*todo[:2], todo[3], todo[-2]):
        said = command(*words)
        assert (said.code, said.err) == (0, ""), (words, said)
