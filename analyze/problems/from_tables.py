"""Problems that a study, a benchmark or a streamed model answers: verdicts from files that their commands wrote.

Nothing is measured here. `polysem problem 4.41 results/quickstart` reads what `polysem study quickstart` wrote there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.problems.base import Finding, Rule
from analyze.problems.store import write_finding
from train.hashes import sha256_file


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
    """How the verdict follows; written before the table was read."""
    statistic: str
    null: str
    answer: Callable[["TableProblem", Sequence[Path]], Finding]
    """Reads that file in every place.

    Raises:
        BadInput: a file that is not there or is another.
    """
    doubts: tuple[str, ...] = ()


def table_problems() -> dict[str, TableProblem]:
    """All of them, by number."""
    from analyze.problems import comparison_answers, score_benchmark_answer, streamed_model_answer

    every = (*comparison_answers.ANSWERED, score_benchmark_answer.ANSWERED, streamed_model_answer.ANSWERED)
    return {each.name: each for each in every}


def ask_table(name: str, places: Sequence[Path], out: Path, say: Callable[[str], None] = print) -> Finding:
    """Read the tables, judge by the problem's rule, and write OUT/<number>/finding.json and the index.

    Args:
        name: number of a problem in `table_problems`.
        places: directories that the problem's command wrote, or the files themselves.

    Raises:
        BadInput: a place without the file, or a file that is another.
    """
    from analyze.problems.catalogue import entry
    from analyze.problems.page import write_index

    problem = table_problems()[name]
    finding = problem.answer(problem, places)
    facts: dict[str, Any] = {
        "problem": name,
        "title": entry(name).title,
        "rule": problem.rule.says,
        "statistic_is": problem.statistic,
        "null_is": problem.null,
        "command": f"polysem problem {name} {' '.join(map(str, places))} --out {out}",
        "tables": {str(file_in(place, problem.reads)): _hash_of(file_in(place, problem.reads)) for place in places},
    }
    (out / name).mkdir(parents=True, exist_ok=True)
    write_finding(out / name, finding, facts)
    index = write_index(out)
    say(f"{name} {entry(name).title} {finding.sentence}")
    say(f"wrote {index}")
    return finding


def file_in(place: Path, name: str) -> Path:
    """The file of that name in a place, or the place itself where it is a file."""
    return place if place.is_file() else place / name


def _hash_of(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
