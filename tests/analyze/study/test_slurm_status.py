"""`polysem status` of a study that was sent to Slurm: what waits, runs, is done or was lost; and without Slurm."""

import json
from pathlib import Path

import pytest

from tests.analyze.study import slurm
from tests.commands import Command
from train.study_slurm import SubmittedJob, record_name, write_submitted

JOBS = (
    SubmittedJob("1001", "1-train", ("train a", "train b")),
    SubmittedJob("1002", "2-measure", ("measure a", "measure b", "measure c")),
    SubmittedJob("1003", "3-compare", ("compare all",)),
)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm, to which the three jobs of the study `mine` were submitted: nothing runs yet."""
    for name, value in slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    spool = tmp_path / "slurm/spool"
    for job, after in zip(JOBS, ("", "afterok:1001", "afterok:1002")):
        options = {"array": f"0-{len(job.tasks) - 1}"} | ({"dependency": after} if after else {})
        (spool / f"{job.id}.json").write_text(json.dumps({"options": options}))
    (tmp_path / "results/mine/jobs").mkdir(parents=True)
    write_submitted(tmp_path / "results/mine", JOBS)
    (tmp_path / "checkpoints").mkdir()
    return spool


def lines(train_command: Command, where: Path) -> list[str]:
    said = train_command("status", where)
    assert (said.code, said.err) == (0, "")
    return [line for line in said.out.splitlines() if line.startswith("study ")]


def done(tmp_path: Path, *keys: str) -> None:
    for key in keys:
        (tmp_path / "results/mine/jobs" / record_name(key)).write_text("{}")


def test_it_counts_what_waits_what_runs_and_what_is_done(spool, tmp_path, train_command):
    (spool / "1001-0.element").write_text("RUNNING")
    assert lines(train_command, tmp_path / "checkpoints") == [
        "study mine: on Slurm, 0/6 tasks done; 1-train (job 1001): 1 runs, 1 waits (Resources); "
        "2-measure (job 1002): 3 wait (Dependency); 3-compare (job 1003): 1 waits (Dependency)"
    ]
    done(tmp_path, "train a", "train b")
    (spool / "1001.state").write_text("COMPLETED")
    for index, state in enumerate(("RUNNING", "RUNNING", "SUSPENDED")):
        (spool / f"1002-{index}.element").write_text(state)
    assert lines(train_command, tmp_path / "results") == [
        "study mine: on Slurm, 2/6 tasks done; 2-measure (job 1002): 1 is suspended, 2 run; "
        "3-compare (job 1003): 1 waits (Dependency)"
    ]


def test_it_names_tasks_that_ended_without_a_result_and_their_logs(spool, tmp_path, train_command):
    done(tmp_path, "train a")
    (log := tmp_path / "results/mine/jobs/1-train-1.log").write_text("error: no memory")
    (spool / "1001.state").write_text("FAILED")
    assert "; 1-train (job 1001): ended without a result: train b (" in lines(train_command, tmp_path)[0]
    for job in JOBS[1:]:
        (spool / f"{job.id}.state").write_text("CANCELLED")
    assert lines(train_command, tmp_path) == [
        "study mine: nothing of it waits or runs on Slurm any more, 1/6 tasks done; the same command goes on; "
        f"1-train (job 1001): ended without a result: train b ({log}); 2-measure (job 1002): ended without a result: "
        "measure a, measure b, measure c; 3-compare (job 1003): ended without a result: compare all"
    ]


def test_a_study_that_is_done_has_no_line(spool, tmp_path, train_command):
    for job in JOBS:
        (spool / f"{job.id}.state").write_text("COMPLETED")
    done(tmp_path, *(key for job in JOBS for key in job.tasks))
    assert lines(train_command, tmp_path) == []


def test_one_line_says_that_slurm_cannot_be_asked(spool, tmp_path, train_command, monkeypatch):
    done(tmp_path, "train a")
    (spool / "broken").write_text("slurm_load_jobs error:\nUnable to contact slurm controller")
    assert lines(train_command, tmp_path) == [
        "study mine: was sent to Slurm as jobs 1001 to 1003; squeue: slurm_load_jobs error: Unable to contact slurm "
        "controller; 1/6 tasks done"
    ]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert lines(train_command, tmp_path) == [
        "study mine: was sent to Slurm as jobs 1001 to 1003; squeue does not answer on this machine; 1/6 tasks done"
    ]


def test_a_record_of_jobs_that_is_none_is_one_line_and_the_rest_is_shown(spool, tmp_path, train_command):
    path = tmp_path / "results/other/jobs/slurm.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"jobs": 7}')
    shown = lines(train_command, tmp_path)
    assert shown[0].startswith("study mine: on Slurm")
    assert shown[1] == (
        f"study other: {path}: key 'jobs' must be a list of jobs, each with id, name and tasks; remove it"
    )
