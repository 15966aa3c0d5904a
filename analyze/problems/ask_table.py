"""Ask a problem of a table that another command wrote: judge it by the problem's rule and write the finding."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analyze.problems.base import Finding
from analyze.problems.catalogue import entry
from analyze.problems.from_tables import table_problems
from analyze.problems.page import write_index
from analyze.problems.store import write_finding
from analyze.problems.table_problem import file_in
from train.errors import BadInput
from train.hashes import sha256_file


def ask_table(name: str, places: Sequence[Path], out: Path, say: Callable[[str], None] = print) -> Finding:
    """Read the tables, judge by the problem's rule, and write OUT/<number>/finding.json and the index.

    Args:
        name: number of a problem in `table_problems`.
        places: directories that the problem's command wrote, or the files themselves.

    Raises:
        BadInput: a place without the file, a file that is another, or one that is given twice.
    """
    problem = table_problems()[name]
    files = [file_in(place, problem.reads).resolve() for place in places]
    for place, file in zip(places, files, strict=True):
        if files.count(file) > 1:
            raise BadInput(f"{place}: given twice; its seeds would count twice")
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
    say(f"{name} {entry(name).title}: {finding.sentence}")
    say(f"wrote {index}")
    return finding


def _hash_of(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
