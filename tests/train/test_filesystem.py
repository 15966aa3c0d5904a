"""File systems that lack something: what results cannot do without is missed before long work, the rest is not."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.inputs import write_inputs
from tests.train.faults import disk_error
from train import filesystem
from train.data.resolve import ensure_data
from train.errors import EnvironmentProblem
from train.files import locked, publishing, verify, write_atomic
from train.filesystem import require_features
from train.hashes import hashed

UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_tried", set())
    filesystem._warn.cache_clear()


def failing_on(monkeypatch: pytest.MonkeyPatch, call: str, error: int, when: Callable[..., bool]) -> None:
    """Let a call of `os` fail where its arguments say so."""
    real = getattr(os, call)

    def fails(*args: Any, **keywords: Any) -> Any:
        if when(*args):
            disk_error(error)()
        return real(*args, **keywords)

    monkeypatch.setattr(os, call, fails)


@pytest.mark.parametrize("error", UNSUPPORTED)
@pytest.mark.parametrize(
    ("call", "when", "lacks"),
    [
        ("replace", lambda old, new: True, "rename a file over another"),
        ("rename", lambda old, new: os.path.isdir(old), "rename a directory"),
        ("ftruncate", lambda handle, length: True, "write in the middle of a file"),
        ("pwrite", lambda handle, data, offset: offset > 0, "write in the middle of a file"),
    ],
)
def test_what_results_cannot_do_without_is_missed_before_any_work(tmp_path, monkeypatch, call, when, lacks, error):
    failing_on(monkeypatch, call, error, when)
    place = tmp_path / "results"
    expected = rf"results: its file system cannot {lacks} \(.+\); choose a directory on another one"
    for _ in range(2):
        with pytest.raises(EnvironmentProblem, match=expected):
            require_features(place)
    with pytest.raises(EnvironmentProblem, match=expected), locked(place):
        raise AssertionError("work has begun")
    assert [path.name for path in place.iterdir()] == [".lock"]


@pytest.mark.parametrize("error", [errno.ENOLCK, *UNSUPPORTED])
def test_a_missing_lock_is_missed_before_any_work(tmp_path, monkeypatch, error):
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: disk_error(error)())
    with pytest.raises(EnvironmentProblem, match=r"run: cannot be locked \(.+\)"), locked(tmp_path / "run"):
        raise AssertionError("work has begun")


@pytest.mark.parametrize("error", [errno.ENOLCK, *UNSUPPORTED])
def test_a_place_for_prepared_data_that_cannot_be_locked_is_named(tmp_path, monkeypatch, error):
    write_inputs(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: disk_error(error)())
    with pytest.raises(EnvironmentProblem, match=r"prepared: cannot be locked \(.+\)"):
        ensure_data(str(tmp_path / "data.toml"), tmp_path / "prepared")
    assert not (tmp_path / "prepared" / "d").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_or_closed_disk_is_no_missing_feature(tmp_path, monkeypatch, error):
    failing_on(monkeypatch, "mkdir", error, lambda path, *mode: ".tmp-probe" in os.fspath(path))
    with pytest.raises(EnvironmentProblem, match=rf"cannot be written \({os.strerror(error)}\)$"):
        require_features(tmp_path)


def test_what_is_there_is_tried_once_and_leaves_nothing(tmp_path, monkeypatch):
    require_features(tmp_path / "new" / "place")
    assert list((tmp_path / "new" / "place").iterdir()) == []
    monkeypatch.setattr(os, "replace", lambda *_: disk_error(errno.EPERM)())
    require_features(tmp_path / "new" / "place")


def publish(place: Path) -> None:
    """Everything that a result is written with."""
    with locked(place):
        work = place / "work"
        work.write_bytes(b"large")
        known = {"large.bin": hashed(work)}
        for turn in range(2):
            with publishing(place / "result", {"turn": turn}, replace=True, known=known, adopted={"large.bin": work}):
                pass
            work.write_bytes(b"large")
        write_atomic(place / "file", b"x")
    assert verify(place / "result")["turn"] == 1


@pytest.mark.parametrize("error", UNSUPPORTED)
@pytest.mark.parametrize("call", ["link", "symlink", "chmod", "utime", "fsync of a directory"])
def test_what_is_merely_nice_is_done_without(tmp_path, monkeypatch, capsys, call, error):
    """exFAT and many cloud mounts have no links and no modes; some keep no times, some force no directories."""
    if call == "fsync of a directory":
        failing_on(monkeypatch, "fsync", error, lambda handle: os.path.isdir(f"/proc/self/fd/{handle}"))
    else:
        monkeypatch.setattr(os, call, lambda *_, **__: disk_error(error)())
    publish(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", UNSUPPORTED)
def test_a_disk_that_cannot_force_files_is_used_with_one_warning(tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr(os, "fsync", lambda handle: disk_error(error)())
    publish(tmp_path)
    said = [line for line in capsys.readouterr().out.splitlines() if str(tmp_path) in line]
    assert len([line for line in said if line.startswith(f"warning: {tmp_path}: its file system cannot force")]) == 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_to_force_files_is_a_failure(tmp_path, monkeypatch, error):
    failing_on(monkeypatch, "fsync", error, lambda handle: not os.path.isdir(f"/proc/self/fd/{handle}"))
    with pytest.raises(EnvironmentProblem, match=os.strerror(error)):
        publish(tmp_path)
