"""Run a whole study: prepare, train, widen and fine-tune, collect, score, follow copies, compare, report.

Every stage does what one command of `python -m train` or `python -m analyze` does. A stage that finds its result, made
from the same inputs, does not run again. Stop a study at any point; the same command goes on.
"""

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from analyze.study.config import AnalysisConfig, StudyConfig
from analyze.study.plan import PlannedRun, load_study, plan
from train.config import RunConfig
from train.configfile import to_toml
from train.errors import PolysemError
from train.files import locked, write_atomic

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A finished stage: a line of stages.json."""

    stage: str
    name: str
    seconds: float
    said: str


@dataclass
class Stages:
    """Prints one line a stage and keeps what each cost."""

    total: int
    finished: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, kind: str, name: str) -> Iterator[Say]:
        """Time a stage; the yielded function takes what the line says behind the name."""
        said: list[str] = []
        start = time.perf_counter()
        yield said.append
        stage = Stage(kind, name, round(time.perf_counter() - start, 2), " ".join(said))
        self.finished.append(stage)
        number = f"[{len(self.finished):>{len(str(self.total))}}/{self.total}]"
        print(f"{number} {kind:8} {name:24} {stage.seconds:7.1f} s  {stage.said}", flush=True)

    def seconds_by_kind(self) -> dict[str, float]:
        """Seconds of all stages of a kind, in the order of their first appearance."""
        seconds: dict[str, float] = {}
        for stage in self.finished:
            seconds[stage.stage] = seconds.get(stage.stage, 0.0) + stage.seconds
        return seconds


@dataclass(frozen=True)
class StudyDirectories:
    """Where a study reads and writes."""

    data: Path
    checkpoints: Path
    results: Path


def run_study(path: Path, out: Path, words: list[str], launch: str = "") -> None:
    """Do whatever of a study is not done yet, then print its table and where the report lies.

    Args:
        path: a STUDY.toml.
        out: where data/, checkpoints/<study>/ and results/<study>/ are written.
        words: overrides of the study's keys and of its base run's.
        launch: what starts a training process, such as "torchrun --nproc_per_node 2"; empty: this process.

    Raises:
        PolysemError: what stopped a stage; every stage before it stays.
    """
    from train.data.resolve import ensure_data

    study, base = load_study(path, words)
    checkpoints, results = out / "checkpoints" / path.stem, out / "results" / path.stem
    planned = plan(study, base, checkpoints, str(path))
    n_collected = sum(1 if run.is_arm else 2 for run in planned)
    n_widened = sum(run.config.widen is not None for run in planned)
    stages = Stages(total=1 + len(planned) + 2 * n_collected + n_widened + 2)
    start = time.perf_counter()
    with locked(results):
        with stages.stage("prepare", base["data"]) as say:
            directories = StudyDirectories(ensure_data(base["data"], out / "data"), checkpoints, results)
            say(str(directories.data))
        for run in planned:
            _run_and_measure(stages, run, directories, study.analysis, launch)
        _compare(stages, study, results, planned)
    _close(stages, directories, planned, time.perf_counter() - start)


def _run_and_measure(
    stages: Stages, run: PlannedRun, directories: StudyDirectories, analysis: AnalysisConfig, launch: str
) -> None:
    out = directories.checkpoints / run.name
    config = run.config.model_copy(update={"data": str(directories.data)})
    with stages.stage("train", run.name) as say:
        say(_train(config, out, directories.results / "configs" / f"{run.name}.toml", launch))
    for step in (None,) if run.is_arm else (0, None):
        _measure(stages, out, step, directories, analysis)
    if config.widen is not None:
        _follow_copies(stages, out, directories)


def _train(config: RunConfig, out: Path, record: Path, launch: str) -> str:
    """Train in this process, or with a launcher; keep the run's file, so that it can be run by hand."""
    from train.training_run import run

    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record, to_toml(config).encode())
    if launch:
        # Words that begin with a dash would be options.
        word = f"./{record}" if str(record).startswith("-") else str(record)
        command = [*shlex.split(launch), "-m", "train", "run", word, f"--out={out}"]
        # The launcher that stands beside this Python, whether or not its environment is activated.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        code = subprocess.run(command, check=False, env={**os.environ, "PATH": path}).returncode
        if code:
            failure = PolysemError(f"{shlex.join(command)}: exit code {code}")
            failure.exit_code = code
            raise failure
    outcome = run(config, out)
    evaluation = outcome.checkpoint.state["evaluation"]
    margin = evaluation["loss"] - evaluation["bigram"]
    found = "found, " if outcome.found and not launch else ""
    side = "below" if margin < 0 else "above"
    return f"{found}held-out {evaluation['loss']:.3f} nats, {abs(margin):.3f} {side} the bigram"


