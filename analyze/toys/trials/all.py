"""Every rule of a toy that can be tried: those of configs, and those of programs."""

from importlib import import_module
from pkgutil import iter_modules

from analyze.toys import trials as package
from analyze.toys.verdicts.trial import ToyTrials


def trials() -> list[ToyTrials]:
    """The TRIALS of each module of this package, in order of problems."""
    found: list[ToyTrials] = []
    for each in iter_modules(package.__path__):
        found += getattr(import_module(f"{package.__name__}.{each.name}"), "TRIALS", ())
    return sorted(found, key=lambda each: (int(each.question.problem.partition(".")[2]), each.name))
