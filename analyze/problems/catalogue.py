"""All 45 problems: what each asks, how polysem asks it, and what came out."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.problems import PROBLEMS
from analyze.problems.base import Finding, Level
from analyze.problems.from_tables import table_problems
from analyze.problems.store import read_finding
from train.errors import BadInput, did_you_mean

NOT_ASKED = Finding("not asked yet", "Nothing has been run.")


@dataclass(frozen=True)
class Entry:
    """One of the 45 problems."""

    name: str
    """Its number, such as "4.24"."""
    title: str
    question: str
    """In our words."""
    level: Level | None
    """Of the published list, A easy to D hard; None where we could not check it."""
    by: str
    """program, toy, study or command."""
    ask: str
    """What to type; "" where it cannot be asked yet."""
    measures: str = ""
    """What is measured by one that has no program and no toy; "" for others."""
    yes: str = ""
    """What a yes means, where the question is not one of yes or no."""
    answer: str = ""
    """A finding's figures in words; catalogue.toml says what stands in braces. "" for questions of one's own."""

    @property
    def asks(self) -> str:
        """The question, and what a yes means where that is not plain."""
        return f"{self.question} (Yes: {self.yes}.)" if self.yes else self.question

    @property
    def has_program(self) -> bool:
        """Whether `polysem problem` answers it."""
        return self.name in PROBLEMS

    @property
    def has_page(self) -> bool:
        """Whether its findings have a page of their own."""
        return self.has_program or self.by == "toy"

    def finding(self, out: Path) -> tuple[Finding, dict[str, Any]]:
        """What was found, under a directory of findings; "not asked yet" where nothing was."""
        return read_finding(out / self.name) or (NOT_ASKED, {})


def entries() -> dict[str, Entry]:
    """All problems by number, in order; then questions of one's own that have a program."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    found: dict[str, Entry] = {}
    by_table = table_problems()
    for chapter, problems in tomllib.loads(text).items():
        for number, values in problems.items():
            name = f"{chapter}.{number}"
            ask = values.get("ask", "")
            if name in PROBLEMS:
                ask = f"polysem problem {name} CHECKPOINT... --out DIR"
            if name in by_table:
                ask = f"{by_table[name].written_by}; polysem problem {name} RESULTS --out DIR"
            found[name] = Entry(
                name,
                values["title"],
                values["question"],
                values.get("level"),
                values["by"],
                ask,
                values.get("measures", ""),
                values.get("yes", ""),
                values["answer"],
            )
    for name, problem in PROBLEMS.items():
        if name not in found:
            ask = f"polysem problem {name} CHECKPOINT... --out DIR"
            found[name] = Entry(name, problem.title, problem.question, None, "program", ask)
    return found


def entry(name: str) -> Entry:
    """The problem of a number.

    Raises:
        BadInput: no such problem, with the nearest.
    """
    known = entries()
    if name not in known:
        raise BadInput(f"problem {name!r}: there are 4.1 to 4.45{did_you_mean(name, list(known))}")
    return known[name]
