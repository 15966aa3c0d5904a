"""What a task that a scheduler started leaves in the study's results: its stages, what they cost, what it printed.

Beside the record lies the task's lock: a task that a scheduler starts a second time, after it lost the machine of the
first, waits until that one has saved and stopped.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analyze.study.processes import GRACE, Ended, Stage
from analyze.study.tasks import Task
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json, read_json, write_atomic
from train.study_slurm import JOBS_DIRECTORY, record_name

LARGEST = 10_000_000


@dataclass(frozen=True)
class Record:
    """A task that has ended well."""

    began: float
    """Seconds since the epoch, by the clock of the machine that ran it."""
    stages: tuple[Stage, ...]
    ended: Ended
    text: tuple[tuple[str, str], ...] = ()
    """What it printed: a stream's name and the text."""


def record_path(results: Path, task: Task, suffix: str = ".json") -> Path:
    """Where a task's record lies."""
    return results / JOBS_DIRECTORY / record_name(task.key, suffix)


def write_record(results: Path, task: Task, record: Record) -> None:
    """Keep what a task cost and said."""
    write_atomic(record_path(results, task), canonical_json(asdict(record)))


def read_record(results: Path, task: Task) -> Record | None:
    """What a task left; None where it left nothing.

    Raises:
        BadInput: a file that is no record.
    """
    path = record_path(results, task)
    return record_of(read_json(path, LARGEST), str(path)) if path.is_file() else None


def record_of(values: Any, origin: str) -> Record:
    """A record from its JSON.

    Raises:
        BadInput: it is none.
    """
    try:
        return Record(
            float(values["began"]),
            tuple(Stage(**each) for each in values["stages"]),
            Ended(**values["ended"]),
            tuple((str(stream), str(text)) for stream, text in values["text"]),
        )
    except (KeyError, TypeError, ValueError, json.JSONDecodeError):
        raise BadInput(f"{origin}: is no record of a task; remove it") from None


@contextmanager
def claimed(results: Path, task: Task, seconds: float = GRACE + 30) -> Iterator[None]:
    """Hold a task's lock for the block, so that no two processes run it; wait for one that is still stopping.

    Args:
        seconds: how long to wait.

    Raises:
        EnvironmentProblem: another process holds the lock for longer.
    """
    path = record_path(results, task, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, seconds, mode=0o644, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise EnvironmentProblem(f"{task.key}: another process has been running it for {seconds:.0f} s") from None
    try:
        yield
    finally:
        lock.release()


def wait_for_claims(results: Path, tasks: Sequence[Task], seconds: float) -> None:
    """Wait until no process runs any of the tasks, or the seconds are over."""
    deadline = time.monotonic() + seconds
    for task in tasks:
        path = record_path(results, task, ".lock")
        if path.exists():
            with suppress(Timeout, OSError), FileLock(path, max(0.0, deadline - time.monotonic()), mode=0o644):
                pass
