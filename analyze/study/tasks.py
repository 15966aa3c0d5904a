"""The pieces of a study that run in processes of their own, and which of them wait for which."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass


class Report(ABC):
    """What a task uses to say that a stage of it begins and how it ended."""

    @abstractmethod
    def stage(self, kind: str, name: str) -> AbstractContextManager[Callable[[str], None]]:
        """Time a stage; what the context yields takes what the stage's line says."""


@dataclass(frozen=True)
class Task:
    """A piece of a study that runs in one process from start to end."""

    kind: str
    name: str
    call: Callable[..., None]
    """Takes a `Report`, in another process: so it can be pickled."""
    seconds: float
    """Guess of its time on one core (see `analyze.study.estimates`)."""
    memory: int
    """Bytes that it may take at its peak."""
    needs: tuple[str, ...] = ()
    """Keys of the tasks that come before."""
    threads: int = 1
    spreads: bool = False
    """Whether `call` also takes `cores=`: it gets those that would idle, and may take `memory` on each of them."""
    exclusive: str = ""
    """Of tasks with the same non-empty word, one runs at a time: those that would share a GPU, or start processes."""

    @property
    def key(self) -> str:
        """Unique in a study."""
        return f"{self.kind} {self.name}"


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """Tasks by the time of the longest chain that begins with them, longest first; of equal ones as they were given."""
    chain = chains(tasks)
    return sorted(tasks, key=lambda task: -chain[task.key])


def chains(tasks: Sequence[Task], seconds: Mapping[str, float] | None = None) -> dict[str, float]:
    """Key -> time of the longest chain of tasks that begins with it, itself included.

    Args:
        seconds: by key, in place of the tasks' own guesses.
    """
    followers: dict[str, list[str]] = {task.key: [] for task in tasks}
    for task in tasks:
        for need in task.needs:
            if need in followers:
                followers[need].append(task.key)
    own = {task.key: task.seconds if seconds is None else seconds[task.key] for task in tasks}
    chain: dict[str, float] = {}

    def of(key: str) -> float:
        if key not in chain:
            chain[key] = own[key] + max(map(of, followers[key]), default=0.0)
        return chain[key]

    return {task.key: of(task.key) for task in tasks}
