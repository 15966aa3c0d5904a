"""A study on dask: the numbers of a plain one, whoever is lost on the way."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from analyze.study.scheduler_dask import local_workers
from tests.analyze.study.minute import numbers_of
from tests.analyze.study.schedulers import ROOT, SECONDS, TASKS, errors, started, study_elsewhere
from tests.commands import Command
from train.checkpoint import load


@pytest.mark.slow
def test_a_study_on_a_dask_cluster_of_this_machine_has_the_numbers_of_a_plain_one(toml, root, plain):
    done = study_elsewhere(toml, root / "by-dask", "--scheduler", "dask", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert numbers_of(root / "by-dask") == plain
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 12
    assert "table  " in done.stdout
    record = json.loads((root / "by-dask/results/minute/stages.json").read_text())
    assert len(record["processes"]) == 7


@contextmanager
def cluster(directory: Path, n_workers: int) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler that dask's own command started, and its workers without a nanny."""
    file = directory / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    words = ("--scheduler-file", str(file), "--no-dashboard")
    module = (sys.executable, "-m", "distributed.cli")
    scheduler = subprocess.Popen([module[0], "-m", "distributed.cli.dask_scheduler", "--port", "0", *words], **quiet)
    processes = [scheduler]
    try:
        deadline = time.monotonic() + SECONDS
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        worker = [module[0], "-m", "distributed.cli.dask_worker", *words, "--no-nanny", "--nthreads", "1"]
        processes += [subprocess.Popen([*worker, "--death-timeout", "600"], **quiet) for _ in range(n_workers)]
        yield json.loads(file.read_text())["address"], processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trainings(out: Path) -> list[psutil.Process]:
    """Processes that run a task of a study."""
    words = {each: _words(each) for each in psutil.process_iter()}
    return [each for each, said in words.items() if f"--out={out}" in said and "--only=" in " ".join(said)]


def _words(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


@pytest.mark.slow
def test_a_stage_of_a_killed_dask_worker_runs_again_on_another(long_plain, root, tmp_path):
    toml, expected = long_plain
    with cluster(tmp_path, 2) as (address, (_, *workers)):
        process = started(toml, root / "long/killed", "--scheduler", "dask", "--address", address)
        (running,) = [worker for worker in workers if psutil.Process(worker.pid).children()]
        running.kill()
        said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert numbers_of(root / "long/killed") == expected


@pytest.mark.slow
def test_a_lost_dask_scheduler_is_one_line_and_a_plain_start_goes_on(long_plain, root, tmp_path, study):
    toml, expected = long_plain
    out = root / "long/lost"
    with cluster(tmp_path, 1) as (address, (scheduler, _)):
        process = started(toml, out, "--scheduler", "dask", "--address", address)
        scheduler.kill()
        said = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 3, said
    assert said.strip().splitlines()[-1].startswith(f"error: the dask scheduler at {address} does not answer any more")
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(trainings(out), timeout=60)
    assert not alive
    assert load(out / "checkpoints/minute/narrow-s0").step >= 4
    done = study(toml, out, "--jobs", "1")
    assert done.code == 0, done.err
    assert numbers_of(out) == expected


@pytest.mark.slow
def test_a_study_on_dask_that_is_stopped_stops_its_tasks_in_order(long_plain, root, tmp_path):
    toml, _ = long_plain
    out = root / "long/stopped"
    with cluster(tmp_path, 1) as (address, _):
        process = started(toml, out, "--scheduler", "dask", "--address", address)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=SECONDS)[1]
        assert process.returncode == 75, said
        assert said.startswith("error: stopped")
        assert not psutil.wait_procs(trainings(out), timeout=30)[1]  # it has saved, and is leaving
    assert 4 <= load(out / "checkpoints/minute/narrow-s0").step < 2000


@pytest.mark.slow
def test_a_stage_that_fails_on_dask_has_its_own_line_and_code(toml, root, tmp_path):
    out = root / "by-dask-broken"
    broken = out / "checkpoints/minute/narrow-s0"
    broken.mkdir(parents=True)
    (broken / "mine.txt").write_text("not a run")
    with cluster(tmp_path, 1) as (address, _):
        done = study_elsewhere(toml, out, "--scheduler", "dask", "--address", address)
    assert done.returncode == 2
    assert errors(done.stderr) == [f"error: {broken}: is taken by something that is not a run; choose another --out"]


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1"])
def test_a_dask_scheduler_that_cannot_be_reached_is_one_line(
    toml, root, analyze_command: Command, monkeypatch, address
):
    monkeypatch.setattr("analyze.study.scheduler_dask.CONNECT_SECONDS", 2.0)
    said = analyze_command("study", toml, "--out", root / "unreached", "--scheduler", "dask", "--address", address)
    assert said.is_refusal(3, f"--address {address}: no dask scheduler answers", "what ran stays")


def test_a_cluster_of_this_machine_has_as_many_workers_as_cores_and_memory_allow():
    assert local_workers(TASKS[:4], 8, 100 * 10**9) == 8
    assert local_workers(TASKS[:4], 8, 11 * 10**9) == 2
    assert local_workers(TASKS, 8, 100 * 10**9) == 2
    assert local_workers(TASKS, 1, 1) == 1
