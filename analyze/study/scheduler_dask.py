"""A study on dask.distributed: its tasks as futures of a scheduler (`study --scheduler dask [--address ...]`).

dask decides which worker runs what, and when; a worker that is lost costs the task that it ran, which dask gives to
another one. A worker runs a task as a process of its own, so a worker may have any number of threads and keep running,
and needs nothing but this program and the study's directories at the same path.
"""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.study.processes import GRACE, TaskFailed
from analyze.study.progress import Progress
from analyze.study.records import record_of, record_path, wait_for_claims
from analyze.study.scheduler import Scheduler, StudyCommand
from analyze.study.tasks import Task, chains
from train.errors import EnvironmentProblem, PolysemError, Stopped, one_line
from train.launch import DONE
from train.parent import WORKS_FOR, working_for_this_process

CONNECT_SECONDS = 30.0
"""How long a scheduler may take to answer."""

POLL_SECONDS = 0.2

INSTALL = "--scheduler dask: dask.distributed is not installed; pip install 'polysem[dask]'"


@dataclass(frozen=True)
class Running:
    """A task on a worker, as `Progress` shows it."""

    task: Task
    slot: int
    began: float


class DaskScheduler(Scheduler):
    """Hands tasks to a dask scheduler and waits for them.

    Args:
        address: of a scheduler, such as `tcp://node1:8786`; empty: a cluster of this machine, for this study.
        jobs: workers of that cluster.
        cores: cores of each task.
    """

    def __init__(self, address: str, jobs: int, cores: int = 1):
        self._address, self._jobs, self._cores = address, jobs, cores

    def run(self, tasks: Sequence[Task], command: StudyCommand, progress: Progress) -> bool:
        """Submit all tasks with what they wait for, and take their records as they end.

        Raises:
            EnvironmentProblem: no dask, or a scheduler or workers that cannot be reached any more.
            TaskFailed: the first failure of a task; the others have been asked to stop in order.
        """
        by_key = {task.key: task for task in tasks}
        with self._client(tasks) as client:
            ended: queue.Queue[Any] = queue.Queue()
            futures = self._submit(client, tasks, command)
            key_of = {future.key: key for key, future in futures.items()}
            for future in futures.values():
                future.add_done_callback(ended.put)
            left = set(by_key)
            watch = _Watch(client, self._where, key_of, by_key)
            try:
                while left:
                    progress.changed(watch.running(left), [by_key[key] for key in left])
                    with suppress(queue.Empty):
                        future = ended.get(timeout=1.0)
                        key = key_of[future.key]
                        self._take(future, by_key[key], progress)
                        left.discard(key)
            except BaseException as failure:
                with suppress(Exception):  # of a scheduler that is gone
                    client.cancel(list(futures.values()), force=True)
                wait_for_claims(command.results, [by_key[key] for key in left], GRACE)
                if isinstance(failure, OSError | TimeoutError):
                    raise EnvironmentProblem(f"{self._where} does not answer any more ({failure}); {STAYS}") from None
                raise
        return True

    @property
    def _where(self) -> str:
        return f"the dask scheduler at {self._address}" if self._address else "the dask scheduler of this machine"

    @contextmanager
    def _client(self, tasks: Sequence[Task]) -> Iterator[Any]:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise EnvironmentProblem(INSTALL) from None
        from train.memory import free_memory

        for name in ("asyncio", "tornado", *logging.root.manager.loggerDict):
            if name.split(".")[0] in ("asyncio", "distributed", "tornado"):  # each has a level of its own
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # their tracebacks; we say one line
        if not self._address:
            workers = local_workers(tasks, self._jobs, free_memory())
            # dask would warn where its usual port is taken, and kill a worker by its memory, which is not its task's.
            options: dict[str, Any] = {"processes": True, "threads_per_worker": 1, "memory_limit": 0}
            options["dashboard_address"] = "127.0.0.1:0"
            try:
                cluster = LocalCluster(n_workers=workers, silence_logs=logging.CRITICAL, **options)
            except (OSError, RuntimeError, TimeoutError) as failure:
                raise EnvironmentProblem(f"{self._where} does not start ({one_line(str(failure), 200)})") from None
            with cluster, Client(cluster, set_as_default=False) as client:
                yield client
            return
        try:
            client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as failure:
            said = one_line(str(failure), 200)
            raise EnvironmentProblem(
                f"--address {self._address}: no dask scheduler answers ({said}); {STAYS}"
            ) from None
        with client:
            yield client

    def _submit(self, client: Any, tasks: Sequence[Task], command: StudyCommand) -> dict[str, Any]:
        """A future of each task, by its key; the longest chain first."""
        priority, start = chains(tasks), uuid.uuid4().hex[:8]
        own = {key: value for key, value in os.environ.items() if key.startswith("POLYSEM_")}
        environ = {key: value for key, value in own.items() if key not in (DONE, WORKS_FOR)}
        futures: dict[str, Any] = {}
        last_alone: dict[str, Any] = {}
        for task in tasks:
            needed = [futures[need] for need in task.needs if need in futures]
            if task.exclusive and not self._address:  # one machine: they would share its device
                needed += [last_alone[task.exclusive]] if task.exclusive in last_alone else []
            words, record = command.words(task.key, str(self._cores)), record_path(command.results, task)
            futures[task.key] = client.submit(
                run_words,
                task.key,
                words,
                str(command.directory),
                environ,
                str((command.directory / record).resolve()),
                *needed,
                key=f"{command.results.name} {task.key} {start}",
                priority=priority[task.key],
                pure=False,
            )
            last_alone[task.exclusive] = futures[task.key]
        return futures

    def _take(self, future: Any, task: Task, progress: Progress) -> None:
        """What a future became.

        Raises:
            PolysemError: it failed.
        """
        if future.status == "finished":
            record = record_of(json.loads(future.result()), task.key)
            for stream, text in record.text:
                progress.text(stream, text)
            for stage in record.stages:
                progress.ended_stage(task, stage)
            progress.ended_task(task, record.ended)
            return
        if future.status != "error":  # cancelled or lost: by others, or with the scheduler
            raise EnvironmentProblem(f"{self._where} does not answer any more, or dropped {task.key}; {STAYS}")
        failure = future.exception()
        if isinstance(failure, PolysemError):
            raise failure
        if type(failure).__name__ == "KilledWorker":
            raise EnvironmentProblem(f"{task.key}: every dask worker that ran it was lost; its memory may have run out")
        raise EnvironmentProblem(f"{task.key}: {type(failure).__name__}: {failure}")


