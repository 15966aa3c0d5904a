"""A study on Slurm and on dask: the numbers of a plain one, whoever is lost on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from analyze.study.processes import Ended, Stage
from analyze.study.records import Record, claimed, read_record, wait_for_claims, write_record
from analyze.study.run import run_study
from analyze.study.scheduler import StudyCommand
from analyze.study.scheduler_dask import local_workers
from analyze.study.scheduler_slurm import require_none_queued, script_of, stages_of
from analyze.study.tasks import Task
from tests.analyze.study import slurm
from tests.analyze.study.minute import minute_study, numbers_of
from tests.commands import TRACEBACK, Command, Said
from train.checkpoint import load, steps
from train.errors import BadInput, EnvironmentProblem
from train.parquet import read_parquet

ROOT = Path(__file__).parents[3]
SECONDS = 900
"""Of patience with a busy machine."""


def study_elsewhere(toml: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: dask keeps what it started in a process."""
    return subprocess.run(
        [*study_words(toml, out), *words], check=False, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT
    )


@pytest.fixture
def study(analyze_command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """`polysem study TOML --out OUT WORDS` in this process, with variables of the environment by keyword."""

    def call(toml: Path, out: Path, *words: str, **environ: str) -> Said:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            return analyze_command("study", toml, "--out", out, *words)

    return call


def study_words(toml: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "analyze", "study", str(toml), "--out", str(out)]


def errors(said: str) -> list[str]:
    assert TRACEBACK not in said, said
    return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schedulers")


@pytest.fixture(scope="module")
def toml(root: Path) -> Path:
    return minute_study(root)


@pytest.fixture(scope="module")
def plain(toml: Path, root: Path) -> dict[str, object]:
    """The numbers of the study without a scheduler."""
    run_study(toml, root / "plain", [])
    numbers = numbers_of(root / "plain")
    assert len(numbers) == 2 * 7 + 3 + 1  # steps of two runs, scored steps, the comparison
    (path,) = (root / "plain/results/minute").glob("wide-s0/*/*/scores.parquet")
    scores = read_parquet(path)
    assert scores["k_eff"].drop_nulls().drop_nans().n_unique() > 5  # else equal scores would say nothing
    return numbers


# Slurm


def wait_for_jobs(environ: dict[str, str], n: int) -> dict[str, str]:
    """State by job, when all n have ended."""
    spool = Path(environ["SLURM_STAND_IN"])
    deadline = time.monotonic() + SECONDS
    while len(list(spool.glob("*.state"))) < n and time.monotonic() < deadline:
        time.sleep(0.2)
    return {path.stem: path.read_text() for path in sorted(spool.glob("*.state"))}


@pytest.mark.slow
def test_a_study_through_sbatch_has_the_numbers_of_a_plain_one(toml, root, plain, study):
    environ, out = slurm.install(root / "slurm"), root / "by-slurm"
    done = study(toml, out, "--scheduler", "slurm", "--sbatch=--partition cpu", **environ)
    assert done.code == 0, done.err
    ids = [line.split()[2].rstrip(":") for line in done.out.splitlines() if line.startswith("submitted job")]
    assert ids == ["1001", "1002", "1003", "1004", "1005", "1006"]
    assert "submitted job 1003: train wide-s0; after 1001" in done.out
    again = study(toml, out, **environ)  # while they run
    assert again.code == 2
    assert "of this study wait or run on Slurm" in errors(again.err)[0]
    assert set(wait_for_jobs(environ, 6).values()) == {"COMPLETED"}, logs(out)
    assert numbers_of(out) == plain
    asked = json.loads((root / "slurm/spool/1004.json").read_text())["options"]
    assert asked["partition"] == "cpu"
    assert asked["dependency"] == "afterok:1003"
    record = json.loads((out / "results/minute/stages.json").read_text())
    assert len(record["processes"]) == 7
    assert {line["stage"] for line in record["stages"]} == {"train", "collect", "score", "fission", "compare", "report"}
    found = study(toml, out, **environ)
    assert found.code == 0, found.err
    assert found.out.count("found, ") >= 8
    assert numbers_of(out) == plain


def logs(out: Path) -> str:
    return "\n".join(path.read_text() for path in sorted((out / "results/minute/jobs").glob("*.log")))


@pytest.mark.slow
def test_jobs_behind_a_failed_one_are_cancelled_and_a_plain_start_goes_on(toml, root, plain, study):
    environ, out = slurm.install(root / "failing"), root / "begun-by-slurm"
    broken = out / "checkpoints/minute/wide-s0"
    broken.mkdir(parents=True)
    (broken / "mine.txt").write_text("not a run")
    done = study(toml, out, "--scheduler", "slurm", "--jobs", "1", **environ)
    assert done.code == 0, done.err
    states = wait_for_jobs(environ, 6)
    assert states == {
        "1001": "COMPLETED",
        "1002": "COMPLETED",
        "1003": "FAILED",
        "1004": "CANCELLED",
        "1005": "CANCELLED",
        "1006": "CANCELLED",
    }
    assert "error: " in (out / "results/minute/jobs/3-train-0.log").read_text()
    before = {path: path.stat().st_mtime_ns for path in (out / "checkpoints/minute/narrow-s0").glob("step-*")}
    shutil.rmtree(broken)
    gone_on = study(toml, out, **environ)
    assert gone_on.code == 0, gone_on.err
    assert "found, held-out" in gone_on.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert numbers_of(out) == plain


@pytest.mark.slow
def test_an_sbatch_that_refuses_leaves_nothing_submitted(toml, root, study):
    environ, out = slurm.install(root / "refusing"), root / "refused"
    (root / "refusing/spool/refused").write_text("fission")
    done = study(toml, out, "--scheduler", "slurm", **environ)
    assert done.code == 3
    assert "Invalid account" in errors(done.err)[0]
    states = wait_for_jobs(environ, 4)
    assert [states[number] for number in ("1002", "1003", "1004")] == ["CANCELLED"] * 3  # the first one ran already
    assert not (out / "results/minute/jobs/slurm.json").exists()


def test_without_sbatch_one_line_says_where_the_scripts_lie(toml, root, analyze_command: Command, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    said = analyze_command("study", toml, "--out", root / "nowhere", "--scheduler", "slurm")
    assert said.is_refusal(3, "sbatch does not answer on this machine", str(root / "nowhere/results/minute/jobs"))
    scripts = sorted(path.name for path in (root / "nowhere/results/minute/jobs").glob("*.sh"))
    assert scripts == ["1-train.sh", "2-measure.sh", "3-train.sh", "4-measure.sh", "5-fission.sh", "6-compare.sh"]


def task(kind: str, name: str, *needs: str, **over) -> Task:
    values = {"seconds": 1.0, "memory": 10**9} | over
    return Task(kind, name, lambda report: None, needs=needs, **values)  # pyright: ignore


TASKS = (
    task("train", "a"),
    task("measure", "a", "train a"),
    task("train", "b"),
    task("measure", "b", "train b", memory=5 * 10**9),
    task("train", "a x2", "train a", threads=3),
    task("measure", "a x2", "train a x2"),
    task("compare", "all", "train a", "measure a", "measure b", "measure a x2"),
)


def test_tasks_of_a_kind_that_may_run_at_once_are_one_array():
    stages = [(stage.name, [task.name for task in stage.tasks], stage.needs) for stage in stages_of(TASKS)]
    assert stages == [
        ("1-train", ["a", "b"], ()),
        ("2-measure", ["a", "b"], (1,)),
        ("3-train", ["a x2"], (1,)),
        ("4-measure", ["a x2"], (3,)),
        ("5-compare", ["all"], (2, 4)),
    ]


def test_a_script_asks_for_what_its_largest_task_needs_and_runs_any_words(tmp_path):
    """The script is run by bash with a Python that prints what it is given."""
    odd = tmp_path / "a place; it's $HOME"
    odd.mkdir()
    command = StudyCommand(Path("-s.toml"), Path("o u t"), odd / "results/s", ("--seeds", "[0, 1]"), "torchrun -x", odd)
    script = script_of(stages_of(TASKS)[1], command, 4)
    assert "#SBATCH --array=0-1%4\n" in script
    assert "#SBATCH --mem=5000M\n" in script
    assert "#SBATCH --cpus-per-task=3\n" in script_of(stages_of(TASKS)[2], command, None)
    shown = tmp_path / "python"
    shown.write_text('#!/bin/bash\npwd; printf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    (tmp_path / "script.sh").write_text(script.replace(sys.executable, str(shown)))
    env = {**os.environ, "SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "7"}
    said = subprocess.run(["bash", tmp_path / "script.sh"], capture_output=True, text=True, check=True, env=env).stdout
    assert said.splitlines() == [
        str(odd),
        *("-m", "analyze", "study", "./-s.toml", "--out=o u t", "--jobs=7", "--only=measure b", "--launch=torchrun -x"),
        *("--seeds", "[0, 1]"),
    ]


def test_a_record_of_jobs_that_is_none_is_refused_and_without_squeue_nothing_is_known(tmp_path, monkeypatch):
    path = tmp_path / "jobs/slurm.json"
    path.parent.mkdir()
    path.write_text('{"jobs": ["x"]}')
    with pytest.raises(BadInput, match=r"slurm\.json: key 'jobs'"):
        require_none_queued(tmp_path)
    path.write_text('{"jobs": ["7"]}')
    monkeypatch.setenv("PATH", "/nonexistent")
    require_none_queued(tmp_path)


# one task alone


def test_a_task_that_is_none_and_a_study_that_has_not_begun_are_refused(toml, root, analyze_command: Command):
    out = root / "alone"
    said = analyze_command("study", toml, "--out", out, "--only", "train narrow-s0")
    assert said.is_refusal(2, "holds no study that has begun")
    settled = out / "results/minute/settled.json"
    settled.parent.mkdir(parents=True)
    settled.write_text('{"threads": 1, "precision": "fp32"}')
    said = analyze_command("study", toml, "--out", out, "--only", "train narow-s0")
    assert said.is_refusal(2, "is no task of", "did you mean 'train narrow-s0'?")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--address", "tcp://x:1"), "--address tcp://x:1: goes with --scheduler dask"),
        (("--scheduler", "dask", "--sbatch=--time 1"), "--sbatch --time 1: goes with --scheduler slurm"),
        (("--scheduler", "slurm", "--sbatch=--x 'y"), "No closing quotation"),
        (("--scheduler", "slurm", "--jobs", "0"), "--jobs 0: must be at least 1"),
    ],
)
def test_options_of_another_scheduler_are_refused(toml, root, analyze_command: Command, words, named):
    assert analyze_command("study", toml, "--out", root / "options", *words).is_refusal(2, named)


def test_a_record_comes_back_and_a_damaged_one_is_named(tmp_path):
    one = task("train", "a")
    record = Record(5.0, (Stage("train", "a", 1.5, "said"),), Ended(2.5, 7), (("stderr", "warning\n"),))
    (tmp_path / "jobs").mkdir()
    write_record(tmp_path, one, record)
    assert read_record(tmp_path, one) == record
    (tmp_path / "jobs/train.a.json").write_text('{"began": 1}')
    with pytest.raises(BadInput, match=r"train\.a\.json: is no record of a task"):
        read_record(tmp_path, one)


def test_a_task_is_run_by_one_process_at_a_time(tmp_path):
    one = task("train", "a")
    refused = pytest.raises(EnvironmentProblem, match="train a: another process")
    with claimed(tmp_path, one), refused, claimed(tmp_path, one, seconds=0.2):
        pass
    with claimed(tmp_path, one):
        began = time.monotonic()
        wait_for_claims(tmp_path, [one, task("train", "b")], 0.5)
        assert time.monotonic() - began > 0.4
    with claimed(tmp_path, one, seconds=0.2):
        pass


# dask


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


def started(toml: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    """A study in a process of its own, once its first training has saved step 4."""
    process = subprocess.Popen(
        [*study_words(toml, out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ,
        start_new_session=True,
    )
    run = out / "checkpoints/minute/narrow-s0"
    deadline = time.monotonic() + SECONDS
    while 4 not in steps(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    return process


def trainings(out: Path) -> list[psutil.Process]:
    """Processes that run a task of a study."""
    words = {each: _words(each) for each in psutil.process_iter()}
    return [each for each, said in words.items() if f"--out={out}" in said and "--only=" in " ".join(said)]


def _words(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


LONG = 2000 * 64
"""Tokens: steps enough to be interrupted, few enough to be waited for."""


@pytest.fixture(scope="module")
def long_plain(root: Path) -> tuple[Path, dict[str, object]]:
    """A study that trains for seconds, and its numbers when run plainly."""
    (root / "long").mkdir()
    toml = minute_study(root / "long", LONG, checkpoint_every=1000, widens=False)
    run_study(toml, root / "long/plain", [])
    return toml, numbers_of(root / "long/plain")


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


# no scheduler


@pytest.mark.slow
def test_a_study_that_is_stopped_and_gone_on_with_by_other_jobs_has_the_same_numbers(long_plain, root, study):
    toml, expected = long_plain
    out = root / "long/jobs"
    process = started(toml, out, "--jobs", "1")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 75, said
    assert 4 <= load(out / "checkpoints/minute/narrow-s0").step < 2000
    done = study(toml, out, "--jobs", "2")
    assert done.code == 0, done.err
    assert numbers_of(out) == expected
