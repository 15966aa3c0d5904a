"""A study on Slurm: one array job a stage, each waiting for those before it (`study --scheduler slurm`).

The scripts are written to the study's results and say in plain words what each array task runs. Checked here with a
stand-in for sbatch, squeue and scancel (tests/analyze/study/slurm.py), never on a real cluster.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from analyze.study.progress import Progress
from analyze.study.records import record_path
from analyze.study.scheduler import Scheduler, StudyCommand
from analyze.study.tasks import Task
from train.errors import BadInput, EnvironmentProblem, one_line
from train.files import write_atomic
from train.study_slurm import (
    JOBS_DIRECTORY,
    SubmittedJob,
    call,
    forget_submitted,
    queue,
    read_submitted,
    write_submitted,
)

SCRIPT = """\
#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}{throttle}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --mem={megabytes}M
#SBATCH --open-mode=append
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --signal=B:TERM@{grace}
# {comment}
# Before its time is up Slurm sends SIGTERM: a training saves and leaves with exit code 75; submit the study again.
set -euo pipefail
cd {directory}
tasks=(
{tasks}
)
exec {words}
"""

GRACE = 180
"""Seconds before the end of a job's time at which its task is asked to stop in order."""


@dataclass(frozen=True)
class ArrayJob:
    """Tasks of one kind that may run at once: an array job."""

    number: int
    kind: str
    tasks: tuple[Task, ...]
    needs: tuple[int, ...]
    """Numbers of the stages before."""

    @property
    def name(self) -> str:
        """Of its script, such as `1-train`."""
        return f"{self.number}-{self.kind}"


