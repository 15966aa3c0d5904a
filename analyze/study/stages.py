"""What each stage of a study does, as tasks for processes of their own, and which waits for which."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from analyze.study.config import AnalysisConfig, StudyConfig
from analyze.study.estimates import (
    PROGRAM,
    measuring_bytes,
    measuring_seconds,
    shapes_of,
    training_bytes,
    training_seconds,
)
from analyze.study.plan import PlannedRun
from analyze.study.tasks import Report, Task
from train.checkpoint import STEP_NAME, load, step_directory
from train.config import ModelConfig, RunConfig
from train.configfile import to_toml
from train.errors import BadInput, PolysemError
from train.files import write_atomic
from train.parent import working_for_this_process

CLOSING_SECONDS = 5.0
"""Of the comparison and the report, roughly."""


@dataclass(frozen=True)
class StudyDirectories:
    """Where a study reads and writes."""

    data: Path
    checkpoints: Path
    results: Path


def n_stages(planned: Sequence[PlannedRun], analysis: AnalysisConfig) -> int:
    """Lines that a study prints: prepare, of each run train, collect and score of one or two steps and fission, those
    of what runs start from, and compare and report."""
    shapes = shapes_of(list(planned), d_vocab=2)
    measured = [run for run in planned if analysis.scores and shapes[run.name].has_mlp]
    own = sum(2 * len(steps_measured(run)) + (run.config.widen is not None) for run in measured)
    own += 2 * sum(map(len, outside_starts(measured).values()))
    return 1 + len(planned) + own + (2 if measured else 0)


def steps_measured(run: PlannedRun) -> tuple[int | None, ...]:
    """The steps of a run that are collected and scored: the last one (None), and step 0 where it is untrained."""
    return (None,) if run.config.start is not None else (0, None)


def outside_starts(planned: Sequence[PlannedRun]) -> dict[str, list[Path]]:
    """Run name -> steps to measure, untrained first, of the checkpoints that variants start from."""
    found: dict[str, list[Path]] = {}
    for start in dict.fromkeys(run.config.start for run in planned if run.starts_outside):
        checkpoint = load(start or "")
        untrained = step_directory(checkpoint.directory.parent, 0)
        steps = [untrained] if checkpoint.step and untrained.is_dir() else []
        found[checkpoint.state["run"]] = [*steps, checkpoint.directory]
    return found


@dataclass(frozen=True)
class Training:
    """How a study trains its runs."""

    threads: int
    launch: str = ""
    """What starts a training's processes; empty: it trains in the task's own."""
    alone: bool = False
    """Whether trainings must not run side by side: they share a GPU, or take every core."""


def tasks_of(
    study: StudyConfig, planned: list[PlannedRun], directories: StudyDirectories, training: Training
) -> list[Task]:
    """Every task of a study behind `prepare`, with what it waits for."""
    from train.data.tokens import TokenFile

    shapes = shapes_of(planned, TokenFile.open(directories.data, split="eval").d_vocab)
    tasks = [task for run in planned for task in _of_run(run, shapes[run.name], study, directories, training)]
    with_neurons = [run.name for run in planned if shapes[run.name].has_mlp]
    if not study.analysis.scores or not with_neurons:
        return tasks
    _require_neurons(study, [run for run in planned if not shapes[run.name].has_mlp])
    outside = outside_starts(planned)
    tasks += [task for name, steps in outside.items() for task in _of_start(name, steps, study, directories)]
    last = Task(
        "compare",
        directories.results.name,
        partial(_compare, study, directories.results, [*outside, *with_neurons]),
        CLOSING_SECONDS,
        2 * PROGRAM,
        needs=tuple(task.key for task in tasks),
    )
    return [*tasks, last]


def _require_neurons(study: StudyConfig, without: Sequence[PlannedRun]) -> None:
    """Refuse a reference that has no neurons to compare with.

    Raises:
        BadInput: the reference is attention-only.
    """
    reference = study.reference or next(iter(study.variants))
    if reference in {run.config.variant for run in without}:
        raise BadInput(f"reference: {reference!r} is attention-only, it has no neurons to compare others with")


def _of_run(
    run: PlannedRun, shape: ModelConfig, study: StudyConfig, directories: StudyDirectories, training: Training
) -> list[Task]:
    """A run's training, what is measured of it, and what becomes of its copies."""
    analysis = study.analysis
    config = run.config.model_copy(update={"data": str(directories.data)})
    out = directories.checkpoints / run.name
    trained = Task(
        "train",
        run.name,
        partial(_train, config, out, directories.results / "configs" / f"{run.name}.toml", training.launch),
        training_seconds(config, shape),
        training_bytes(config, shape),
        needs=(f"train {Path(config.start).name}",) if config.start and run.is_arm else (),
        threads=training.threads,
        exclusive="training" if training.alone else "",
    )
    tasks = [trained]
    if not shape.has_mlp or not analysis.scores:
        return tasks
    for step in steps_measured(run):
        label = run.name if step is None else f"{run.name} untrained"
        n_neurons = sum(shape.widths) if step is None else min(sum(shape.widths), analysis.untrained_neurons)
        tasks.append(
            Task(
                "measure",
                label,
                partial(_measure, out, step, label, directories, analysis),
                measuring_seconds(n_neurons, analysis.sample_tokens, len(analysis.nulls)),
                measuring_bytes(shape, n_neurons, analysis.sample_tokens),
                needs=(trained.key,),
                spreads=True,
            )
        )
    if config.widen is not None:
        measured = tasks[-1]
        follow = partial(_follow_copies, out, directories)
        tasks.append(Task("fission", run.name, follow, measured.seconds, measured.memory, needs=(measured.key,)))
    return tasks


