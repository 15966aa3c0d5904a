"""Ask problems of checkpoints: measure each (kept one by one), judge by the problem's rule, write finding and page."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

from analyze.figures import Figure
from analyze.problems import PROBLEMS
from analyze.problems.base import Finding, Measured, Measurement, Problem
from analyze.problems.catalogue import entries, entry
from analyze.problems.page import write_index, write_page
from analyze.problems.store import measured_or_found, read_measured, write_finding
from analyze.problems.subject import of_checkpoint
from analyze.problems.verdict import judge
from train.checkpoint import Checkpoint, load
from train.errors import BadInput
from train.files import write_atomic
from train.workers import checked_jobs, one_thread, workers

Say = Callable[[str], None]


def ask(
    names: Sequence[str],
    checkpoints: Sequence[str | Path],
    out: Path,
    *,
    data: Sequence[Path] = (),
    jobs: int | None = None,
    say: Say = print,
) -> dict[str, Finding]:
    """Ask problems of checkpoints; a measurement that `out` already has is kept.

    Args:
        names: numbers of problems, such as "4.24"; "all" stands for every one that has a program.
        checkpoints: runs or steps; several seeds of each variant, or there is a look and no verdict.
        out: takes a directory a problem and index.html.
        data: where to look first for the text, if it has moved (see `train.locate`).
        jobs: processes at most; default: as many as there are cores. The findings are the same for any number.
        say: takes lines about progress.

    Returns:
        The finding of each problem, by number.

    Raises:
        BadInput: a problem that is not there or has no program, no checkpoints, or checkpoints of different data.
    """
    problems = [PROBLEMS[name] for name in numbers(names)]
    opened = [load(each) for each in checkpoints]
    _check(opened)
    jobs = checked_jobs(jobs, say)
    pieces = [(problem, checkpoint) for problem in problems for checkpoint in opened]
    with one_thread(), workers(min(jobs, len(pieces))) as pool:
        waiting: dict[Future[Any], tuple[Problem, Checkpoint]] = {}
        for problem, checkpoint in pieces:
            others = [str(each.directory) for each in opened if each is not checkpoint] if problem.needs.others else []
            arguments = (problem.name, str(checkpoint.directory), str(out), tuple(map(str, data)), tuple(others))
            if jobs == 1:
                _said(say, problem, checkpoint, *measure(*arguments))
            else:
                waiting[pool.submit(measure, *arguments)] = (problem, checkpoint)
        for done in as_completed(waiting):
            _said(say, *waiting[done], *done.result())
    findings = {problem.name: _finding(problem, opened, out) for problem in problems}
    index = write_index(out)
    for name, finding in findings.items():
        say(f"{name} {entry(name).title}: {finding.sentence}")
    say(f"wrote {index}")
    return findings


def numbers(names: Sequence[str]) -> list[str]:
    """Problems by number, each once, "all" meaning those that have a program.

    Raises:
        BadInput: none named, one that is not there, or one without a program, with what to type instead.
    """
    chosen: dict[str, None] = {}
    for name in names:
        if name == "all":
            chosen |= dict.fromkeys(PROBLEMS)
            continue
        asked = entry(name)
        if not asked.has_program:
            hint = f"; ask it by: {asked.ask}" if asked.ask else ", and no other command asks it yet"
            raise BadInput(f"problem {name} ({asked.title}) has no program for checkpoints{hint}")
        chosen[name] = None
    if not chosen:
        raise BadInput(f"no problem named; there are {', '.join(PROBLEMS)} and all")
    return list(chosen)


def measure(
    name: str, checkpoint: str, out: str, data: Sequence[str] = (), others: Sequence[str] = ()
) -> tuple[bool, float, str]:
    """Measure one checkpoint for one problem (which may read others too), unless that is done.

    Returns:
        Whether it was done, seconds, and why the checkpoint cannot answer ("" where it can).
    """
    started = time.perf_counter()
    problem, opened = PROBLEMS[name], load(checkpoint)
    beside = [load(other) for other in others]
    facts: dict[str, Any] = {"problem": name, "checkpoint": opened.hash, "rule": problem.rule.says}
    if problem.needs.others:
        facts["others"] = sorted(each.hash for each in beside)

    def make() -> Measured:
        subject = of_checkpoint(opened, data, others=beside)
        why_not = problem.needs.why_not(subject)
        measurement = Measurement.impossible(why_not) if why_not else problem.measure(subject)
        state = opened.state
        return Measured(state["run"], state["variant"], state["seed"], opened.step, opened.hash, measurement)

    measured, found = measured_or_found(_place(Path(out), name, opened), facts, make)
    return found, time.perf_counter() - started, measured.measurement.why_not


def _place(out: Path, name: str, checkpoint: Checkpoint) -> Path:
    return out / name / "measurements" / checkpoint.hash[:16]


def _said(say: Say, problem: Problem, checkpoint: Checkpoint, found: bool, seconds: float, why_not: str) -> None:
    note = "found" if found else f"{seconds:.1f} s"
    say(f"{problem.name} {checkpoint.state['run']}: {note}{f'; {why_not}' if why_not else ''}")


def _check(opened: Sequence[Checkpoint]) -> None:
    if not opened:
        raise BadInput("no checkpoints given; name runs or steps")
    first = opened[0]
    for other in opened[1:]:
        if other.state["data"]["tokenizer_sha256"] != first.state["data"]["tokenizer_sha256"]:
            raise BadInput(f"{other.directory}: another tokenizer than {first.directory}; ask of them apart")
        if other.state["data"]["hash"] != first.state["data"]["hash"]:
            raise BadInput(f"{other.directory}: other held-out text than {first.directory}; ask of them apart")
    hashes = [each.hash for each in opened]
    for each in opened:
        if hashes.count(each.hash) > 1:
            raise BadInput(f"{each.directory}: named twice")


def _finding(problem: Problem, opened: Sequence[Checkpoint], out: Path) -> Finding:
    """Judge what was measured of these checkpoints and write it."""
    measured = [read_measured(_place(out, problem.name, each)) for each in opened]
    finding = judge(problem, measured)
    place = out / problem.name
    figures: Sequence[Figure] = problem.figures([each for each in measured if not each.measurement.why_not])
    for figure in figures:
        (place / "figures").mkdir(exist_ok=True)
        write_atomic(place / "figures" / f"{figure.name}.svg", figure.svg.encode())
    command = f"polysem problem {problem.name} {' '.join(str(each.directory) for each in opened)} --out {out}"
    facts = {
        "problem": problem.name,
        "title": entries()[problem.name].title,
        "rule": problem.rule.says,
        "statistic_is": problem.statistic,
        "null_is": problem.null,
        "command": command,
        "checkpoints": {each.state["run"]: each.hash for each in opened},
        "figure_names": [figure.name for figure in figures],
    }
    write_finding(place, finding, facts)
    write_page(out, problem, finding, measured, figures, command)
    return finding
