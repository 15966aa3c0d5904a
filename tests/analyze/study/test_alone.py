"""One task of a study alone, options of schedulers, and a study that is stopped and gone on with."""

import signal
import time

import pytest

from analyze.study.processes import Ended, Stage
from analyze.study.records import Record, claimed, read_record, wait_for_claims, write_record
from tests.analyze.study.minute import numbers_of
from tests.analyze.study.schedulers import SECONDS, started, task
from tests.commands import Command
from train.checkpoint import load
from train.errors import BadInput, EnvironmentProblem


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
