"""How a command leaves: exit code, one line, and a traceback only where it is asked for."""

import os
import subprocess
import sys

import pytest

from tests.commands import TRACEBACK, Command
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped, exit_with_one_line


@pytest.fixture
def command(train_command: Command) -> Command:
    return train_command


@pytest.mark.parametrize(
    ("failure", "code", "part"),
    [
        (BadInput("a: b"), 2, "error: a: b"),
        (EnvironmentProblem("a"), 3, "error: a"),
        (Diverged("a"), 4, "error: a"),
        (Stopped("a\nb"), 75, "error: a b"),
        (KeyboardInterrupt(), 75, "goes on from the last saved result"),
        (OSError(28, "No space left on device", "file"), 3, "error: file: No space left on device"),
        (OSError("no number"), 3, "no number"),
        (MemoryError(), 3, "out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
            3,
            "out of memory",
        ),
        (ValueError("a\nb"), 1, "a defect of polysem: ValueError: a b; --debug shows where"),
        (AssertionError(), 1, "a defect of polysem: AssertionError"),
    ],
)
def test_every_failure_is_one_line_and_a_traceback_only_when_asked_for(capsys, command, failure, code, part):
    def fail() -> None:
        raise failure

    for debug in (False, True):
        with pytest.raises(SystemExit) as left:
            exit_with_one_line(fail, debug)
        said = capsys.readouterr().err
        assert left.value.code == code
        assert part in said.splitlines()[-1]
        assert (TRACEBACK in said) == debug
        assert debug or len(said.splitlines()) == 1


def test_debug_shows_where_and_still_ends_with_the_line(command, tmp_path):
    said = command("run", tmp_path / "nowhere.toml", "--debug")
    assert said.code == 2
    assert TRACEBACK in said.err
    assert said.err.splitlines()[-1] == f"error: {tmp_path}/nowhere.toml: no such file"


def test_a_separate_process_says_the_same(tmp_path):
    """What the tests above see in their own process is what a shell sees."""
    words = [sys.executable, "-m", "train", "widen", str(tmp_path / "no\nwhere"), "--layers", "0", "--factor", "2"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}/no where: no such directory\n"


@pytest.mark.parametrize("words", [("train", "status", "checkpoints"), ("analyze", "score", "--help")], ids=str)
def test_output_that_nobody_reads_any_more_is_no_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, check=False, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=300)
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_process_started_with_interrupts_ignored_still_stops_at_sigterm():
    """Shells start what stands before `&` in a script so."""
    program = (
        "import os, signal, time\nfrom train.errors import exit_with_one_line\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "def main():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(30)\nexit_with_one_line(main, False)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr.count("\n")) == (Stopped.exit_code, 1)


def test_a_signal_that_comes_before_the_command_begins_is_one_line_too():
    """So it is where the process for which this one works was gone already."""
    code = """
import os, signal
from train import commandline
from train.__main__ import main
commandline.stop_with_parent = lambda: os.kill(os.getpid(), signal.SIGTERM)
main()
"""
    words = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "error: stopped; the same command goes on from the last saved result\n"
