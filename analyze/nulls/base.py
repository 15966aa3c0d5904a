"""What a null is: neurons that have no features, made by chance, which every score takes for a layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analyze.activations.store import Activations


@dataclass(frozen=True)
class NullStyle:
    """How figures draw a null: as a line, and as a mark."""

    colour: str
    dash: Any
    """Of matplotlib."""
    mark: str
    """Of matplotlib."""
    called: str
    """The mark in a caption."""


@dataclass(frozen=True)
class Null:
    """One null: how to make it, and how tables, sentences and figures show it."""

    name: str
    """In column `null` of scores.parquet and on the command line."""
    title: str
    """Heads a column of a table."""
    phrase: str
    """Stands in a sentence: "no more monosemantic neurons than <phrase> shows"."""
    meaning: str
    """Explains it in a glossary: "the same score on <meaning>"."""
    style: NullStyle
    order: int
    """Its place among the nulls."""
    shown: bool
    """Whether comparisons and reports show it."""
    make: Callable[[Activations, int], Activations | None] | None
    """From activations and a seed, and nothing else; it returns None where the activations do not allow the null.
    `make` itself is None for a null that is no function of trained activations."""
    needs: str = "a neuron that is not dead"
    """What activations must have to allow it: the reason where there is none."""
    reads_weights: bool = False
    """Whether it reads the checkpoint, which must be there then."""
