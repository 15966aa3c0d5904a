"""Problems that a study, a benchmark or a streamed model answers: verdicts from files that their commands wrote.

Nothing is measured here. `polysem problem 4.41 results/quickstart` reads what `polysem study quickstart` wrote there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.problems.base import Finding, Rule


@dataclass(frozen=True)
class TableProblem:
    """One of the 45 whose answer stands in a table that another command writes."""

    name: str
    """Its number, such as "4.41"."""
    reads: str
    """Name of the file that is read, in each place that is given."""
    written_by: str
    """The command that writes it."""
    rule: Rule
    """How the verdict follows. The shipped ones were written when the project's first tables had been seen."""
    statistic: str
    null: str
    answer: Callable[["TableProblem", Sequence[Path]], Finding]
    """Reads that file in every place.

    Raises:
        BadInput: a file that is not there or is another.
    """
    doubts: tuple[str, ...] = ()


def file_in(place: Path, name: str) -> Path:
    """The file of that name in a place, or the place itself where it is a file."""
    return place if place.is_file() else place / name