def _measure(
    stages: Stages, run: Path, step: int | None, directories: StudyDirectories, analysis: AnalysisConfig
) -> None:
    """Collect and score one step of a run (None: the last), all layers and hooks; the samples go once scores stand."""
    from analyze.activations.collect import collect
    from analyze.scores.run import score_directory, scored_step
    from train.checkpoint import step_directory

    source = run if step is None else step_directory(run, step)
    label = run.name if step is None else f"{run.name} untrained"
    max_neurons = None if step is None else analysis.untrained_neurons
    n_tokens, names, nulls = analysis.sample_tokens, analysis.scores, analysis.nulls
    scored_before = scored_step(source, directories.data, directories.results, n_tokens, max_neurons, names, nulls)
    with stages.stage("collect", label) as say:
        activations = scored_before or collect(
            source,
            directories.data,
            directories.results,
            sample_tokens=n_tokens,
            max_neurons=max_neurons,
            say=lambda line: None,
        )
        say("found, scored" if scored_before else ", ".join(directory.name for directory in activations))
    with stages.stage("score", label) as say:
        drop = not analysis.keep_samples
        scored = [score_directory(directory, names, drop_samples=drop, nulls=nulls) for directory in activations]
        found = "found, " if all(each.found for each in scored) else ""
        say(f"{found}{sum(each.n_neurons for each in scored):,} neurons")


def _follow_copies(stages: Stages, run: Path, directories: StudyDirectories) -> None:
    """Say what the copies of a widened run became: at birth, at its last step, and at those between that move them."""
    from analyze.fission.command import fission
    from train.checkpoint import steps

    saved, lines = steps(run), []
    moving = [step for step in saved if step == 0 or 64 * step >= saved[-1]]
    with stages.stage("fission", run.name) as say:
        fission(run, directories.data, directories.results, only=moving, say=lines.append)
        found = all(line.startswith("found") for line in lines)
        say(f"{'found, ' if found else ''}{len(lines)} steps")


def _compare(stages: Stages, study: StudyConfig, results: Path, planned: list[PlannedRun]) -> None:
    from analyze.comparison.command import compare
    from analyze.report.page import report

    reference = study.reference or next(iter(study.variants))
    with stages.stage("compare", results.name) as say:
        compare([results / run.name for run in planned], results, reference, study.primaries)
        say(f"{results}/comparison.md, .csv, .parquet")
    with stages.stage("report", results.name) as say:
        say(str(report(results, reference, study.primaries)))


def _close(stages: Stages, directories: StudyDirectories, planned: list[PlannedRun], seconds: float) -> None:
    """Print the table, receipts, seconds a stage, memory and where the report lies; keep them in stages.json."""
    from train.checkpoint import load

    results = directories.results
    print(f"\n{(results / 'comparison.md').read_text()}")
    for run in planned:
        lineage = load(directories.checkpoints / run.name).lineage
        if lineage is not None:
            print(f"receipt {run.name}: {lineage.receipt.line()}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    by_kind = ", ".join(f"{kind} {spent:.0f}" for kind, spent in stages.seconds_by_kind().items())
    print(f"seconds: {by_kind}; {seconds:.0f} in all; peak memory {peak / 1e6:.0f} MB")
    record = {"seconds": seconds, "peak_bytes": peak, "stages": [asdict(stage) for stage in stages.finished]}
    write_atomic(results / "stages.json", json.dumps(record, indent=2).encode() + b"\n")
    print(f"table  {results / 'comparison.md'}\nreport {results / 'report.html'}")
