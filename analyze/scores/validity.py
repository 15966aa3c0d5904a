"""How far each score can be trusted: what it made of neurons whose meaning is known, as last published.

`polysem truth --publish` measures and writes validity.json beside this file; reports print a score's
line wherever they show the score, and lead with none that is no `headline`.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isnan, nan
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from train.files import write_atomic

PUBLISHED = Path(__file__).with_name("validity.json")
FORMAT_VERSION = 2
REQUIRED = 0.9
"""AUROC that a headline score needs on every symmetric case,"""
HEADLINE = "one_feature"
"""The score that may use the word "monosemantic", while it passes,"""
DESIGNS = ("symmetric", "density matched")
"""in both of these designs of planted neurons, on features that it was not fitted on."""
REQUIRED_ASYMMETRIC = 0.8
"""and where one feature is twice as strong as the others."""
UNMOVED = 1e-3
"""Largest change of a score that counts as none."""
LABEL_RATE = 0.95
"""Share of neurons on which a figure of fit must fall when labels are missing, and when there are too many."""


Number = Annotated[
    float,
    BeforeValidator(lambda value: nan if value is None else value),
    PlainSerializer(lambda value: None if isnan(value) else round(value, 4)),
]
"""A figure that may be NaN, in JSON null."""


@dataclass(frozen=True)
class Case:
    """A score on one set of planted neurons, some of one feature and some of several."""

    name: str
    symmetric: bool
    n_one: int
    n_several: int
    auroc: Number
    """Chance that a neuron of one feature scores above one of several; no score counts as the lowest."""
    low: Number
    high: Number
    """Ends of a 95 % interval: bootstrap over features and neurons."""
    auroc_scored: Number
    """Among those that have a score."""
    correlation: Number
    """Spearman's, of the score with the number of features; -1 is best."""
    na_one: Number
    """Share without a score,"""
    na_several: Number
    mono_one: Number | None
    """and share called monosemantic; None where the score has no verdict."""
    mono_several: Number | None
    by_rate: Number
    """AUROC of the firing rate alone (low = one feature): what a score must beat."""


@dataclass(frozen=True)
class Kind:
    """The main case's neurons of one feature, where the feature is of one kind."""

    name: str
    n: int
    auroc: Number
    """Against all of several features."""
    na: Number
    mono: Number
    """Share called monosemantic, as for controls."""


@dataclass(frozen=True)
class Control:
    """What a score called neurons of one kind that is no mixture of planted features."""

    name: str
    n: int
    mono: Number
    """Share called monosemantic: by the score's own verdict, or from its best threshold on the main case."""
    na: Number
    """Share without a score."""


@dataclass(frozen=True)
class Change:
    """What a change that should not matter did to a score."""

    name: str
    largest: Number
    """Largest change of a score."""
    n_lost: int
    """Neurons that lost their score or came by one."""

    @property
    def unmoved(self) -> bool:
        """Whether nothing moved that counts."""
        return self.largest <= UNMOVED and self.n_lost == 0


@dataclass(frozen=True)
class Labels:
    """The figure of fit that a score rests on, when half of the true set's tokens go, and as many others come."""

    n: int
    missing: Number
    """Share of neurons on which it fell."""
    extra: Number

    @property
    def passed(self) -> bool:
        """Whether it fell on LABEL_RATE of them both times."""
        return min(self.missing, self.extra) >= LABEL_RATE


@dataclass(frozen=True)
class Toys:
    """A score on trained toys, where the share of a neuron's responses that is one feature's is known."""

    n_neurons: int
    n_instances: int
    auroc: Number
    """Of share > 0.9, mean over instances that have both kinds."""
    low: Number
    high: Number