class SlurmScheduler(Scheduler):
    """Submits array jobs and leaves.

    Args:
        options: words for every sbatch, such as `--partition gpu --time 4:00:00`; they win over what the scripts say.
        at_once: at most so many tasks of a stage run at a time; None: as many as the cluster lets.
    """

    def __init__(self, options: str = "", at_once: int | None = None):
        try:
            self._options = shlex.split(options)
        except ValueError as failure:
            raise BadInput(f"--sbatch {options!r}: {failure}") from None
        self._at_once = at_once

    def run(self, tasks: Sequence[Task], command: StudyCommand, progress: Progress) -> bool:
        """Write the scripts and submit them.

        Raises:
            EnvironmentProblem: sbatch is not there or refuses a job; those submitted before it are cancelled.
        """
        directory = command.results / JOBS_DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("*.sh"):
            old.unlink()
        for task in tasks:  # `status` takes a record for a task that these jobs have done
            record_path(command.results, task).unlink(missing_ok=True)
        stages = stages_of(tasks)
        for stage in stages:
            path = directory / f"{stage.name}.sh"
            write_atomic(path, script_of(stage, command, self._at_once).encode())
            path.chmod(0o755)
        ids: dict[int, str] = {}
        jobs: list[SubmittedJob] = []
        try:
            for stage in stages:
                ids[stage.number] = self._submit(stage, directory, ids)
                jobs.append(SubmittedJob(ids[stage.number], stage.name, tuple(task.key for task in stage.tasks)))
                write_submitted(command.results, jobs)
        except BaseException:
            if ids:
                call(["scancel", *ids.values()])
                forget_submitted(command.results)
            raise
        for stage in stages:
            after = ", ".join(ids[number] for number in stage.needs)
            progress.text(
                "stdout",
                f"submitted job {ids[stage.number]}: {stage.kind} {', '.join(task.name for task in stage.tasks)}"
                f"{f'; after {after}' if after else ''}\n",
            )
        progress.text(
            "stdout",
            f"scripts and logs {directory}; the last job writes {command.results}/comparison.md and report.html. "
            "Should a job fail, those behind it are cancelled; the same command goes on, with --scheduler or without\n",
        )
        return False

    def _submit(self, stage: ArrayJob, directory: Path, ids: Mapping[int, str]) -> str:
        """The id of a stage's job.

        Raises:
            EnvironmentProblem: it was not taken.
        """
        after = [f"--dependency=afterok:{':'.join(ids[number] for number in stage.needs)}"] if stage.needs else []
        log = f"--output={(directory / f'{stage.name}-%a.log').resolve()}"
        script = directory / f"{stage.name}.sh"
        words = ["sbatch", "--parsable", log, *after, *self._options, str(script)]
        done = call(words)
        if done is None:
            raise EnvironmentProblem(
                f"--scheduler slurm: sbatch does not answer on this machine; the scripts lie in {directory}, nothing "
                "was submitted, and what ran before stays"
            )
        number = done.stdout.strip().split(";")[0]
        if done.returncode or not number.isdecimal():
            said = one_line(done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")
            raise EnvironmentProblem(f"{shlex.join(words)}: {said}; nothing stays submitted, and what ran before stays")
        return number


def stages_of(tasks: Sequence[Task]) -> list[ArrayJob]:
    """Tasks by kind and by the longest chain before them, in the order in which they can run.

    Args:
        tasks: each behind those that it needs.
    """
    depth: dict[str, int] = {}
    groups: dict[tuple[int, str], list[Task]] = {}
    for task in tasks:
        depth[task.key] = 1 + max((depth[need] for need in task.needs if need in depth), default=-1)
        groups.setdefault((depth[task.key], task.kind), []).append(task)
    stages: list[ArrayJob] = []
    number_of: dict[str, int] = {}
    for number, (_, group) in enumerate(sorted(groups.items(), key=lambda each: each[0][0]), start=1):
        number_of |= {task.key: number for task in group}
        needs = {number_of[need] for task in group for need in task.needs if need in number_of}
        stages.append(ArrayJob(number, group[0].kind, tuple(group), tuple(sorted(needs))))
    return [replace(stage, needs=_nearest(stage, stages)) for stage in stages]


def _nearest(stage: ArrayJob, stages: Sequence[ArrayJob]) -> tuple[int, ...]:
    """The stages that a stage waits for, without those that another of them waits for already."""
    before: dict[int, set[int]] = {}
    for each in stages:
        before[each.number] = {far for near in each.needs for far in (near, *before[near])}
    implied = {far for near in stage.needs for far in before[near]}
    return tuple(number for number in stage.needs if number not in implied)


def script_of(stage: ArrayJob, command: StudyCommand, at_once: int | None) -> str:
    """The batch script of a stage."""
    words = command.words("TASK", "JOBS")
    shown = " ".join(
        {"--only=TASK": '--only="${tasks[$SLURM_ARRAY_TASK_ID]}"', "--jobs=JOBS": '--jobs="${SLURM_CPUS_PER_TASK:-1}"'}
        .get(word, shlex.quote(word)) for word in words
    )  # fmt: skip
    study = command.results.name
    return SCRIPT.format(
        name=f"{study}-{stage.kind}",
        last=len(stage.tasks) - 1,
        throttle="" if at_once is None else f"%{at_once}",
        threads=max(task.threads for task in stage.tasks),
        megabytes=ceil(max(task.memory for task in stage.tasks) / 1e6),
        grace=GRACE,
        comment=one_line(f"Stage {stage.number} of the study {study}: {stage.kind}, a task of the array each."),
        directory=shlex.quote(str(command.directory)),
        tasks="\n".join(f"    {shlex.quote(task.key)}" for task in stage.tasks),
        words=shown,
    )


def require_none_queued(results: Path) -> None:
    """Refuse to go on with a study while Slurm has jobs of it; where Slurm cannot be asked, locks of results decide.

    Jobs that have all ended are forgotten.

    Raises:
        BadInput: with their ids.
    """
    jobs = read_submitted(results)
    if not jobs:
        return
    try:
        ids = {job for job, _ in queue()}
    except EnvironmentProblem:
        return
    queued = [job.id for job in jobs if job.id in ids]
    if queued:
        raise BadInput(
            f"{results}: jobs {', '.join(queued)} of this study wait or run on Slurm; let them end, or stop them with "
            f"scancel {' '.join(queued)}"
        )
    forget_submitted(results)
