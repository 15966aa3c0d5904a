"""Run a whole study: prepare, train, widen and fine-tune, collect, score, tell fission, compare, report.

Every stage is a command of `python -m train` or `python -m analyze`, run once: a stage whose result is there,
made from the same inputs, is found and not run again. Stop it at any point; the same command goes on.
"""

from train.launch import with_allocator_settings

if __name__ == "__main__":
    with_allocator_settings()

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from analyze.study.config import StudyConfig
from train.config import RunConfig
from train.configfile import merge, parse_overrides, read_toml, to_toml, validate
from train.errors import BadInput, PolysemError, exit_with_one_line
from train.files import locked, write_atomic

MUST_BE_EQUAL = ("precision", "compile")
"""Keys of [train] in which the variants of a study may not differ: twins differ in one thing only."""


@dataclass(frozen=True)
class Study:
    """Run a whole study and write its table and report. Run again, it goes on where it stopped.

    Keys of the study's base run can be given as --train.tokens VALUE, its own as --seeds '[0]'.
    """

    config: Positional[Path] = Path("configs/study/quickstart.toml")
    """a study's TOML"""
    out: Path = Path()
    """where data/, checkpoints/<study>/ and results/<study>/ are written"""
    launch: str = ""
    """what starts a training process, such as 'torchrun --nproc_per_node 2'; default: this process"""
    debug: bool = False
    """show the traceback of a failure"""


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study."""

    name: str
    config: RunConfig
    is_arm: bool


@dataclass
class Stages:
    """Prints one line a stage and keeps what each cost."""

    total: int
    lines: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, kind: str, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage; the yielded function takes what the line says behind the name."""
        said: list[str] = []
        start = time.perf_counter()
        yield said.append
        seconds = time.perf_counter() - start
        self.lines.append({"stage": kind, "name": name, "seconds": round(seconds, 2), "said": " ".join(said)})
        number = f"[{len(self.lines):>{len(str(self.total))}}/{self.total}]"
        print(f"{number} {kind:8} {name:24} {seconds:7.1f} s  {' '.join(said)}", flush=True)


def plan(study: StudyConfig, base: dict[str, Any], root: Path, name: str, origin: str) -> list[PlannedRun]:
    """Every training of a study, seed by seed: variants first, then the arms that start from them.

    Raises:
        BadInput: a variant or arm that is not a valid run, or that differs from the others in precision.
    """
    checkpoints = root / "checkpoints" / name
    runs: list[PlannedRun] = []
    for seed in study.seeds:
        for variant, values in study.variants.items():
            merged = merge(merge(base, values), {"seed": seed, "variant": variant})
            config = validate(RunConfig, merged, f"{origin}: variants.{variant}")
            runs.append(PlannedRun(f"{variant}-s{seed}", config, is_arm=False))
        for arm, values in study.arms.items():
            inherited = {key: value for key, value in base.items() if key != "model"}
            merged = merge(merge(inherited, study.arm_defaults), values)
            start = checkpoints / f"{merged['start']}-s{seed}"
            merged = merge(merged, {"seed": seed, "variant": arm, "start": str(start)})
            config = validate(RunConfig, merged, f"{origin}: arms.{arm}")
            runs.append(PlannedRun(f"{arm}-s{seed}", config, is_arm=True))
    for key in MUST_BE_EQUAL:
        for run in runs[1:]:
            first, here = getattr(runs[0].config.train, key), getattr(run.config.train, key)
            if here != first:
                raise BadInput(
                    f"{origin}: train.{key} is {here!r} in {run.name}, {first!r} in {runs[0].name}; twins share it"
                )
    return runs


def load_study(path: Path, words: list[str]) -> tuple[StudyConfig, dict[str, Any]]:
    """The study and its base run's values, with overrides laid on whichever of the two knows the key."""
    overrides = parse_overrides(words)
    own = {key: value for key, value in overrides.items() if key in StudyConfig.model_fields}
    rest = {key: value for key, value in overrides.items() if key not in own}
    study = validate(StudyConfig, merge(read_toml(path), own), str(path))
    base = merge(read_toml(study.base), rest)
    first = next(iter(study.variants.values()))
    validate(RunConfig, merge(base, first), study.base)
    return study, base


def run_study(command: Study, words: list[str]) -> None:
    """Do whatever of the study is not done yet, then print its table and where the report lies."""
    from train.data.resolve import ensure_data

    study, base = load_study(command.config, words)
    name, root = command.config.stem, command.out
    results = root / "results" / name
    planned = plan(study, base, root, name, str(command.config))
    n_collected = sum(1 if run.is_arm else 2 for run in planned)
    n_widened = sum(run.config.widen is not None for run in planned)
    stages = Stages(total=1 + len(planned) + 2 * n_collected + n_widened + 2)
    start = time.perf_counter()
    with locked(results):
        with stages.stage("prepare", base["data"]) as say:
            data = ensure_data(base["data"], root / "data")
            say(str(data))
        for run in planned:
            out = root / "checkpoints" / name / run.name
            config = run.config.model_copy(update={"data": str(data)})
            with stages.stage("train", run.name) as say:
                say(_train(config, out, results / "configs" / f"{run.name}.toml", command.launch))
            for step in (None,) if run.is_arm else (0, None):
                _measure(stages, run.name, out, step, data, results, study)
            if config.widen is not None:
                _follow(stages, run.name, out, data, results)
        _compare(stages, study, results, planned)
    _close(stages, results, planned, root / "checkpoints" / name, time.perf_counter() - start)


