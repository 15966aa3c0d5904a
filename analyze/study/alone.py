"""One task of a study, in the process that a scheduler started for it: `study STUDY.toml --only TASK`."""

import time
from pathlib import Path

from analyze.study.plan import load_study, plan
from analyze.study.processes import Ended, Stage, run_tasks
from analyze.study.progress import Progress
from analyze.study.records import Record, claimed, read_record, write_record
from analyze.study.run import close_study, settled_before, training_of
from analyze.study.stages import StudyDirectories, n_stages, tasks_of
from analyze.study.tasks import Task
from train.errors import BadInput, did_you_mean
from train.workers import checked_jobs


def run_alone(path: Path, out: Path, words: list[str], key: str, launch: str = "", jobs: int | None = None) -> None:
    """Run one task of a study that has begun, as the study itself would; leave a record of it.

    What the task needs has to be there. The last task, `compare`, closes the study.

    Args:
        key: the task's, such as `train gelu-s0` or `measure gelu-s0 untrained`.
        jobs: cores for it; the others are as for `run_study`.

    Raises:
        BadInput: no such task, or a study that has not begun.
        PolysemError: what stopped the task.
    """
    from train.data.resolve import ensure_data

    study, base = load_study(path, words)
    jobs = checked_jobs(jobs)
    checkpoints, results = out / "checkpoints" / path.stem, out / "results" / path.stem
    fixed = settled_before(results, base)
    if fixed is None:
        raise BadInput(f"--only {key}: {results} holds no study that has begun; start it without --only")
    planned = plan(study, base, checkpoints, str(path), fixed.precision)
    directories = StudyDirectories(ensure_data(base["data"], out / "data"), checkpoints, results)
    tasks = {task.key: task for task in tasks_of(study, planned, directories, training_of(fixed, launch))}
    if key not in tasks:
        raise BadInput(f"--only {key}: is no task of {path}{did_you_mean(key, [*tasks])}")
    with claimed(results, tasks[key]):
        _run(tasks[key], results, jobs)
    if tasks[key].kind == "compare":
        progress = Progress(results, n_stages(planned, study.analysis), jobs)
        began = time.time()
        for task in tasks.values():
            if (record := read_record(results, task)) is not None:
                progress.recall(task, record.stages, record.ended)
                began = min(began, record.began)
        close_study(progress, directories, planned, time.time() - began)


def _run(task: Task, results: Path, jobs: int) -> None:
    from train.memory import free_memory

    began, stages, text = time.time(), list[Stage](), list[tuple[str, str]]()

    def ended_stage(task: Task, stage: Stage) -> None:
        stages.append(stage)
        print(f"{stage.stage:8} {stage.name:24} {stage.seconds:7.1f} s  {stage.said}", flush=True)

    def said(stream: str, words: str) -> None:
        text.append((stream, words))
        print(words, end="", flush=True)

    def ended_task(task: Task, ended: Ended) -> None:
        write_record(results, task, Record(began, tuple(stages), ended, tuple(text)))

    run_tasks([task], jobs, free_memory(), ended_stage, on_text=said, on_end=ended_task)
