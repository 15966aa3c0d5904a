"""Answer the problems that finished programs ask."""

from collections.abc import Callable, Sequence
from pathlib import Path

from analyze.problems.base import Finding
from analyze.problems.page import write_index
from analyze.toys.programs import attention_heads, circle, onion, several_bases, xor_units
from analyze.toys.programs.base import ProgramQuestion, measured
from analyze.toys.verdicts.record import OUT, answer
from train.toys.programs.run import ProgramRun

QUESTIONS: dict[str, ProgramQuestion] = {
    module.QUESTION.program: module.QUESTION for module in (attention_heads, onion, circle, xor_units, several_bases)
}
"""By the program that asks, in the order of problems."""


def answer_programs(
    directories: Sequence[Path], out: Path = OUT, say: Callable[[str], None] = print
) -> dict[str, Finding]:
    """Write what each finished program says of its problem; those that ask none are passed over.

    Returns:
        The finding of each program, by the name of its directory.

    Raises:
        BadInput: a directory that is no finished program.
        EnvironmentProblem: a finding could not be written.
    """
    findings = {}
    for directory in directories:
        run = ProgramRun.load(directory)
        asked = QUESTIONS.get(run.config.program)
        if asked is None:
            continue
        name = directory.resolve().name
        found = measured(
            name,
            asked.measure(run),
            {variant: each.hash for variant, each in run.variants.items()},
            run.config.fit.steps,
        )
        facts = {"runs": {variant: each.hash for variant, each in run.variants.items()}, "seconds": run.seconds}
        figures = asked.figures(run, found)
        findings[name] = answer(asked.question(name), found, out, figures=figures, facts=facts)
        say(f"{asked.problem} {name}: {findings[name].sentence}")
    if findings:
        say(f"wrote {write_index(out)}")
    return findings
