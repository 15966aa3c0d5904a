"""Locks of directories, and places that cannot hold a run: a fault is told before any work."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.train.faults import disk_error
from train.errors import BadInput, EnvironmentProblem
from train.files import locked
from train.filesystem import require_space

HOLDER = """
import sys, time
from pathlib import Path
from train.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_a_second_process_out_and_dies_with_the_first(tmp_path):
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match="another run is writing here"), locked(run):
            pass
        holder.kill()
    with locked(run):  # the file is still there: it is not what locks
        assert (run / ".lock").exists()


def test_looking_at_the_lock_does_not_turn_a_run_away(tmp_path):
    """`train status` holds the lock for an instant; a run that starts in it waits for that long."""
    with locked(tmp_path):
        pass
    handle = os.open(tmp_path / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.1, os.close, [handle]).start()
    with locked(tmp_path):
        pass


def test_a_directory_that_cannot_hold_a_run_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BadInput, match="is taken by a file"), locked(tmp_path / "file"):
        pass
    with pytest.raises(EnvironmentProblem, match="cannot be written"), locked(tmp_path / "file" / "run"):
        pass
    with pytest.raises(EnvironmentProblem, match="cannot be written"), locked(Path("/proc/polysem/run")):
        pass
    with pytest.raises(BadInput, match="not UTF-8"), locked(tmp_path / os.fsdecode(b"\xff")):
        pass
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_system_without_locks_is_not_mistaken_for_a_second_run(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: disk_error(37)())
    with pytest.raises(EnvironmentProblem, match="cannot be locked"), locked(tmp_path):
        pass


def test_too_little_disk_space_is_reported_before_it_is_needed(tmp_path):
    require_space(tmp_path, 1)
    with pytest.raises(EnvironmentProblem, match="MB free where"):
        require_space(tmp_path, 2**60)
