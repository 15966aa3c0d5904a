"""Worker processes: how many, what becomes of a killed one, and that none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from train import workers as module
from train.errors import BadInput, EnvironmentProblem
from train.workers import checked_jobs, jobs_that_fit, workers

ROOT = Path(__file__).parents[2]

SLEEPS = """
import os, signal, time
from train.workers import workers
from train.errors import exit_with_one_line

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind `&`

def main():
    with workers(2) as pool:
        started = [pool.submit(os.write, 1, b"started\\n") for _ in range(2)]
        [future.result() for future in started]
        pool.submit(time.sleep, 600).result()

exit_with_one_line(main, debug=False)
"""
"""A script without a `__main__` guard, which loky does not need."""


def test_jobs_are_the_cores_that_may_be_used_unless_a_number_is_given(monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    lines: list[str] = []
    assert [checked_jobs(jobs, lines.append) for jobs in (None, 1, 3)] == [3, 1, 3]
    assert not lines
    assert checked_jobs(5, lines.append) == 5
    assert lines == ["--jobs 5: more than the 3 cores that this process may use"]


@pytest.mark.parametrize("jobs", [0, -2])
def test_fewer_than_one_job_is_bad_input(jobs: int):
    with pytest.raises(BadInput, match=rf"--jobs {jobs}: must be at least 1"):
        checked_jobs(jobs)


def test_with_memory_for_fewer_processes_there_are_fewer_and_it_is_said():
    lines: list[str] = []
    assert jobs_that_fit(4, 10**9, 4 * 10**9, lines.append) == 4
    assert not lines
    assert jobs_that_fit(4, 10**9, 2_500_000_000, lines.append) == 2
    assert jobs_that_fit(4, 10**9, 10**8) == 1
    assert lines == ["memory for 2 of 4 processes: each takes about 1.0 GB, 2.5 GB are free"]


def test_what_work_raises_is_raised_and_no_process_is_left():
    processes: list[int] = []

    def work() -> None:
        with workers(2) as pool:
            processes.append(pool.submit(os.getpid).result())
            pool.submit(_refuse).result()

    with pytest.raises(BadInput, match="too small"):
        work()
    assert processes[0] != os.getpid()
    assert not psutil.pid_exists(processes[0])


def _refuse() -> None:
    raise BadInput("too small")


def test_a_worker_that_the_system_kills_fails_the_stage_in_one_line_that_says_what_to_do():
    def work() -> None:
        with workers(2) as pool:
            pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL)
            pool.submit(time.sleep, 600).result()

    with pytest.raises(EnvironmentProblem, match="start again to go on"):
        work()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_and_one_line(number: int):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        [sys.executable, "-c", SLEEPS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == running.stdout.readline() == "started\n"
    below = psutil.Process(running.pid).children(recursive=True)
    assert len(below) >= 2
    # As a terminal does: Ctrl-C goes to every process of the group; SIGTERM to the one that is named.
    os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 75
    assert len(err.strip().splitlines()) == 1, err
    assert not psutil.wait_procs(below, timeout=300)[1]


def test_workers_end_when_the_process_that_started_them_is_killed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == running.stdout.readline() == b"started\n"
        below = psutil.Process(running.pid).children(recursive=True)
        running.kill()
        assert not psutil.wait_procs(below, timeout=300)[1]


def test_a_worker_that_begins_after_the_process_that_started_it_was_killed_ends():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = f"from train.workers import _begin; import time; _begin({gone.pid}); time.sleep(600)"
    begun = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=False)
    assert begun.returncode == 1
