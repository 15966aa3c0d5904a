"""What a toy asks: the rule, the statistic and the null that a verdict goes by."""

from dataclasses import dataclass

from analyze.problems.base import Rule

LEAST_REPLICAS = 8
"""Initialisations that a verdict needs; with fewer there is a look and no verdict."""


def toy_rule(says: str, least: float, *, higher: bool = True, beyond: float = 0.95) -> Rule:
    """A rule over replicas of a toy; `analyze.problems.base.Rule` says how verdicts follow from it."""
    return Rule(says, least, higher=higher, beyond=beyond, seeds=LEAST_REPLICAS, unit="replica")


@dataclass(frozen=True)
class ToyQuestion:
    """An open problem as one toy asks it: a config of configs/toy, or a program of analyze/toys/programs."""

    problem: str
    """Its number, such as "4.7"."""
    name: str
    """Of the config or the program; several toys may answer one problem, each under its name."""
    rule: Rule
    """From `toy_rule`, written before the run."""
    statistic: str
    """What the statistic is, with its unit, in a few words."""
    null: str
    """What the null's draws are."""
    command: str
    """What to type to ask it again."""
    doubts: tuple[str, ...] = ()
    """What always holds against the answer."""
    sources: tuple[str, ...] = ()
    """Papers that the method comes from."""
