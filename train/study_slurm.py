"""What is known of a study that was sent to Slurm: its jobs, their place in the queue, the tasks that are done.

`analyze/study/scheduler_slurm.py` submits them and writes the record that is read here.
"""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from train.errors import BadInput, EnvironmentProblem, one_line
from train.files import canonical_json, read_json, write_atomic
from train.study_progress import study_roots

JOBS_DIRECTORY = "jobs"
"""In a study's results: records and locks of tasks, scripts and logs of a batch system."""

SUBMITTED = "slurm.json"
"""In that directory: the jobs that were submitted last, until the study is done."""

PATIENCE = 120
"""Seconds that sbatch, squeue and scancel may take: a busy controller answers late."""

NAMED = 3
"""Tasks that ended without a result and are named; the others are counted."""

WORDS = {"PENDING": ("waits", "wait"), "RUNNING": ("runs", "run")}
"""Slurm's states of a job as one says them of one task and of several."""


@dataclass(frozen=True)
class SubmittedJob:
    """An array job of a study."""

    id: str
    name: str
    """Of its script, such as `1-train`."""
    tasks: tuple[str, ...]
    """Keys of its tasks, in the order of the array."""


@dataclass(frozen=True)
class QueuedTask:
    """An element of an array job that Slurm has not ended yet."""

    state: str
    """Such as PENDING or RUNNING."""
    reason: str
    """Why it waits, such as Dependency or Resources."""


Queue = Mapping[tuple[str, str], QueuedTask]
"""(id of an array job, index in the array) -> what Slurm says of it."""


def record_name(key: str, suffix: str = ".json") -> str:
    """File in the jobs' directory that a task of this key leaves when it has ended well."""
    return f"{key.replace(' ', '.')}{suffix}"


def write_submitted(results: Path, jobs: Sequence[SubmittedJob]) -> None:
    """Keep the jobs that were submitted."""
    write_atomic(results / JOBS_DIRECTORY / SUBMITTED, canonical_json({"jobs": [asdict(job) for job in jobs]}))


def read_submitted(results: Path) -> list[SubmittedJob]:
    """The jobs that a study submitted last; empty where it submitted none.

    Raises:
        BadInput: a record that is none.
    """
    path = results / JOBS_DIRECTORY / SUBMITTED
    if not path.is_file():
        return []
    record = read_json(path, 10_000_000)
    try:
        jobs = [SubmittedJob(each["id"], each["name"], tuple(each["tasks"])) for each in record["jobs"]]
    except (KeyError, TypeError):
        jobs = []
    words = [word for job in jobs for word in (job.id, job.name, *job.tasks)]
    if not jobs or not all(isinstance(word, str) for word in words) or not all(job.id.isdecimal() for job in jobs):
        raise BadInput(f"{path}: key 'jobs' must be a list of jobs, each with id, name and tasks; remove it")
    return jobs


def forget_submitted(results: Path) -> None:
    """Remove the record: the study is done, or goes on elsewhere."""
    (results / JOBS_DIRECTORY / SUBMITTED).unlink(missing_ok=True)


def call(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    """What a command of Slurm said; None where there is none, or it does not answer."""
    try:
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None


def queue() -> Queue:
    """What this user has in Slurm's queue, each element of an array by itself.

    Raises:
        EnvironmentProblem: Slurm cannot be asked here.
    """
    done = call(["squeue", "--me", "--noheader", "--array", "--format=%F|%K|%T|%r"])
    if done is None:
        raise EnvironmentProblem("squeue does not answer on this machine")
    if done.returncode:
        raise EnvironmentProblem(f"squeue: {one_line(done.stderr.strip() or f'exit code {done.returncode}')}")
    elements = (line.strip().split("|", 3) for line in done.stdout.splitlines())
    return {(element[0], element[1]): QueuedTask(element[2], element[3]) for element in elements if len(element) == 4}


def slurm_studies_below(directory: Path) -> list[str]:
    """A line for each study that was sent to Slurm and is not done, with results below `directory` or beside it."""
    pattern = f"{JOBS_DIRECTORY}/{SUBMITTED}"
    found = sorted({path for root in study_roots(directory) for path in root.rglob(pattern)})
    if not found:
        return []
    try:
        known: Queue | str = queue()
    except EnvironmentProblem as failure:
        known = str(failure)
    lines = []
    for path in found:
        results = path.parent.parent
        try:
            line = slurm_line(results, read_submitted(results), known)
        except BadInput as failure:
            line = one_line(str(failure))
        lines += [f"study {one_line(results.name)}: {line}"] if line else []
    return lines


def slurm_line(results: Path, jobs: Sequence[SubmittedJob], known: Queue | str) -> str:
    """Of a study's tasks: how many are done, and of each job what waits, runs, or ended without a result.

    Empty where all are done.

    Args:
        known: the queue as it was before; or why Slurm cannot be asked.
    """
    done = {
        key for job in jobs for key in job.tasks if (results / JOBS_DIRECTORY / record_name(key)).is_file()
    }  # a submission removes older records
    total = sum(len(job.tasks) for job in jobs)
    if len(done) == total:
        return ""
    so_far = f"{len(done)}/{total} tasks done"
    if isinstance(known, str):
        return f"was sent to Slurm as jobs {jobs[0].id} to {jobs[-1].id}; {known}; {so_far}"
    rest = [_rest_of(job, done, known, results) for job in jobs]
    if any((job.id, str(index)) in known for job in jobs for index in range(len(job.tasks))):
        start = f"on Slurm, {so_far}"
    else:
        start = f"nothing of it waits or runs on Slurm any more, {so_far}; the same command goes on"
    return "; ".join([start, *(f"{job.name} (job {job.id}): {said}" for job, said in zip(jobs, rest) if said)])


def _rest_of(job: SubmittedJob, done: set[str], known: Queue, results: Path) -> str:
    """What a job's tasks that are not done wait for."""
    counts: Counter[tuple[str, str]] = Counter()
    lost: list[str] = []
    for index, key in enumerate(job.tasks):
        if key in done:
            continue
        if (queued := known.get((job.id, str(index)))) is not None:
            counts[queued.state, queued.reason if queued.state == "PENDING" else ""] += 1
        else:
            log = results / JOBS_DIRECTORY / f"{job.name}-{index}.log"
            lost.append(f"{key} ({log})" if log.is_file() else key)
    said = []
    for (state, reason), n in sorted(counts.items(), reverse=True):  # running ones first
        one, several = WORDS.get(state, (f"is {state.lower()}", f"are {state.lower()}"))
        said.append(one_line(f"{n} {one if n == 1 else several}{f' ({reason})' if reason else ''}"))
    if lost:
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        said.append(one_line(f"ended without a result: {', '.join(lost[:NAMED])}{more}"))
    return ", ".join(said)
