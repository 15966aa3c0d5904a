"""Open problems as programs: one file a problem, found by PROBLEMS; all 45 are listed in catalogue.toml."""

from analyze.problems.base import Problem
from analyze.registry import Registry


def _place(problem: Problem) -> tuple[bool, int, str]:
    """Those of the list by number, then those of one's own by name."""
    chapter, _, number = problem.name.partition(".")
    listed = chapter == "4" and number.isdecimal()
    return not listed, int(number) if listed else 0, problem.name


PROBLEMS: Registry[Problem] = Registry(__name__, "PROBLEM", order=_place)
"""Problems with a program, by number ("4.24"): the PROBLEM of each module of this package."""
