"""What tests of studies on schedulers share: the command, in another process, and tasks of every kind."""

import os
import subprocess
import sys
import time
from pathlib import Path

from analyze.study.tasks import Task
from tests.commands import TRACEBACK
from train.checkpoint import steps

ROOT = Path(__file__).parents[3]
SECONDS = 900
"""Of patience with a busy machine."""
LONG = 2000 * 64
"""Tokens: steps enough to be interrupted, few enough to be waited for."""


def study_elsewhere(toml: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: dask keeps what it started in a process."""
    return subprocess.run(
        [*study_words(toml, out), *words], check=False, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT
    )


def study_words(toml: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "analyze", "study", str(toml), "--out", str(out)]


def errors(said: str) -> list[str]:
    assert TRACEBACK not in said, said
    return [line for line in said.splitlines() if line.startswith("error: ")]


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
