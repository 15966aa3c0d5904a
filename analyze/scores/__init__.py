"""Scores of neurons: one file a score, found by SCORES."""

from collections.abc import Iterable

from analyze.registry import Registry
from analyze.scores.base import NeuronScore
from train.errors import BadInput, did_you_mean

SCORES: Registry[NeuronScore] = Registry(__name__, "SCORE", order=lambda score: (score.number, score.name))
"""Every score by name: the SCORE of each module of this package."""
PRIMARY = "k_eff"
"""The score that a comparison asks about, and a report shows neurons by, unless another is named."""


def default_names() -> list[str]:
    """Every score but those that ask to be named: SCORES without the `optional` ones."""
    return [name for name, score in SCORES.items() if not score.optional]


def checked_names(names: Iterable[str] | None) -> list[str]:
    """`names`, each once, "all" among them meaning the default ones; these where none are given.

    Raises:
        BadInput: no such score.
    """
    checked: dict[str, None] = {}
    for name in ["all"] if names is None else names:
        if name != "all" and name not in SCORES:
            raise BadInput(f"score {name!r} is not known{did_you_mean(name, list(SCORES))}")
        checked |= dict.fromkeys(default_names() if name == "all" else [name])
    return list(checked)
