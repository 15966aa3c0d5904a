"""Several processes and several passes against one: the same rows, the same losses to 1e-6, and who refuses what."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from tests.train.fixtures import free_port, small_run
from tests.train.test_training_run import command, write_config
from train.checkpoint import load, step_directory, steps
from train.parent import WORKS_FOR, working_for_this_process
from train.tracking import read_metrics
from train.training_run import run

TOLERANCE = 1e-6
"""Of every loss of 20 steps: of held-out losses, which are summed in fp64, in nats (measured 7e-8); of training losses,
which are fp32, of their size. Sums differ in order only."""
WEIGHTS = 1e-6
"""Largest difference of a weight after those steps (measured 2e-7). Key biases are left out: softmax does not see them,
so their gradient is rounding alone, which Adam divides by its own size."""

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | {"OMP_NUM_THREADS": "1"}


def call(words: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**CLEAN, **environ}
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=300, env=env)


def require_equal(one: Path, other: Path) -> None:
    """Two runs have the same losses and last weights, to the tolerances."""
    logs = [list(read_metrics(directory / "metrics.jsonl")) for directory in (one, other)]
    assert [(line["kind"], line["step"]) for line in logs[0]] == [(line["kind"], line["step"]) for line in logs[1]]
    assert len(logs[0]) == 25
    for ours, theirs in zip(*logs, strict=True):
        size = 1 if ours["kind"] == "eval" else ours["loss"]
        assert abs(ours["loss"] - theirs["loss"]) <= TOLERANCE * size, (ours, theirs)
    last = [load_file(step_directory(directory, 20) / "model.safetensors") for directory in (one, other)]
    for name, weight in last[0].items():
        if not name.endswith("attn.k.bias"):
            assert float((weight - last[1][name]).abs().max()) <= WEIGHTS, name
    assert any(not weight.equal(last[1][name]) for name, weight in last[0].items())  # else these were one run


def test_accumulated_passes_train_as_one_large_batch(finished, data, tmp_path):
    for passes in (2, 4):
        out = run(small_run(data, train__accumulate=passes), tmp_path / str(passes) / "gelu-s0").directory
        require_equal(finished, out)


@pytest.mark.slow
def test_two_processes_train_as_one_and_say_how_they_share_a_step(finished, data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = call(command(config, out, launcher=TORCHRUN))
    assert done.returncode == 0, done.stderr
    line = "2 processes (MULTI_CPU over gloo, cpu); a step is 4 rows: 1 pass of 2 rows a process"
    assert done.stdout.splitlines().count(line) == 1, done.stdout
    assert load(out).state["environment"]["processes"] == 2
    require_equal(finished, out)


def test_one_process_says_how_it_takes_a_step(data, tmp_path, train_command):
    config = write_config(data, tmp_path / "run.toml", train__tokens=64)
    said = train_command("run", config, "--out", tmp_path / "gelu-s0", "--train.accumulate", "2")
    assert said.out.startswith("1 process (cpu); a step is 4 rows: 2 passes of 2 rows\n")


@pytest.mark.slow
def test_rows_that_processes_cannot_share_are_one_line(data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml", train__rows_per_step=6), tmp_path / "gelu-s0"
    done = call(command(config, out, "--train.accumulate", "2", launcher=TORCHRUN))
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: train.rows_per_step: 6 rows do not divide into train.accumulate = 2 x 2 processes; "
        "take a multiple of 4, such as 8"
    ]
    assert not out.exists()


@pytest.mark.slow
def test_processes_with_different_configs_are_refused(data, tmp_path):
    out, port = tmp_path / "gelu-s0", free_port()
    peers = []
    for rank in range(2):
        config = write_config(data, tmp_path / f"{rank}.toml", optim__lr=(rank + 1) * 1e-3)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        env = {**CLEAN, "MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
        words = command(config, out)
        peers.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env))
    for peer in peers:
        said = peer.communicate(timeout=600)[1]
        assert peer.returncode == 3, said
        assert "error: process 1 has another config than process 0; give all nodes one RUN.toml" in said
    assert not steps(out)


LAUNCHER = """
import subprocess, sys
from train.parent import working_for_this_process
import os, time
subprocess.Popen(sys.argv[1:], start_new_session=True, env={**os.environ, **working_for_this_process()})
time.sleep(600)
"""


@pytest.mark.slow
def test_launched_trainings_stop_in_order_when_who_started_them_is_killed(data, tmp_path):
    long = {"train__tokens": 10**6 * 64, "train__checkpoint_every": 10**6, "train__eval_every": 10**6}
    config, out = write_config(data, tmp_path / "run.toml", **long), tmp_path / "long-s0"
    words = command(config, out, launcher=TORCHRUN)
    stage = subprocess.Popen([sys.executable, "-c", LAUNCHER, *words], stderr=subprocess.DEVNULL, env=CLEAN)
    deadline = time.monotonic() + 600
    while 4 not in steps(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    trainings = [each for each in psutil.Process(stage.pid).children(recursive=True) if str(config) in each.cmdline()]
    assert len(trainings) == 3  # torchrun and its two
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    _, alive = psutil.wait_procs(trainings, timeout=60)
    assert not alive
    saved = load(out).step
    assert saved > 4
    assert saved == max(line["step"] for line in read_metrics(out / "metrics.jsonl"))  # saved as it stopped


def test_a_process_that_works_for_one_of_another_machine_is_left_alone(data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml", train__tokens=64), tmp_path / "gelu-s0"
    name = working_for_this_process()[WORKS_FOR].rpartition(" ")[0]
    done = call(command(config, out), **{WORKS_FOR: f"elsewhere{name} 999999"})
    assert done.returncode == 0, done.stderr


def test_a_process_whose_master_is_gone_already_stops(data, tmp_path):
    long = {"train__tokens": 10**6 * 64}
    config, out = write_config(data, tmp_path / "run.toml", **long), tmp_path / "gelu-s0"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = working_for_this_process()[WORKS_FOR].rpartition(" ")[0]
    done = call(command(config, out), **{WORKS_FOR: f"{name} {dead.pid}"})
    assert done.returncode == 75, done.stderr
