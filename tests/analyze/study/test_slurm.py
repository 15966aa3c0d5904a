"""A study on Slurm: the numbers of a plain one, whoever is lost on the way."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analyze.study.scheduler import StudyCommand
from analyze.study.scheduler_slurm import require_none_queued, script_of, stages_of
from tests.analyze.study import slurm
from tests.analyze.study.minute import numbers_of
from tests.analyze.study.schedulers import SECONDS, TASKS, errors
from tests.commands import Command
from train.errors import BadInput
from train.status import status


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
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        assert re.match(r"study minute: on Slurm, \d/7 tasks done; .* \(Dependency\)", status(out))
    assert set(wait_for_jobs(environ, 6).values()) == {"COMPLETED"}, logs(out)
    assert numbers_of(out) == plain
    asked = json.loads((root / "slurm/spool/1004.json").read_text())["options"]
    assert asked["partition"] == "cpu"
    assert asked["dependency"] == "afterok:1003"
    record = json.loads((out / "results/minute/stages.json").read_text())
    assert len(record["processes"]) == 7
    assert {line["stage"] for line in record["stages"]} == {"train", "collect", "score", "fission", "compare", "report"}
    assert "Slurm" not in status(out)
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
    for wrong in ('{"jobs": ["7"]}', '{"jobs": []}', "[]", '{"jobs": [{"id": "-x", "name": "", "tasks": []}]}'):
        path.write_text(wrong)
        with pytest.raises(BadInput, match=r"slurm\.json: key 'jobs'"):
            require_none_queued(tmp_path)
    path.write_text('{"jobs": [{"id": "7", "name": "1-train", "tasks": ["train a"]}]}')
    monkeypatch.setenv("PATH", "/nonexistent")
    require_none_queued(tmp_path)
    assert path.exists()  # they may wait all the same
