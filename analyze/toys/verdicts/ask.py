"""Answer the problems that finished toys ask: measure every replica, judge, write."""

from collections.abc import Callable, Sequence
from pathlib import Path

from analyze.problems.base import Finding
from analyze.problems.page import write_index
from analyze.toys.verdicts.measured import measure_run, question_of
from analyze.toys.verdicts.record import OUT, answer
from train.toys.runs import ToyRun, open_toy


def answer_toys(directories: Sequence[Path], out: Path = OUT, say: Callable[[str], None] = print) -> dict[str, Finding]:
    """Write what each finished toy with a [verdict] says of its problem; others are passed over.

    Args:
        directories: of finished toys; a toy is known by the name of its directory.
        out: directory of findings, where `polysem problems` reads them.
        say: takes a line a toy.

    Returns:
        The finding of each toy, by its name.

    Raises:
        BadInput: a directory that is no toy, a rule that does not fit, or the toy that it names as null is not there.
        EnvironmentProblem: they could not be written.
    """
    findings = {}
    for directory in directories:
        config, _ = open_toy(directory)
        if config.verdict is None:
            continue
        name, run = directory.resolve().name, ToyRun.load(directory)
        question = question_of(name, config)
        facts = {"run": run.hash, "seconds": run.seconds}
        findings[name] = answer(question, measure_run(name, run), out, facts=facts)
        say(f"{config.about.problem} {name}: {findings[name].sentence}")
    if findings:
        say(f"wrote {write_index(out)}")
    return findings
