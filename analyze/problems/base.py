"""What an open problem is as a program: a question, a measurement of each checkpoint with its null, a rule, a verdict.

The 45 problems are those of "200 Concrete Open Problems in Mechanistic Interpretability: Superposition" (Nanda 2022),
4.1 to 4.45. A program measures every checkpoint alone; the seed is the unit, so a verdict needs several checkpoints of
a variant. The rule stands in the file before anything is run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import Figure
from analyze.problems.subject import Subject
from analyze.statistics import Estimate

VerdictWord = Literal["yes", "no", "mixed", "unclear", "not answerable", "not asked yet"]
"""mixed: variants that answer differently. unclear: too little to say. not answerable: no checkpoint has what the
problem needs. not asked yet: nothing ran."""
VERDICTS: tuple[VerdictWord, ...] = get_args(VerdictWord)

Level = Literal["A", "B", "C", "D"]
"""Of the published list: A beginner's, B intermediate, C advanced, D very hard."""

LEAST_SEEDS = 3
"""Checkpoints of a variant that a verdict needs; with fewer there is a look and no verdict."""


@dataclass(frozen=True)
class Needs:
    """What a checkpoint must have, or the problem cannot be asked of it."""

    layers: int = 1
    attention_only: bool | None = None
    """True: only models without MLPs; False: only models with MLPs; None: both."""
    activations: tuple[str, ...] = ()
    """Only models with one of these activations; empty: any."""
    text: bool = True
    """Held-out text of the checkpoint's own data."""
    strings: bool = False
    """The text of each token."""
    labels: bool = False
    """The label bank on that text."""
    others: bool = False
    """Reads the other checkpoints that were named, too: measured again where these change."""

    def why_not(self, subject: Subject) -> str:
        """Why the problem cannot be asked of this checkpoint, in a few words; "" where it can."""
        config = subject.model.config
        if config.n_layers < self.layers:
            return f"needs {self.layers} layers, this model has {config.n_layers}"
        if self.attention_only is True and config.has_mlp:
            return "needs an attention-only model"
        if self.attention_only is False and not config.has_mlp:
            return "needs MLPs, this model is attention-only"
        if self.activations and config.act not in self.activations:
            return f"is about {' and '.join(self.activations)}, this model is {config.act}"
        if self.text and subject.rows is None:
            return "needs the held-out text of the checkpoint's data"
        if self.strings and subject.text_source is None and subject.planted_strings is None:
            return "needs the tokenizer of the checkpoint's data"
        if self.labels and subject.text_source is None and subject.planted_labels is None:
            return "needs labels of the checkpoint's held-out text"
        return ""


@dataclass(frozen=True)
class Measurement:
    """What a problem measured of one checkpoint."""

    statistic: float
    """The one number that the verdict goes by; NaN where this checkpoint cannot answer."""
    null: Float[ndarray, " draws"] = field(default_factory=lambda: np.zeros(0))
    """The same number under the problem's matched null, one a draw."""
    untrained: float = nan
    """The same number of the same model before training; NaN where there is no such step."""
    reference: float = nan
    """The same number of what else must not explain it, such as a control model; NaN where there is none."""
    why_not: str = ""
    """Why this checkpoint cannot answer; "" where it can."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Further figures of this checkpoint for the page's table, by what they are."""
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Data behind the figures, by name; each is kept as Parquet."""
    doubts: tuple[str, ...] = ()
    """What a reader must know before believing it, a sentence each."""
    settled: bool = True
    """Whether training had come to rest, where that matters (toys): from networks still moving there is no verdict."""

    def __post_init__(self) -> None:
        if not self.why_not and not np.isfinite(self.statistic):
            raise ValueError("a measurement without a finite statistic must say why_not")

    @classmethod
    def impossible(cls, why_not: str, **details: float) -> "Measurement":
        """Of a checkpoint that cannot answer."""
        return cls(nan, why_not=why_not, details=details)


@dataclass(frozen=True)
class Measured:
    """A measurement and whose it is."""

    run: str
    variant: str
    seed: int
    step: int
    checkpoint: str
    """Hash of the checkpoint."""
    measurement: Measurement


@dataclass(frozen=True)
class Rule:
    """How verdicts follow from checkpoints; written in the problem's file before the run.

    Of every checkpoint the effect is its statistic less the mean of its null's draws (less the statistic of the
    untrained model, or of the problem's reference, where that is higher): what chance and architecture do not explain.
    With the t interval of a variant's seeds: **yes** where the whole interval lies beyond `least` and each checkpoint
    lies beyond its null's `beyond` quantile; **no** where the whole interval lies short of `least`; else **unclear**.
    """

    says: str
    """In words, with the threshold, such as "more than half of what positions need lies in 8 dimensions"."""
    least: float
    """The smallest effect that means yes."""
    higher: bool = True
    """Whether yes means a statistic above the null; else below it (the effect is then null minus statistic)."""
    beyond: float = 0.95
    """Quantile of the null's draws beyond which every checkpoint must lie."""
    against_untrained: bool = True
    """Whether the untrained model is a null too, where there is one."""
    seeds: int = LEAST_SEEDS
    """Seeds of a variant that a verdict needs."""
    unit: str = "checkpoint"
    """What is measured, one a seed: a checkpoint, or a replica of a toy."""


