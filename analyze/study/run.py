"""Run a whole study: prepare, train, widen and fine-tune, collect, score, follow copies, compare, report.

What each stage does, and which waits for which, stands in stages.py; processes.py runs them, as many at a time as there
are cores. A stage that finds its result, made from the same inputs, does not run again. Stop a study at any point; the
same command goes on.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from analyze.comparison.in_short import in_short
from analyze.study.config import StudyConfig
from analyze.study.plan import PlannedRun, load_study, plan
from analyze.study.processes import run_tasks
from analyze.study.progress import Progress
from analyze.study.scheduler import Scheduler, StudyCommand
from analyze.study.scheduler_slurm import require_none_queued
from analyze.study.stages import StudyDirectories, Training, n_stages, tasks_of
from analyze.study.tasks import Task
from train.cores import usable_cores
from train.errors import BadInput
from train.files import canonical_json, locked, read_json, write_atomic
from train.precision import Precision, settled
from train.study_slurm import forget_submitted
from train.workers import checked_jobs

SETTLED_FILE = "settled.json"
"""In a study's results: what was settled when it first began, and is kept wherever it goes on."""


@dataclass(frozen=True)
class Settled:
    """What decides the last bits of every training of a study, beside their configs."""

    threads: int
    """Of each training."""
    precision: Precision
    """What "auto" stands for."""


def run_study(
    path: Path,
    out: Path,
    words: list[str],
    launch: str = "",
    jobs: int | None = None,
    scheduler: Scheduler | None = None,
) -> None:
    """Do whatever of a study is not done yet, then print its table and where the report lies.

    Args:
        path: a STUDY.toml.
        out: where data/, checkpoints/<study>/ and results/<study>/ are written.
        words: overrides of the study's keys and of its base run's.
        launch: what starts a training process, such as "torchrun --nproc_per_node 2"; trainings then run one after
            another, with nothing beside them. Empty: trainings run in processes of this study.
        jobs: cores to use; default: all that this process may use. It changes no result.
        scheduler: runs the tasks elsewhere; None: in processes of this study. It changes no result either.

    Raises:
        BadInput: a study or override that is not valid; `jobs` below 1; jobs of the study that Slurm still has.
        PolysemError: what stopped a stage; every stage before it stays.
    """
    from train.data.resolve import ensure_data

    study, base = load_study(path, words)
    cores, jobs = usable_cores(), checked_jobs(jobs, partial(print, flush=True))
    checkpoints, results = out / "checkpoints" / path.stem, out / "results" / path.stem
    plan(study, base, checkpoints, str(path))  # what cannot be is refused before anything is written
    start = time.perf_counter()
    with locked(results):
        require_none_queued(results)
        fixed = _settle(results, study, base, cores, launch)
        planned = plan(study, base, checkpoints, str(path), fixed.precision)
        with Progress(results, n_stages(planned, study.analysis), jobs) as progress:
            with progress.stage("prepare", base["data"]) as say:
                directories = StudyDirectories(ensure_data(base["data"], out / "data"), checkpoints, results)
                say(str(directories.data))
            tasks = tasks_of(study, planned, directories, training_of(fixed, launch))
            if scheduler is not None:
                command = StudyCommand(path, out, results, tuple(words), launch, Path.cwd())
                if not scheduler.run(tasks, command, progress):
                    return
            else:
                free = _free_memory(tasks, jobs)
                run_tasks(tasks, jobs, free, progress.ended_stage, progress.changed, progress.text, progress.ended_task)
        close_study(progress, directories, planned, time.perf_counter() - start)


def training_of(fixed: Settled, launch: str) -> Training:
    """How a study trains, on this machine."""
    return Training(fixed.threads, launch, bool(launch) or _has_gpu())