def _train(config: RunConfig, out: Path, record: Path, launch: str) -> str:
    """Train in this process, or with a launcher; the run's file is kept, so that it can be run by hand."""
    from train.training_run import run

    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record, to_toml(config).encode())
    if launch:
        command = [*shlex.split(launch), "-m", "train", "run", str(record), "--out", str(out)]
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
    stages: Stages, name: str, run: Path, step: int | None, data: Path, results: Path, study: StudyConfig
) -> None:
    """Collect and score one step of a run, all layers and hooks; the samples go once the scores stand."""
    from analyze.activations.collect import collect_checkpoint
    from analyze.scores.run import score_directory, scored_step
    from train.checkpoint import step_directory

    source = run if step is None else step_directory(run, step)
    label = name if step is None else f"{name} untrained"
    analysis = study.analysis
    max_neurons = None if step is None else analysis.untrained_neurons
    names, nulls = analysis.scores, analysis.nulls
    done = scored_step(source, data, results, analysis.sample_tokens, max_neurons, names, nulls)
    with stages.stage("collect", label) as say:
        if done:
            directories = done
            say("found, scored")
        else:
            directories = collect_checkpoint(
                source,
                data,
                results,
                sample_tokens=analysis.sample_tokens,
                max_neurons=max_neurons,
                say=lambda line: None,
            )
            say(", ".join(directory.name for directory in directories))
    with stages.stage("score", label) as say:
        scored = [
            score_directory(directory, names, drop_samples=not analysis.keep_samples, nulls=nulls)
            for directory in directories
        ]
        n_neurons = sum(one.n_neurons for one in scored)
        say(f"{'found, ' if all(one.found for one in scored) else ''}{n_neurons:,} neurons")


def _follow(stages: Stages, name: str, run: Path, data: Path, results: Path) -> None:
    """Tell who became what in a widened run: its birth, its last step, and those between that move anything."""
    from analyze.fission.command import fission
    from train.checkpoint import steps

    saved, said = steps(run), []
    moving = [step for step in saved if step == 0 or 64 * step >= saved[-1]]
    with stages.stage("fission", name) as say:
        fission(run, data, results, only=moving, say=said.append)
        found = all(line.startswith("found") for line in said)
        say(f"{'found, ' if found else ''}{len(said)} steps")


def _compare(stages: Stages, study: StudyConfig, results: Path, planned: list[PlannedRun]) -> None:
    from analyze.comparison.command import compare
    from analyze.report.page import report

    reference = study.reference or next(iter(study.variants))
    directories = [results / run.name for run in planned]
    with stages.stage("compare", results.name) as say:
        compare(directories, results, reference, study.primaries)
        say(f"{results}/comparison.md, .csv, .parquet")
    with stages.stage("report", results.name) as say:
        say(str(report(results, reference, study.primaries)))


def _close(stages: Stages, results: Path, planned: list[PlannedRun], checkpoints: Path, seconds: float) -> None:
    """The closing summary: the table, seconds a stage, receipts, memory, and where the report lies."""
    from train.checkpoint import load

    print(f"\n{(results / 'comparison.md').read_text()}")
    for run in planned:
        lineage = load(checkpoints / run.name).lineage
        if lineage is not None:
            print(f"receipt {run.name}: {lineage.receipt.line()}")
    by_kind: dict[str, float] = {}
    for line in stages.lines:
        by_kind[line["stage"]] = by_kind.get(line["stage"], 0.0) + line["seconds"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    spent = ", ".join(f"{kind} {spent:.0f}" for kind, spent in by_kind.items())
    print(f"seconds: {spent}; {seconds:.0f} in all; peak memory {peak / 1e6:.0f} MB")
    record = {"seconds": seconds, "peak_bytes": peak, "stages": stages.lines}
    write_atomic(results / "stages.json", json.dumps(record, indent=2).encode() + b"\n")
    print(f"table  {results / 'comparison.md'}\nreport {results / 'report.html'}")


def main() -> None:
    """Parse the command line and leave the process with the study's exit code."""
    command, words = tyro.cli(Study, prog="study", description=__doc__, return_unknown_args=True)
    exit_with_one_line(lambda: run_study(command, words), command.debug)


if __name__ == "__main__":
    main()
