"""Work in several processes: as many as there are cores and memory, the same results for any number of them.

The processes are loky's (https://loky.readthedocs.io, in joblib, which scikit-learn brings): they start anew instead
of being forked, since polars and OpenMP do not survive a fork, and a script that calls them needs no `__main__` guard.
Each computes on one thread. What they read whole, they read from disk: only small things travel as pickles.
"""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import current_process
from typing import Any, TypeVar

from train.cores import usable_cores
from train.errors import BadInput, EnvironmentProblem

Result = TypeVar("Result")

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


def checked_jobs(jobs: int | None, say: Callable[[str], None] = lambda line: None) -> int:
    """How many processes to use: `jobs`, or as many as there are cores that this process may use.

    One where this process is itself a worker that may start no others.

    Args:
        say: takes a line where `jobs` is more than the cores.

    Raises:
        BadInput: less than 1.
    """
    cores = usable_cores()
    if jobs is not None and jobs < 1:
        raise BadInput(f"--jobs {jobs}: must be at least 1")
    if jobs is not None and jobs > cores:
        say(f"--jobs {jobs}: more than the {cores} cores that this process may use")
    return 1 if current_process().daemon else jobs or cores


def jobs_that_fit(jobs: int, bytes_each: int, free: int, say: Callable[[str], None] = lambda line: None) -> int:
    """`jobs`, or fewer where the memory is not enough for so many, at least 1; `say` takes a line in that case."""
    fit = max(1, min(jobs, free // max(bytes_each, 1)))
    if fit < jobs:
        say(
            f"memory for {fit} of {jobs} processes: each takes about {bytes_each / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free"
        )
    return fit


PARENT_SECONDS = 1.0
"""How often a worker looks whether the process that started it is there."""


class _NoTerminal(io.TextIOWrapper):
    """Standard error of a worker: the progress bars of several would overwrite one another."""

    def isatty(self) -> bool:
        """No."""
        return False


class Workers:
    """Processes that wait for work, started when the first piece is submitted."""

    def __init__(self, jobs: int, env: Mapping[str, str] | None = None) -> None:
        self.jobs, self.env = jobs, {**ONE_THREAD, **(env or {})}
        self._executor: Any = None

    @property
    def started(self) -> bool:
        """Whether there are processes by now."""
        return self._executor is not None

    def submit(self, work: Callable[..., Result], *args: Any) -> "Future[Result]":
        """Have `work(*args)` computed in a process; what it raises, `result` raises."""
        if self._executor is None:
            with _without_ctrl_c():
                return self._started().submit(_on_one_thread, work, args)
        return self._executor.submit(_on_one_thread, work, args)

    def _started(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor  # a quarter of a second to import

        self._executor = ProcessPoolExecutor(self.jobs, env=self.env, initializer=_begin, initargs=(os.getpid(),))
        return self._executor

    def limit(self, jobs: int) -> None:
        """Have no more than so many processes from now on."""
        if jobs < self.jobs:
            self.close()
            self.jobs = jobs

    def close(self, kill: bool = False) -> None:
        """End the processes once they have done what was submitted; or now, whatever they do."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=kill)
            self._executor = None


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Inside the block SIGINT is ignored, and for good by the processes that start in it.

    Ctrl-C goes to every process of a terminal: workers leave it to this one, which ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # no other may
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(parent: int) -> None:
    """What a worker does first; `parent`, the process that started it, may be gone by then."""
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where the one that starts it is no main thread
    from joblib.externals.loky import process_executor
    from tqdm import tqdm

    # loky takes a worker that keeps what it read (text, grammar, labels) for a leak, and replaces it after each piece.
    process_executor._USE_PSUTIL = False
    sys.stderr = _NoTerminal(sys.stderr.buffer, line_buffering=True)
    tqdm.set_lock(threading.RLock())  # its own, between processes, would count as leaked when a worker is killed


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone: who is killed can end no others."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _on_one_thread(work: Callable[..., Result], args: tuple[Any, ...]) -> Result:
    if (torch := sys.modules.get("torch")) is not None:  # imported with `work`; what does without is spared a second
        torch.set_num_threads(1)
    return work(*args)


@contextmanager
def workers(jobs: int, env: Mapping[str, str] | None = None) -> Iterator[Workers]:
    """Up to `jobs` processes for the block; none is left behind it, whatever ends it.

    Args:
        env: variables of the environment of each, beside those that hold it to one thread.

    Raises:
        EnvironmentProblem: the system ended one of them.
    """
    pool = Workers(jobs, env)
    try:
        yield pool
        pool.close()
    except BrokenProcessPool as failure:
        raise EnvironmentProblem(
            "the system ended a worker process (out of memory?); what is done stays: start again to go on, with a "
            f"smaller --jobs than {jobs} if it happens again"
        ) from failure
    finally:
        pool.close(kill=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block torch and BLAS compute on one thread, as in a worker, so that sums come out the same."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
