"""Where the tasks of a study run: what every scheduler is given, and what it has to do.

Without a scheduler they run in processes of the study's own (processes.py). A scheduler starts each of them as a
command line in a directory that all machines see: `python -m analyze study STUDY.toml --only TASK`, which is the same
task in the same kind of process. So where a task runs changes no result.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.study.progress import Progress
from analyze.study.tasks import Task


@dataclass(frozen=True)
class StudyCommand:
    """The command line that began a study, from which those of its tasks are made."""

    config: Path
    out: Path
    results: Path
    overrides: tuple[str, ...]
    launch: str
    directory: Path
    """From which it was started; relative paths begin there."""

    def words(self, task: str, jobs: str) -> list[str]:
        """The command line of one task.

        Args:
            task: its key.
            jobs: cores for it.
        """
        # Words that begin with a dash would be options.
        config = f"./{self.config}" if str(self.config).startswith("-") else str(self.config)
        launch = [f"--launch={self.launch}"] if self.launch else []
        own = [config, f"--out={self.out}", f"--jobs={jobs}", f"--only={task}", *launch]
        return [sys.executable, "-m", "analyze", "study", *own, *self.overrides]


class Scheduler(ABC):
    """Runs the tasks of a study somewhere, each after those that it needs."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], command: StudyCommand, progress: Progress) -> bool:
        """Run all tasks, or hand them over.

        Args:
            tasks: each behind those that it needs.
            progress: takes stages and costs as they become known.

        Returns:
            Whether all have ended; False where they were handed over and go on by themselves.

        Raises:
            PolysemError: the first failure, or a scheduler that cannot be reached. What is done stays.
        """