STAYS = "what ran stays, and the same command goes on"


def local_workers(tasks: Sequence[Task], jobs: int, free: int) -> int:
    """Workers of a cluster of this machine: as many as its cores and memory let run at once, whichever tasks meet."""
    threads = max((task.threads for task in tasks), default=1)
    memory = max((task.memory for task in tasks), default=1)
    return max(1, min(jobs // threads, free // memory))


class _Watch:
    """What runs, by the scheduler's own word, asked anew every second; says once where no worker is there."""

    def __init__(self, client: Any, where: str, key_of: Mapping[str, str], by_key: Mapping[str, Task]):
        self._client, self._where, self._key_of, self._by_key = client, where, key_of, by_key
        self._began: dict[str, tuple[int, float]] = {}
        self._start, self._warned = time.monotonic(), False

    def running(self, left: set[str]) -> list[Running]:
        """The tasks that workers have.

        Raises:
            OSError, TimeoutError: the scheduler does not answer.
        """
        there: dict[str, tuple[int, float]] = {}
        workers = self._client.processing()
        for slot, keys in enumerate(workers.values()):
            for key in keys:
                if (task := self._key_of.get(key)) in left:
                    there[task] = (slot, self._began.get(task, (0, time.monotonic()))[1])
        self._began = there
        if not workers and not self._warned and time.monotonic() - self._start > 5:
            print(f"{self._where} has no worker yet; the study waits for one", file=sys.stderr, flush=True)
            self._warned = True
        return [Running(self._by_key[key], slot, began) for key, (slot, began) in there.items()]


def run_words(key: str, words: list[str], directory: str, environ: dict[str, str], record: str, *needed: object) -> str:
    """Run a task's command line on a worker; returns its record, as JSON.

    It stops in order where the task is cancelled, the study goes away, or the worker is killed.

    Args:
        needed: what the tasks before it returned; dask waits for them.

    Raises:
        TaskFailed: with the process' own line and exit code.
    """
    if not Path(directory).is_dir():
        raise TaskFailed(f"{key}: {directory} is not there on {os.uname().nodename}; workers need the study's files", 3)
    Path(record).unlink(missing_ok=True)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *words[1:]],
            cwd=directory,
            env={**os.environ, **environ, **working_for_this_process()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # Ctrl-C in a terminal is for the study, which asks this task to stop
        )
        try:
            while process.poll() is None and _is_wanted():
                time.sleep(POLL_SECONDS)
        finally:
            _stop(process)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    code = process.returncode
    if code == 0 and Path(record).is_file():
        return Path(record).read_text()
    if code < 0:
        how = signal.Signals(-code).name
        raise TaskFailed(f"{key}: its process was killed by the system ({how}); the same command goes on from here", 3)
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raise TaskFailed((errors or lines or [f"{key}: exit code {code}"])[-1], code or Stopped.exit_code)


def _is_wanted() -> bool:
    """Whether the task that runs in this thread of a worker has not been cancelled, and the worker is not closing."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state in ("executing", "long-running") and worker.status.name in ACTIVE


ACTIVE = ("init", "starting", "running", "paused", "closing_gracefully")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to stop in order, and kill it with all that it started where it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
