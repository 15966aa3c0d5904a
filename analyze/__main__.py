"""The commands that read checkpoints; the arguments of each live with its stage."""

from train.launch import with_process_settings

if __name__ == "__main__":
    with_process_settings()

from analyze.comparison.arguments import Compare
from analyze.fission.arguments import Fission
from analyze.interventions.arguments import Uses
from analyze.labels.arguments import PrintLabels
from analyze.models.arguments import Collect
from analyze.probing.arguments import Probe
from analyze.problems.arguments import AskProblem, ListProblems
from analyze.report.arguments import Report
from analyze.rescore.arguments import Rescore
from analyze.scores.arguments import ListScores, Score
from analyze.study.arguments import Rates, Study
from analyze.toys.arguments import ToyKnown, Toys, ToyStory, TryToys
from analyze.validation.arguments import BenchScores, FitHeadline, Truth
from train.commandline import Command, Program, run_command
from train.version import version_line

COMMANDS: dict[str, type[Command]] = {
    "collect": Collect,
    "score": Score,
    "list-scores": ListScores,
    "rescore": Rescore,
    "labels": PrintLabels,
    "probe": Probe,
    "truth": Truth,
    "bench-scores": BenchScores,
    "fit-headline": FitHeadline,
    "uses": Uses,
    "fission": Fission,
    "compare": Compare,
    "report": Report,
    "toy-pages": Toys,
    "toy-trial": TryToys,
    "toy-known": ToyKnown,
    "toy-story": ToyStory,
    "study": Study,
    "rates": Rates,
    "problems": ListProblems,
    "problem": AskProblem,
}

FORMER = {"scores": "list-scores", "toys": "toy-pages"}
"""Names that commands had before; they still work."""


def main() -> None:
    """Parse the command line and leave the process with the command's exit code."""
    run_command(Program("python -m analyze", "Measure how polysemantic neurons are.", COMMANDS, version_line, FORMER))


if __name__ == "__main__":
    main()
