"""Of configs/accelerate and scripts/slurm accelerate reads the ones, and a stand-in for srun runs the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.test_launchers import LAUNCHER, launched
from tests.train.test_training_run import weights, write_config
from train.checkpoint import load, step_directory

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
SCRIPTS = sorted((ROOT / "scripts" / "slurm").glob("*.sh"))
GUIDE = (ROOT / "docs" / "guides" / "many-machines.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_accelerate_reads_every_config_and_the_run_keeps_its_precision(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    kind = getattr(config.distributed_type, "value", config.distributed_type)
    assert kind == ("MULTI_GPU" if "several" in path.name else "NO")
    assert config.use_cpu == ("cpu" in path.name)
    assert config.mixed_precision == "no"
    assert path.name in GUIDE


@pytest.mark.slow
def test_a_run_under_the_config_of_one_cpu_has_the_bits_of_one_without(finished, data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = launched(config, out, tmp_path / "home", *LAUNCHER, "--config_file", str(CONFIGS[0]))
    assert CONFIGS[0].name == "one-cpu.yaml"
    assert done.returncode == 0, done.stderr
    assert weights(step_directory(out, 20)) == weights(step_directory(finished, 20))


SRUN = """#!/usr/bin/env bash
# Two nodes that are this machine: every word behind the options, once a node.
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=0 SLURM_STEP_NUM_TASKS=2 "$@" & SLURM_NODEID=1 SLURM_STEP_NUM_TASKS=2 "$@" & wait -n; first=$?; wait -n
exit $(( first | $? ))
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_trains_the_run_that_it_is_given(path, finished, data, tmp_path):
    """One node or two, of one process each: on a GPU it would be one a GPU."""
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho localhost\nsleep 0.2\necho localhost\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    several = path.name in ("launch.sh", "several-nodes.sh")
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PROCESSES": "1" if several else "2",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }
    words = [
        "bash",
        str(path),
        *(["-m", "train", "run"] if path.name == "launch.sh" else []),
        str(config),
        f"--out={out}",
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=900, env=environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert load(out).step == 20
    assert load(out).state["environment"]["processes"] == (1 if path.name == "one-gpu.sh" else 2)
    assert path.name in GUIDE
