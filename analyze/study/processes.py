"""Runs tasks in processes, as many at a time as there are cores and memory for; nothing is left running.

Each task has a process of its own, forked from a server that has imported torch once: it starts in half a second, its
memory is free again when it ends, and what it does does not depend on what ran before. Every process is a group of its
own, so Ctrl-C in a terminal reaches this one alone, which then asks the others to stop in order.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import TextIOBase
from itertools import cycle
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from analyze.study.tasks import Report, Task, in_order
from train.errors import EnvironmentProblem, PolysemError, interrupt, message_and_code

PRELOADED = [
    "accelerate",
    "pydantic",
    "safetensors.torch",
    "scipy.sparse",
    "scipy.stats",
    "tokenizers",
    "torch._dynamo",
]
"""What the server imports: all of it leaves the server with one thread, which fork needs (polars does not). Optimizers
import torch._dynamo: a second of every training."""

PROFILES = "POLYSEM_PROFILES"
"""A variable that names a directory, in which each task then leaves a profile: see benchmarks/study.py."""

GRACE = 120.0
"""Seconds that a task has to stop in order: a training finishes its step and saves."""


@dataclass(frozen=True)
class Stage:
    """A finished stage: a line of stages.json."""

    stage: str
    name: str
    seconds: float
    said: str


class TaskFailed(PolysemError):
    """A failure in a task's process, with its exit code."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type["TaskFailed"], tuple[str, int]]:
        return TaskFailed, (str(self), self.exit_code)


ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Pools beside torch's: tasks run side by side, so each has one core."""


@dataclass(frozen=True)
class Place:
    """Where a task's process runs: as the one that starts it, not as the server did when it began."""

    directory: str
    environ: dict[str, str]


@dataclass(frozen=True)
class Ended:
    """What a finished task cost."""

    seconds: float
    peak_bytes: int


@dataclass
class Running:
    """A task's process."""

    task: Task
    slot: int
    process: ForkServerProcess
    messages: Connection
    began: float
    cores: int = 1
    ended: Ended | None = None
    failure: PolysemError | None = None