def _settle(results: Path, study: StudyConfig, base: dict[str, Any], cores: int, launch: str) -> Settled:
    """What an earlier start of the study settled; else what fits this machine, recorded.

    Threads of a training: the cores, shared among the runs that can train at once; no more than OMP_NUM_THREADS says.

    Raises:
        BadInput: a record that is not one.
    """
    before = settled_before(results, base)
    if before is not None:
        if before.threads > cores:
            print(
                f"trainings keep the {before.threads} threads that the study began with, on {cores} cores", flush=True
            )
        return before
    side_by_side = 1 if launch or _has_gpu() else len(study.seeds) * len(study.variants)
    threads = max(1, cores // side_by_side)
    if (told := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(told):
        threads = min(threads, int(told))
    train = base.get("train", {})
    asked, device = train.get("precision", "fp32"), train.get("device", "auto")
    chosen = Settled(threads, settled(asked, None, device, str(results)))
    results.mkdir(parents=True, exist_ok=True)
    write_atomic(results / SETTLED_FILE, canonical_json(asdict(chosen)))
    return chosen


def settled_before(results: Path, base: dict[str, Any]) -> Settled | None:
    """What an earlier start of a study settled; None where there was none.

    Raises:
        BadInput: a record that is not one, or a precision that this start asks for and the study did not begin with.
    """
    path = results / SETTLED_FILE
    if not path.is_file():
        return None
    recorded = read_json(path, 10_000)
    before = recorded.get("threads") if isinstance(recorded, dict) else None
    if not isinstance(before, int) or before < 1 or recorded.get("precision") not in ("fp32", "bf16"):
        raise BadInput(f"{path}: keys 'threads' and 'precision' must be a whole number and 'fp32' or 'bf16'")
    train = base.get("train", {})
    asked, device = train.get("precision", "fp32"), train.get("device", "auto")
    return Settled(before, settled(asked, recorded["precision"], device, str(results)))


def _has_gpu() -> bool:
    """Whether trainings would share an accelerator; asked without making a context on it."""
    import torch

    return torch.cuda.device_count() > 0 or torch.backends.mps.is_available()


def _free_memory(tasks: list[Task], jobs: int) -> int:
    """Free bytes; says so where they suffice for fewer tasks at once than there are cores."""
    from train.memory import free_memory

    free = free_memory()
    largest = sorted((task.memory for task in tasks), reverse=True)[:jobs]
    if sum(largest) > free:
        fitting = next((n for n in range(len(largest), 1, -1) if sum(largest[:n]) <= free), 1)
        print(
            f"memory: the {len(largest)} largest stages side by side would need {sum(largest) / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} are free; of those, {fitting} at a time",
            flush=True,
        )
    return free


def close_study(progress: Progress, directories: StudyDirectories, planned: list[PlannedRun], seconds: float) -> None:
    """Print the result in short, receipts, seconds a stage, memory, where table and report lie; kept in stages.json."""
    from train.checkpoint import load

    results = directories.results
    compared = (results / "comparison.md").is_file()
    if compared:
        print(f"\n{in_short(results)}\n")
    for run in planned:
        lineage = load(directories.checkpoints / run.name).lineage
        if lineage is not None:
            print(f"receipt {run.name}: {lineage.receipt.line()}")
    by_kind = ", ".join(f"{kind} {spent:.0f}" for kind, spent in progress.seconds_by_kind().items())
    peak = max((cost.peak_bytes for cost in progress.costs.values()), default=0)
    print(
        f"seconds: {by_kind}, on up to {progress.jobs} cores at once; {seconds:.0f} in all by the clock; largest "
        f"peak memory of one stage's process {peak / 1e6:.0f} MB"
    )
    record = {
        "seconds": seconds,
        "jobs": progress.jobs,
        "peak_bytes": peak,
        "stages": [asdict(stage) for stage in progress.finished],
        "processes": {key: asdict(cost) for key, cost in progress.costs.items()},
    }
    write_atomic(results / "stages.json", json.dumps(record, indent=2).encode() + b"\n")
    forget_submitted(results)
    if compared:
        print(
            f"table  {results / 'comparison.md'} (every table, reasons to doubt them, what words mean)\n"
            f"report {results / 'report.html'}"
        )
    else:
        print(f"checkpoints {directories.checkpoints}")
