"""What a study says while it runs: a line a finished stage, and on a terminal one line of what runs now.

The same is written to the study's results every second or so, for `polysem status` in another terminal.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from analyze.study.processes import Ended, Stage
from analyze.study.tasks import Task, chains
from train.files import canonical_json, write_atomic
from train.study_progress import PROGRESS_FILE, progress_line

EVERY = 2.0
"""Seconds between two writings of the file."""


@runtime_checkable
class RunningTask(Protocol):
    """A task that runs, on a numbered core or worker, since a time of `time.monotonic`."""

    @property
    def task(self) -> Task: ...
    @property
    def slot(self) -> int: ...
    @property
    def began(self) -> float: ...


class Progress:
    """Prints and keeps what the stages of a study cost.

    Args:
        results: the study's directory of results.
        total: stages of the study.
        jobs: cores that it uses.
    """

    def __init__(self, results: Path, total: int, jobs: int):
        self.total, self.jobs = total, jobs
        self.finished: list[Stage] = []
        self.costs: dict[str, Ended] = {}
        self._guesses: dict[str, tuple[str, float]] = {}
        self._path = results / PROGRESS_FILE
        self._live = sys.stdout.isatty()
        self._shown, self._written = "", 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *failure: object) -> None:
        self._clear()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    @contextmanager
    def stage(self, kind: str, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage of this process; the yielded function takes what the line says behind the name."""
        said: list[str] = []
        start = time.perf_counter()
        yield said.append
        self.ended_stage(None, Stage(kind, name, round(time.perf_counter() - start, 2), " ".join(said)))

    def ended_stage(self, task: Task | None, stage: Stage) -> None:
        """Print a stage's line."""
        self.finished.append(stage)
        number = f"[{len(self.finished):>{len(str(self.total))}}/{self.total}]"
        self.text("stdout", f"{number} {stage.stage:8} {stage.name:24} {stage.seconds:7.1f} s  {stage.said}\n")

    def ended_task(self, task: Task, ended: Ended) -> None:
        """Keep what a task cost: times to come are foretold by it."""
        self.costs[task.key] = ended
        self._guesses[task.key] = (task.kind, task.seconds)

    def recall(self, task: Task, stages: Sequence[Stage], ended: Ended) -> None:
        """Take what a task cost that ran elsewhere, and print nothing."""
        self.finished.extend(stages)
        self.ended_task(task, ended)

    def text(self, stream: str, text: str) -> None:
        """Print what a task said, above the line of what runs."""
        self._clear()
        print(text, end="", file=sys.stderr if stream == "stderr" else sys.stdout, flush=True)

    def changed(self, running: Sequence[RunningTask], waiting: Sequence[Task]) -> None:
        """Show what runs and how long the rest will take."""
        now = time.monotonic()
        facts: dict[str, Any] = {
            "done": len(self.finished),
            "total": self.total,
            "jobs": self.jobs,
            "seconds_left": self.seconds_left(running, waiting),
            "running": [
                {"core": each.slot + 1, "task": each.task.key, "seconds": now - each.began} for each in running
            ],
            "pid": os.getpid(),
        }
        if self._live:
            line = progress_line(facts)[: max(20, _columns() - 1)]
            if line != self._shown:
                self._clear()
                print(line, end="\r", flush=True)
                self._shown = line
        if now - self._written > EVERY:
            self._written = now
            with suppress(OSError):
                write_atomic(self._path, canonical_json(facts))

    def seconds_left(self, running: Sequence[RunningTask], waiting: Sequence[Task]) -> float | None:
        """Time to the end, by the rates of what has ended here; None while nothing has.

        No less than the longest chain of tasks, nor than all that is left shared among the cores.
        """
        rates = self._rates()
        if not rates:
            return None
        tasks = [*(each.task for each in running), *waiting]
        seconds = {task.key: task.seconds * rates.get(task.kind, rates[""]) for task in tasks}
        for each in running:
            seconds[each.task.key] = max(0.0, seconds[each.task.key] - (time.monotonic() - each.began))
        longest = max(chains(tasks, seconds).values(), default=0.0)
        return max(longest, sum(seconds.values()) / self.jobs)

    def _rates(self) -> Mapping[str, float]:
        """Kind -> seconds measured over seconds guessed, of the tasks that were done and not found; "": of all."""
        measured: dict[str, float] = {}
        guessed: dict[str, float] = {}
        for key, (kind, guess) in self._guesses.items():
            if self.costs[key].seconds > 0.02 * guess:  # what is found again says nothing of how long it took
                for name in (kind, ""):
                    measured[name] = measured.get(name, 0.0) + self.costs[key].seconds
                    guessed[name] = guessed.get(name, 0.0) + guess
        return {name: measured[name] / guessed[name] for name in measured}

    def seconds_by_kind(self) -> dict[str, float]:
        """Seconds of all stages of a kind, in the order of their first appearance."""
        seconds: dict[str, float] = {}
        for stage in self.finished:
            seconds[stage.stage] = seconds.get(stage.stage, 0.0) + stage.seconds
        return seconds

    def _clear(self) -> None:
        if self._shown:
            print(" " * len(self._shown), end="\r", flush=True)
            self._shown = ""


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 100