class ProcessReport(Report):
    """Sends the stages of a task to the process that started it."""

    def __init__(self, messages: Connection):
        self._messages = messages

    @contextmanager
    def stage(self, kind: str, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage; the yielded function takes what its line says behind the name."""
        said: list[str] = []
        start = time.perf_counter()
        yield said.append
        self._messages.send(Stage(kind, name, round(time.perf_counter() - start, 2), " ".join(said)))


class _Forwarded(TextIOBase):
    """A standard stream whose text goes to the process that started the task."""

    def __init__(self, messages: Connection, stream: str):
        self._messages, self._stream = messages, stream

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._messages.send((self._stream, text))
        return len(text)


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    free: int,
    on_stage: Callable[[Task, Stage], None],
    on_change: Callable[[Sequence[Running], Sequence[Task]], None] = lambda running, waiting: None,
    on_text: Callable[[str, str], None] = lambda stream, text: None,
    on_end: Callable[[Task, Ended], None] = lambda task, ended: None,
) -> None:
    """Run all tasks, each after those that it needs; of those that may run, first the one with the longest chain.

    Args:
        jobs: cores to use; a task takes as many as it has threads, but never more than all. Where no task waits for
            cores or memory, the idle ones go to tasks that can spread, as they start.
        free: bytes of memory that tasks that run at once may take together; one always runs.
        on_stage: takes each stage as it ends.
        on_change: takes what runs and what waits, about once a second and at each change.
        on_text: takes a stream's name and what a task printed there.
        on_end: takes a task that succeeded, and its cost.

    Raises:
        PolysemError: the first failure, when the tasks beside it have stopped in order. What is done stays.
    """
    waiting, done = in_order(tasks), set[str]()
    known = {task.key for task in tasks}
    running: list[Running] = []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    place = Place(os.getcwd(), {**os.environ, **ONE_THREAD})
    with _environment(place.environ):
        forkserver.ensure_running()
    try:
        while waiting or running:
            for task, cores in _startable(waiting, running, done, known, jobs, free):
                waiting.remove(task)
                running.append(_start(context, task, cores, _free_slot(running), place))
            on_change(running, waiting)
            _receive(running, on_stage, on_text)
            for each in [each for each in running if each.process.exitcode is not None]:
                _drain(each, on_stage, on_text)
                running.remove(each)
                each.process.join()
                if (each.process.exitcode or 0) < 0:
                    _signal_group(each, signal.SIGTERM)  # what it started does not know that it was killed
                _raise_failure(each)
                assert each.ended is not None
                done.add(each.task.key)
                on_end(each.task, each.ended)
    finally:
        _stop(running, on_stage, on_text)
    on_change(running, waiting)


def _startable(
    waiting: Sequence[Task], running: Sequence[Running], done: set[str], known: set[str], jobs: int, free: int
) -> list[tuple[Task, int]]:
    """Tasks to start now, and the cores of each.

    A shorter one does not overtake a longer one that waits for cores or memory alone.
    """
    cores = jobs - sum(each.cores for each in running)
    memory = free - sum(_memory(each.task, each.cores) for each in running)
    held = {each.task.exclusive for each in running} - {""}
    chosen: dict[Task, int] = {}
    for task in waiting:
        if any(need in known and need not in done for need in task.needs) or task.exclusive in held:
            continue
        is_first = not running and not chosen
        if min(task.threads, jobs) > cores or (task.memory > memory and not is_first):
            return list(chosen.items())
        chosen[task] = min(task.threads, jobs)
        cores, memory = cores - chosen[task], memory - task.memory
        held |= {task.exclusive} - {""}
    for task in cycle([task for task in chosen if task.spreads]):
        if cores < 1 or task.memory > memory:
            break
        chosen[task] += 1
        cores, memory = cores - 1, memory - task.memory
    return list(chosen.items())


def _memory(task: Task, cores: int) -> int:
    """Bytes that a task may take on so many cores."""
    return task.memory * cores if task.spreads else task.memory


def _free_slot(running: Sequence[Running]) -> int:
    taken = {each.slot for each in running}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


@contextmanager
def _environment(environ: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _start(context: Any, task: Task, cores: int, slot: int, place: Place) -> Running:
    ours, theirs = context.Pipe(duplex=False)
    told = replace(task, call=partial(task.call, cores=cores)) if task.spreads else task
    process = context.Process(target=_work, args=(told, theirs, place), name=task.key)
    process.start()
    theirs.close()
    return Running(task, slot, process, ours, time.monotonic(), cores)


def _receive(running: Sequence[Running], on_stage: Callable, on_text: Callable, seconds: float = 1.0) -> None:
    """Wait until a task says something or ends, a second at most, and take what there is."""
    ready = set(wait([*(each.messages for each in running), *(each.process.sentinel for each in running)], seconds))
    for each in running:
        if each.messages in ready:
            _take(each, on_stage, on_text)


def _drain(each: Running, on_stage: Callable, on_text: Callable) -> None:
    while each.messages.poll() and _take(each, on_stage, on_text):
        pass


def _take(each: Running, on_stage: Callable, on_text: Callable) -> bool:
    """One message of a task; False where it has closed its end."""
    try:
        message = each.messages.recv()
    except (EOFError, OSError):
        return False
    match message:
        case Stage():
            on_stage(each.task, message)
        case Ended():
            each.ended = message
        case TaskFailed():
            each.failure = message
        case (stream, text):
            on_text(stream, text)
    return True


def _raise_failure(each: Running) -> None:
    if each.failure is not None:
        raise each.failure
    if each.ended is None:
        code = each.process.exitcode or 0
        how = f"was killed by the system ({signal.Signals(-code).name})" if code < 0 else f"left with exit code {code}"
        memory = "; memory may have run out" if code == -signal.SIGKILL else ""
        raise EnvironmentProblem(f"{each.task.key}: its process {how}{memory}; the same command goes on from here")


def _stop(running: list[Running], on_stage: Callable, on_text: Callable) -> None:
    """Ask every task to stop in order, wait, and kill what does not, with all that it started."""
    for each in running:
        _signal(each, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    try:
        while (alive := [each for each in running if each.process.exitcode is None]) and time.monotonic() < deadline:
            _receive(alive, on_stage, on_text, 0.2)
    finally:  # a second Ctrl-C: at once
        for each in running:
            _signal(each, signal.SIGKILL)
            each.process.join()
        running.clear()


def _signal(each: Running, number: int) -> None:
    """To a task's process, or, to kill, to its whole group."""
    if number == signal.SIGKILL:
        _signal_group(each, number)
    if each.process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each.process.pid, number)


def _signal_group(each: Running, number: int) -> None:
    if each.process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(each.process.pid, number)


def _work(task: Task, messages: Connection, place: Place) -> None:
    """A task's process."""
    os.setpgid(0, 0)
    os.chdir(place.directory)
    os.environ.clear()
    os.environ.update(place.environ)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(task.threads)
    start = time.perf_counter()
    with redirect_stdout(_Forwarded(messages, "stdout")), redirect_stderr(_Forwarded(messages, "stderr")):
        try:
            _profiled(task, ProcessReport(messages))
            outcome: Any = Ended(time.perf_counter() - start, peak_bytes())
        except BaseException as failure:
            if os.environ.get("POLYSEM_DEBUG"):
                import traceback

                traceback.print_exc()
            outcome = TaskFailed(*message_and_code(failure))
    messages.send(outcome)
    messages.close()


def _profiled(task: Task, report: Report) -> None:
    """Run a task; where the environment names a directory for profiles, leave its own there."""
    directory = os.environ.get(PROFILES)
    if not directory:
        task.call(report)
        return
    import cProfile

    with cProfile.Profile() as profile:
        task.call(report)
    profile.dump_stats(os.path.join(directory, f"{task.key}.prof"))


def _stop_with_parent() -> None:
    """Should the study be killed, its tasks stop in order too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