@dataclass(frozen=True)
class Validity:
    """What was measured of one score."""

    score: str
    part: str
    """Features that the neurons were planted with: `held`, which no score was tuned on, or `tuning`."""
    why_not: str
    """Why planted neurons cannot be measured with it; empty where they can."""
    data_hash: str
    planted_hash: str
    """Of the definitions and their distribution."""
    admitted_hash: str
    """Of the features that this corpus admitted."""
    n_features: int
    code: str
    """sha256 of the score's module, docstrings and comments left out."""
    cases: tuple[Case, ...] = ()
    less: tuple[Case, ...] = ()
    """The main case with part of what the score knows taken away, by what that is."""
    kinds: tuple[Kind, ...] = ()
    controls: tuple[Control, ...] = ()
    changes: tuple[Change, ...] = ()
    labels: Labels | None = None
    toys: Toys | None = None

    def case(self, name: str) -> Case | None:
        """The case of this name."""
        return next((case for case in self.cases if case.name == name), None)

    @property
    def main(self) -> Case | None:
        """The first symmetric case: what `line` states."""
        return next((case for case in self.cases if case.symmetric), None)

    @property
    def failures(self) -> tuple[str, ...]:
        """What keeps it from leading a report, each in a few words."""
        if self.why_not:
            return (f"not measurable on planted neurons ({self.why_not})",)
        failures = [] if self.part == "held" else ["measured on the features it may have been tuned on"]
        if self.main is None:
            failures.append("no symmetric case was measured")
        for case in self.cases:
            required = REQUIRED if case.symmetric else REQUIRED_ASYMMETRIC if case.name == "asymmetric" else None
            if required is not None and not case.auroc >= required:
                failures.append(f"{case.name} {shown(case.auroc)} < {shown(required)}")
            if case.symmetric and case.auroc <= case.by_rate:
                failures.append(f"no better than the firing rate ({shown(case.by_rate)})")
        failures += [f"moved by {change.name}" for change in self.changes if not change.unmoved]
        if self.labels is not None:
            shares = {"missing": self.labels.missing, "extra": self.labels.extra}
            failures += [f"does not fall with {kind} labels" for kind, share in shares.items() if share < LABEL_RATE]
        return tuple(failures)

    @property
    def headline(self) -> bool:
        """Whether it may lead a report: nothing failed that is required."""
        return not self.failures

    def line(self) -> str:
        """For reports: the AUROC with its interval, on how many neurons, and what failed."""
        failed = f"; fails: {', '.join(self.failures)}" if self.failures else ""
        if (case := self.main) is None:
            return ", ".join(self.failures)
        figures = f"AUROC {shown(case.auroc)} [{shown(case.low)}, {shown(case.high)}]"
        return f"{figures} on {case.n_one + case.n_several} planted neurons{failed}"


def shown(value: float | None) -> str:
    """A share or an AUROC with two digits: .91, 1.00, -.30; a dash for none."""
    if value is None or isnan(value):
        return "-"
    text = f"{value:.2f}"
    return text if abs(float(text)) >= 1 else text.replace("0.", ".", 1)


_JSON = TypeAdapter(Validity)


def as_json(validity: Validity) -> dict[str, Any]:
    """For validity.json: figures with four decimals, NaN as null."""
    return _JSON.dump_python(validity, mode="json")


def from_json(given: dict[str, Any]) -> Validity:
    """What `as_json` gave, to four decimals; keys of older files that are no longer known are passed over."""
    return _JSON.validate_python(given)


@lru_cache(maxsize=4)
def published(path: Path = PUBLISHED) -> dict[str, Validity]:
    """Every score's published validity; nothing where none was published or under another format."""
    if not path.is_file():
        return {}
    given = json.loads(path.read_text(encoding="utf-8"))
    if given.get("format_version") != FORMAT_VERSION:
        return {}
    return {validity.score: validity for validity in map(from_json, given["scores"])}


def validity_of(score: str) -> Validity | None:
    """What was published of a score; None where it has not been measured."""
    return published().get(score)


def may_lead(name: str) -> bool:
    """Whether a score has passed on planted neurons, so that a report may lead with it."""
    measured = validity_of(name)
    return measured is not None and measured.headline


def says_monosemantic(name: str) -> bool:
    """Whether a score may call neurons monosemantic: it is the headline, and passes REQUIRED in both DESIGNS."""
    measured = validity_of(name)
    if name != HEADLINE or measured is None or not measured.headline:
        return False
    areas = {design: [case.auroc for case in measured.cases if case.name.startswith(design)] for design in DESIGNS}
    return all(found and min(found) >= REQUIRED for found in areas.values())


def neurons_called(name: str, called: str) -> str:
    """The neurons that a score says yes of: `monosemantic neurons` where it may say so, or `neurons of <called>`."""
    return "monosemantic neurons" if says_monosemantic(name) else f"neurons of {called}"


def validity_line(name: str) -> str:
    """A score's measured validity, for every place that shows its numbers."""
    measured = validity_of(name)
    return f"Validity: {'not measured on planted neurons' if measured is None else measured.line()}"


def publish(measured: list[Validity], path: Path = PUBLISHED) -> Path:
    """Write validity.json: these scores anew, others as they stand.

    A measurement without toys keeps what was published of toys for the same code: planted neurons play no part in it.
    """
    before = published(path)
    scores = dict(before)
    for validity in measured:
        known = before.get(validity.score)
        keeps = known is not None and validity.toys is None and known.code == validity.code
        scores[validity.score] = replace(validity, toys=known.toys) if known is not None and keeps else validity
    body = {"format_version": FORMAT_VERSION, "scores": [as_json(scores[name]) for name in sorted(scores)]}
    write_atomic(path, (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
    published.cache_clear()
    return path