@dataclass(frozen=True)
class VariantAnswer:
    """What the seeds of one variant say."""

    variant: str
    verdict: VerdictWord
    statistic: Estimate
    """Of the statistic over seeds."""
    null: Estimate
    """Of the null's mean over seeds (or of the untrained model or the reference, where that is nearer to yes)."""
    effect: Estimate
    """Of the effect over seeds, in the direction of yes."""
    beyond: int
    """Checkpoints beyond their null's quantile."""
    power: float
    """The smallest effect above `least` that so many seeds with this spread show: half the interval; NaN below 2."""
    why: str = ""
    """Why there is no verdict."""

    @property
    def n(self) -> int:
        """Checkpoints that answered."""
        return self.effect.n


@dataclass(frozen=True)
class Finding:
    """A problem's answer."""

    verdict: VerdictWord
    sentence: str
    """What was found, with its numbers, in one or two sentences."""
    variants: tuple[VariantAnswer, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trials:
    """Cases of known truth on which a problem's rule is tried: hand-built models or text."""

    planted: Callable[[int], Subject]
    """A subject, by seed, of which the answer is yes by construction."""
    null: Callable[[int], Subject]
    """One, by seed, of which nothing of the kind is true: untrained, or its inputs shuffled."""
    n: int = 20
    says: str = ""
    """What was planted, and what the null is, in a sentence."""


@runtime_checkable
class Asked(Protocol):
    """What a verdict takes from what was asked: a problem's program, or a toy."""

    @property
    def rule(self) -> Rule:
        """Written before the run."""
        ...

    @property
    def statistic(self) -> str:
        """What it is, with its unit, in a few words."""
        ...

    @property
    def doubts(self) -> tuple[str, ...]:
        """What always holds against the answer."""
        ...


@dataclass(frozen=True)
class Problem:
    """One of the 45, answered by a program that measures checkpoints."""

    name: str
    """Its number, such as "4.24"; a question of your own has a name without such a number, a title and a question."""
    measure: Callable[[Subject], Measurement]
    rule: Rule
    statistic: str
    """What the statistic is, with its unit, in a few words."""
    null: str
    """What the null's draws are."""
    minutes: float
    """For one checkpoint of the shipped study, on one core."""
    needs: Needs = Needs()
    figures: Callable[[Sequence[Measured]], Sequence[Figure]] = lambda measured: ()
    trials: Trials | None = None
    doubts: tuple[str, ...] = ()
    """What always holds against the answer: what this program does not measure."""
    sources: tuple[str, ...] = ()
    """Papers that the method comes from."""
    reference: str = ""
    """What counts as chance beside the null, such as a control model of the same seed; "" for none."""
    title: str = ""
    """Of a question that is not one of the 45."""
    question: str = ""
    """Likewise."""
