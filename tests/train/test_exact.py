"""`exact` of a checkpoint: whether one uninterrupted process gives these bits, and where not, why."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, rmtree

import pytest
import torch

from tests.train.fixtures import small_run
from tests.train.test_training_run import command, write_config
from train.checkpoint import Checkpoint, load, step_directory, steps
from train.config import ModelConfig, WidenPlan
from train.files import MANIFEST, RECORD, seal
from train.provenance import inexact_because
from train.training_run import run
from train.widening.command import widen_checkpoint

HERE = {"python": "3.11", "torch": "2", "machine": "x86_64", "threads": 1, "device": "cpu", "processes": 1}


def cut(run_directory: Path, step: int) -> None:
    """Take away the steps after `step`, as if the run had stopped there."""
    for later in steps(run_directory):
        if later > step:
            rmtree(step_directory(run_directory, later))


def changed(directory: Path, **state: object) -> None:
    """Seal a step anew with other facts in its state, and without the reasons, as an earlier version wrote it."""
    values = json.loads((directory / "state.json").read_text())
    (directory / "state.json").write_text(json.dumps(values | state))
    record = json.loads((directory / RECORD).read_text())
    record.pop("inexact", None)
    (directory / RECORD).write_text(json.dumps(record))
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).unlink()
    seal(directory, {key: value for key, value in manifest.items() if key != "files"})


def test_an_ordinary_run_is_exact_and_names_no_reason(finished):
    for step in steps(finished):
        checkpoint = load(step_directory(finished, step))
        assert checkpoint.state["exact"] is True
        assert checkpoint.inexact == []


def before(**environment: object) -> Checkpoint:
    state = {"run": "gelu-s0", "step": 8, "exact": True, "environment": HERE | environment}
    config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=16, d_vocab=300, act="relu", widths=(16,))
    return Checkpoint(Path("nowhere"), config, state, hash="")


@pytest.mark.parametrize(
    ("was", "now", "reasons"),
    [
        ({}, {}, []),
        ({"device": "cuda:0"}, {"device": "cuda:3"}, []),
        ({"threads": 8}, {}, ["threads: 8 up to step 8, then 1"]),
        ({"torch": "1"}, {"device": "cuda"}, ["torch: 1 up to step 8, then 2", "device: cpu up to step 8, then cuda"]),
        ({}, {"processes": 2}, ["2 processes: they sum in", "processes: 1 up to step 8, then 2"]),
        ({"processes": 4}, {}, ["4 processes: they sum in", "processes: 4 up to step 8, then 1"]),
    ],
)
def test_what_changes_between_two_starts_of_a_run_is_named(was, now, reasons):
    found = inexact_because(small_run(Path("data")), None, before(**was), HERE | now)
    assert len(found) == len(reasons)
    assert all(one.startswith(other) for one, other in zip(found, reasons, strict=True))


def test_a_compiled_run_says_why_it_is_not_exact():
    reasons = inexact_because(small_run(Path("data"), train__compile=True), None, None, HERE)
    assert len(reasons) == 1
    assert reasons[0].startswith("train.compile: ")


def test_a_run_resumed_on_other_threads_stays_inexact_when_it_is_resumed_again(finished, data, tmp_path):
    out = copytree(finished, tmp_path / "gelu-s0")
    cut(out, 10)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        resumed = run(small_run(data), out).checkpoint
    finally:
        torch.set_num_threads(threads)
    last = steps(out)[-2]
    assert not resumed.state["exact"]
    reasons = resumed.inexact
    assert reasons == [f"threads: {threads} up to step {steps(out)[-3]}, then {threads + 1}"]
    assert load(step_directory(out, steps(out)[-3])).state["exact"]  # steps from before stay what they were
    cut(out, last)
    again = run(small_run(data), out).checkpoint
    assert not again.state["exact"]
    assert again.inexact == [*reasons, f"threads: {threads + 1} up to step {last}, then {threads}"]


def test_a_resumed_run_on_the_same_machine_stays_exact(finished, data, tmp_path):
    out = copytree(finished, tmp_path / "gelu-s0")
    cut(out, 10)
    assert run(small_run(data), out).checkpoint.hash == load(finished).hash


def test_what_starts_from_an_inexact_step_is_not_exact_either(finished, data, tmp_path):
    parent = copytree(finished, tmp_path / "two-s0")
    facts = load(parent).state["environment"]
    changed(step_directory(parent, 20), environment={**facts, "processes": 2})  # which said exact = true
    child = run(small_run(data, start=str(parent)), tmp_path / "child-s0").checkpoint
    assert not child.state["exact"]
    assert child.inexact == ["start: gelu-s0 step 20 is not exact"]
    assert "Not exact to the last bit: start: gelu-s0 step 20" in (tmp_path / "child-s0" / "README.md").read_text()
    widen_checkpoint(tmp_path / "child-s0", WidenPlan(layers=(0,), factor=2), data, tmp_path / "wide-s0")
    assert not load(tmp_path / "wide-s0").state["exact"]
    assert load(tmp_path / "wide-s0").inexact == child.inexact
    exact = run(small_run(data, start=str(finished)), tmp_path / "exact-s0").checkpoint
    assert exact.state["exact"]


@pytest.mark.slow
def test_two_processes_and_a_resume_with_one_are_recorded_as_inexact(data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = command(config, out, launcher=launcher)
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    two = load(out)
    assert two.state["exact"] is False
    assert two.inexact == ["2 processes: they sum in another order than one"]
    reasons = two.inexact
    cut(out, 10)
    step = steps(out)[-1]
    one = run(small_run(data), out).checkpoint
    assert one.state["environment"]["processes"] == 1
    assert one.state["exact"] is False
    assert one.inexact == [*reasons, f"processes: 2 up to step {step}, then 1"]