def _of_start(name: str, steps: list[Path], study: StudyConfig, directories: StudyDirectories) -> list[Task]:
    """What is measured of a checkpoint that variants start from."""
    analysis, tasks = study.analysis, []
    for source in steps:
        untrained = len(steps) > 1 and source == steps[0]
        shape, label = load(source).config, f"{name} untrained" if untrained else name
        n_neurons = min(sum(shape.widths), analysis.untrained_neurons) if untrained else sum(shape.widths)
        tasks.append(
            Task(
                "measure",
                label,
                partial(_measure, source, 0 if untrained else None, label, directories, analysis),
                measuring_seconds(n_neurons, analysis.sample_tokens, len(analysis.nulls)),
                measuring_bytes(shape, n_neurons, analysis.sample_tokens),
                spreads=True,
            )
        )
    return tasks


def _train(config: RunConfig, out: Path, record: Path, launch: str, report: Report) -> None:
    """Train in this process, or with a launcher; keep the run's file, so that it can be run by hand."""
    from train.training_run import run

    with report.stage("train", out.name) as say:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(record, to_toml(config).encode())
        if launch:
            _launch(launch, record, out)
        outcome = run(config, out)
        evaluation = outcome.checkpoint.state["evaluation"]
        margin = evaluation["loss"] - evaluation["bigram"]
        found = "found, " if outcome.found and not launch else ""
        side = "below" if margin < 0 else "above"
        say(f"{found}held-out {evaluation['loss']:.3f} nats, {abs(margin):.3f} {side} the bigram")


def _launch(launch: str, record: Path, out: Path) -> None:
    """Train in processes that a launcher starts.

    Raises:
        PolysemError: the launcher's exit code.
    """
    # Words that begin with a dash would be options.
    word = f"./{record}" if str(record).startswith("-") else str(record)
    command = [*shlex.split(launch), "-m", "train", "run", word, f"--out={out}"]
    # The launcher that stands beside this Python, whether or not its environment is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, **working_for_this_process()}
    with subprocess.Popen(command, env=environ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # as a terminal would: the trainings save, then it leaves
            process.wait()
            raise
    if code:
        failure = PolysemError(f"{shlex.join(command)}: exit code {code}")
        failure.exit_code = code
        raise failure


def _measure(
    run: Path,
    step: int | None,
    label: str,
    directories: StudyDirectories,
    analysis: AnalysisConfig,
    report: Report,
    cores: int = 1,
) -> None:
    """Collect and score one step of a run (None: the last), all layers and hooks; the samples go once scores stand.

    Args:
        run: a run's directory, or that of the step itself.
        step: 0: it is an untrained network, of which a part of the neurons will do.
        cores: processes that score.
    """
    from analyze.activations.collect import collect
    from analyze.scores.run import score_directory, scored_step

    source = run if step is None or STEP_NAME.fullmatch(run.name) else step_directory(run, step)
    max_neurons = None if step is None else analysis.untrained_neurons
    n_tokens, names, nulls = analysis.sample_tokens, analysis.scores, analysis.nulls
    scored_before = scored_step(source, directories.data, directories.results, n_tokens, max_neurons, names, nulls)
    with report.stage("collect", label) as say:
        activations = scored_before or collect(
            source,
            directories.data,
            directories.results,
            sample_tokens=n_tokens,
            max_neurons=max_neurons,
            say=lambda line: None,
        )
        say("found, scored" if scored_before else ", ".join(directory.name for directory in activations))
    with report.stage("score", label) as say:
        drop = not analysis.keep_samples
        scored = [
            score_directory(directory, names, drop_samples=drop, nulls=nulls, jobs=cores) for directory in activations
        ]
        found = "found, " if all(each.found for each in scored) else ""
        say(f"{found}{sum(each.n_neurons for each in scored):,} neurons")


def _follow_copies(run: Path, directories: StudyDirectories, report: Report) -> None:
    """Say what the copies of a widened run became: at birth, at its last step, and at those between that move them."""
    from analyze.fission.command import fission
    from train.checkpoint import steps

    saved, lines = steps(run), []
    moving = [step for step in saved if step == 0 or 64 * step >= saved[-1]]
    with report.stage("fission", run.name) as say:
        fission(run, directories.data, directories.results, only=moving, say=lines.append)
        found = all(line.startswith("found") for line in lines)
        say(f"{'found, ' if found else ''}{len(lines)} steps")


def _compare(study: StudyConfig, results: Path, runs: list[str], report: Report) -> None:
    from analyze.comparison.command import compare
    from analyze.report.page import report as write_report

    reference = study.reference or next(iter(study.variants))
    with report.stage("compare", results.name) as say:
        compare([results / run for run in runs], results, reference, study.primaries)
        say(f"{results}/comparison.md, .csv, .parquet")
    with report.stage("report", results.name) as say:
        say(str(write_report(results, reference, study.primaries)))
