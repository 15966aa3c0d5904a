"""What a run does with variables that launchers, shells and accelerate's config files leave in the environment."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.fixtures import free_port, small_run
from tests.train.test_training_run import command, losses, weights, write_config
from train.checkpoint import load, step_directory, steps
from train.errors import EnvironmentProblem
from train.launchers import LAYOUT, check_environment
from train.training_run import run

TWO = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512"}
LAUNCH = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_DYNAMO_MODE": "default"}
"""What `accelerate launch` sets where neither a flag nor a file says anything."""


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0"),
        ({"RANK": "3", "WORLD_SIZE": "1"}, "RANK=3"),
        ({name: value for name, value in TWO.items() if name != "MASTER_ADDR"}, "MASTER_ADDR is not set"),
        ({**TWO, "RANK": "2"}, "RANK=2"),
        ({**TWO, "MASTER_PORT": "http"}, "MASTER_PORT: 'http'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE: ''"),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, "PMI_SIZE=4"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2"),
        ({"MV2_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "node1"}, "MV2_COMM_WORLD_SIZE=2"),
        (
            {"PMI_SIZE": "1", "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0", "MASTER_ADDR": "node1"},
            "PMI_SIZE=1, OMPI_COMM_WORLD_SIZE=3: contradict",
        ),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_NUM_TASKS=4"),
        ({**LAUNCH, "ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}, "MASTER_ADDR"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "ACCELERATE_USE_DEEPSPEED=true"),
        ({**TWO, "ACCELERATE_USE_FSDP": "True"}, "ACCELERATE_USE_FSDP=True"),
        ({"ACCELERATE_USE_MEGATRON_LM": "1"}, "ACCELERATE_USE_MEGATRON_LM=1"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "ACCELERATE_USE_PARALLELISM_CONFIG"),
        ({"ACCELERATE_USE_CPU": "perhaps"}, "ACCELERATE_USE_CPU: 'perhaps'"),
        ({**LAUNCH, "ACCELERATE_MIXED_PRECISION": "bf16"}, 'ACCELERATE_MIXED_PRECISION=bf16.*train.precision = "fp32"'),
        ({**LAUNCH, "ACCELERATE_MIXED_PRECISION": "fp8"}, "ACCELERATE_MIXED_PRECISION=fp8"),
        ({**LAUNCH, "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "ACCELERATE_DYNAMO_BACKEND=INDUCTOR"),
        ({**LAUNCH, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8"}, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=8"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}, "ONEDNN_DEFAULT_FPMATH_MODE=BF16"),
    ],
)
def test_what_contradicts_the_run_is_refused_by_name(environ, named):
    with pytest.raises(EnvironmentProblem, match=named) as refused:
        check_environment(small_run(Path("data")), environ, cpu=True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        TWO,
        {**TWO, "OMPI_COMM_WORLD_SIZE": "8", "SLURM_STEP_NUM_TASKS": "2"},  # torchrun inside: it decides
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "MASTER_ADDR": "node1"},  # mpirun
        {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "-1", "PMI_SIZE": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # one process in an allocation
        {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"},
        {**LAUNCH, "ACCELERATE_USE_CPU": "True", "ACCELERATE_USE_DEEPSPEED": "false"},
        {"FSDP_VERSION": "2", "MEGATRON_LM_TP_DEGREE": "4"},  # nobody asks for either
    ],
)
def test_what_a_launcher_says_of_processes_and_what_changes_nothing_is_taken(environ):
    assert check_environment(small_run(Path("data")), environ, cpu=True) == []


def test_a_gpu_run_takes_no_mpi_which_accelerate_would_not_see():
    environ = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "MASTER_ADDR": "node1"}
    with pytest.raises(EnvironmentProblem, match="OMPI_COMM_WORLD_SIZE=2"):
        check_environment(small_run(Path("data")), environ, cpu=False)
    with pytest.raises(EnvironmentProblem, match="TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1"):
        check_environment(small_run(Path("data")), {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}, cpu=False)


def test_a_launcher_that_agrees_with_the_run_is_no_contradiction():
    bf16 = small_run(Path("data"), train__precision="bf16", train__compile=True, train__accumulate=2)
    says = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "2",
    }
    assert check_environment(bf16, {**LAUNCH, **says}, cpu=True) == []
    assert check_environment(bf16, LAUNCH, cpu=True) == []
    with pytest.raises(EnvironmentProblem, match="ACCELERATE_DYNAMO_MODE=max-autotune"):
        check_environment(bf16, {**LAUNCH, **says, "ACCELERATE_DYNAMO_MODE": "max-autotune"}, cpu=True)
    with pytest.raises(EnvironmentProblem, match="TORCHDYNAMO_DISABLE=1"):
        check_environment(bf16, {"TORCHDYNAMO_DISABLE": "1"}, cpu=True)


@pytest.mark.parametrize(
    "environ",
    [
        {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8"},
        {"ACCELERATE_DYNAMO_BACKEND": "EAGER"},
        {"ACCELERATE_MIXED_PRECISION": "bf16"},
        {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3", "ACCELERATE_MIXED_PRECISION": "fp16"},
    ],
)
def test_what_nobodys_launcher_says_changes_no_bit_and_is_named(finished, data, tmp_path, monkeypatch, capsys, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    out = run(small_run(data), tmp_path / "gelu-s0").directory
    assert losses(out) == losses(finished)  # gradient norms too
    assert load(out).hash == load(finished).hash
    said = capsys.readouterr().err
    assert all(f"warning: {name}={value} is not obeyed" in said for name, value in environ.items())


def test_clipping_and_accumulation_are_the_runs_whatever_the_environment_says(data, tmp_path, monkeypatch):
    over = {"train__accumulate": 2, "optim__clip": 0.05}
    plain = run(small_run(data, **over), tmp_path / "plain" / "gelu-s0").directory
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "8")
    told = run(small_run(data, **over), tmp_path / "told" / "gelu-s0").directory
    assert losses(told) == losses(plain)
    assert load(told).hash == load(plain).hash


def test_a_refused_environment_leaves_nothing_behind(data, tmp_path, monkeypatch, train_command):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert train_command("run", config, "--out", out).is_refusal(3, "ACCELERATE_USE_DEEPSPEED=true")
    assert not out.exists()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false")
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    assert train_command("run", config, "--out", out).is_refusal(3, "ACCELERATE_TORCH_DEVICE", "device = meta")
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "gpu7")
    assert train_command("run", config, "--out", out).is_refusal(3, "ACCELERATE_TORCH_DEVICE=gpu7")
    assert not out.exists()


def test_settings_of_torch_that_a_caller_left_are_refused(data, tmp_path):
    out = tmp_path / "gelu-s0"
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(EnvironmentProblem, match=r"torch\.autocast"):
        run(small_run(data), out)
    with torch.no_grad(), pytest.raises(EnvironmentProblem, match=r"torch\.no_grad"):
        run(small_run(data), out)
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(EnvironmentProblem, match='float32_matmul_precision: is "medium"'):
            run(small_run(data), out)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not out.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_peer_that_never_comes_is_one_line_and_soon(data, tmp_path, rank):
    words = (
        "import sys; from datetime import timedelta; from train import processes; from train.__main__ import main; "
        "processes.PATIENCE = timedelta(seconds=2); sys.argv[0] = 'train'; main()"
    )
    config = write_config(data, tmp_path / "run.toml")
    environment = {**os.environ, **TWO, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    done = subprocess.run(
        [sys.executable, "-c", words, "run", str(config), "--out", str(tmp_path / "gelu-s0")],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "MASTER_PORT": str(free_port())},
    )
    assert done.returncode == 3, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "WORLD_SIZE=2: the processes did not meet at MASTER_ADDR:MASTER_PORT" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_peer_that_is_lost_on_the_way_is_one_line_and_the_steps_stay(data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml", train__tokens=200_000 * 64), tmp_path / "gelu-s0"
    environment = {**os.environ, **TWO, "MASTER_PORT": str(free_port())}
    peers = [
        subprocess.Popen(
            command(config, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    deadline = time.time() + 600
    while len(steps(out)) < 4 and time.time() < deadline:
        time.sleep(0.02)
    peers[1].kill()
    said = peers[0].communicate(timeout=600)[1]
    peers[1].communicate()
    assert peers[0].returncode == 3, said
    assert said.strip().splitlines()[-1].startswith("error: another of the 2 processes ended or did not answer")
    assert load(out).step > 0


def launched(config: Path, out: Path, home: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in LAYOUT}
    return subprocess.run(
        [sys.executable, *launcher, "-m", "train", "run", str(config), "--out", str(out)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**clean, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )


def accelerate_file(path: Path, **over: object) -> Path:
    """An accelerate config as `accelerate config` writes it."""
    values = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "'NO'",
        "mixed_precision": "'no'",
        "num_machines": 1,
        "num_processes": 1,
        "use_cpu": "true",
        **over,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    return path


COMPILED_BF16 = {"mixed_precision": "bf16", "dynamo_config": "\n  dynamo_backend: INDUCTOR"}
LAUNCHER = ("-m", "accelerate.commands.launch")


@pytest.mark.slow
def test_without_its_launcher_accelerates_default_config_does_not_matter(finished, data, tmp_path):
    accelerate_file(tmp_path / "home" / "accelerate" / "default_config.yaml", **COMPILED_BF16)
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = launched(config, out, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert losses(out) == losses(finished)
    assert load(out).hash == load(finished).hash


@pytest.mark.slow
@pytest.mark.parametrize(
    ("says", "named"),
    [
        (COMPILED_BF16, "ACCELERATE_MIXED_PRECISION=bf16"),
        ({"dynamo_config": "\n  dynamo_backend: INDUCTOR"}, "ACCELERATE_DYNAMO_BACKEND=INDUCTOR"),
        ({"num_processes": 2}, "MASTER_ADDR=127.0.0.1"),
    ],
)
def test_under_its_launcher_a_default_config_that_says_otherwise_is_refused(data, tmp_path, says, named):
    accelerate_file(tmp_path / "home" / "accelerate" / "default_config.yaml", **says)
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = launched(config, out, tmp_path / "home", *LAUNCHER)
    assert re.search(rf"(?m)^error: {re.escape(named)}", done.stderr), done.stderr
    assert "exit status 3" in done.stderr
    assert not out.exists()


@pytest.mark.slow
def test_under_its_launcher_a_config_file_that_agrees_changes_no_bit(finished, data, tmp_path):
    says = accelerate_file(tmp_path / "cpu.yaml")
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = launched(config, out, tmp_path / "home", *LAUNCHER, "--config_file", str(says))
    assert done.returncode == 0, done.stderr
    assert steps(out) == steps(finished)
    assert weights(step_directory(out, 20)) == weights(step_directory(finished, 20))
