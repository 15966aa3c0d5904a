"""An answer in a line, as lists and pages show it: verdict, figures in words, statistic, null, n and power."""

import re
from dataclasses import dataclass
from typing import Any

from analyze.problems import PROBLEMS
from analyze.problems.base import Finding, VariantAnswer
from analyze.problems.catalogue import Entry
from analyze.statistics import Estimate
from analyze.tables import number


@dataclass(frozen=True)
class Answer:
    """What is shown of a problem's finding; all text, ready-made."""

    verdict: str
    in_words: str
    """The figures in a sentence of the catalogue; "" where nothing was asked."""
    measured: str
    """What the statistic is."""
    statistic: str
    """Of every variant that answered, with its interval; null, n and power likewise, in the same order."""
    null: str
    n: str
    power: str
    rules: tuple[str, ...]
    """The rule in words, with its threshold; of several toys those that differ, each after their names."""


def answer_of(entry: Entry, finding: Finding, facts: dict[str, Any]) -> Answer:
    """From a finding and the facts that stand beside it."""
    able = [each for each in finding.variants if each.n]
    return Answer(
        verdict=finding.verdict,
        in_words=in_words(entry, finding),
        measured=_measured(entry, facts),
        statistic="; ".join(f"{each.variant} {estimate(each.statistic)}" for each in able) or "–",
        null="; ".join(number(each.null.mean, 3) for each in able) or "–",
        n="; ".join(str(each.n) for each in able) or "–",
        power="; ".join(number(each.power, 3) for each in able) or "–",
        rules=_rules(facts),
    )


def in_words(entry: Entry, finding: Finding) -> str:
    """The figures of a finding in a sentence: what was measured, and what chance makes of it."""
    able = [each for each in finding.variants if each.n]
    if not able:
        reasons = [re.split(r";| \(", each.why)[0] for each in finding.variants]
        return f"could not answer: {reasons[0]}" if reasons else ""
    shown = {"statistic": Over(able, "statistic"), "null": Over(able, "null")}
    powers = {f"{name}_2": Over(able, name, power_of_2=True) for name in shown}
    said = (entry.answer or "{statistic} against {null} by chance").format(**shown, **powers)
    words = [each.verdict for each in finding.variants]
    if len(set(words)) == 1:
        return said
    counted = sorted(dict.fromkeys(words), key=lambda word: -words.count(word))
    return f"{said} (variants: {', '.join(f'{words.count(word)} {word}' for word in counted)})"


class Over:
    """A figure over variants, as `0.42` or `0.40 to 0.42`; a format's specification keeps variants that hold it."""

    def __init__(self, answers: list[VariantAnswer], name: str, power_of_2: bool = False) -> None:
        self.means = [(each.variant, float(getattr(each, name).mean)) for each in answers]
        self.power_of_2 = power_of_2

    def __format__(self, spec: str) -> str:
        means = sorted(mean for variant, mean in self.means if spec in variant)
        texts = [number(2**mean, 0) if self.power_of_2 else number(mean) for mean in means] or ["–"]
        return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def estimate(value: Estimate) -> str:
    """`.120 [.050, .190]`; a dash for nothing."""
    if value.n == 0:
        return "–"
    interval = f" [{number(value.low, 3)}, {number(value.high, 3)}]" if value.has_interval else ""
    return f"{number(value.mean, 3)}{interval}"


def _measured(entry: Entry, facts: dict[str, Any]) -> str:
    """What the statistic is, in words; a dash where nothing says it."""
    if entry.name in PROBLEMS:
        return PROBLEMS[entry.name].statistic
    return str(facts.get("statistic_is") or entry.measures or "–")


def _rules(facts: dict[str, Any]) -> tuple[str, ...]:
    """A finding's rule; of several toys each rule once, after the toys that go by it."""
    rule = str(facts.get("rule", "")).rstrip(".")
    toys = facts.get("toys", {})
    if not toys:
        return (rule,) if rule else ()
    by_rule: dict[str, list[str]] = {}
    places = sorted((rule.find(f"{toy}: "), toy) for toy in toys)
    for (start, toy), (stop, _) in zip(places, [*places[1:], (len(rule), "")], strict=True):
        by_rule.setdefault(rule[start + len(toy) + 2 : stop].strip().rstrip("."), []).append(toy)
    if len(by_rule) == 1:
        return tuple(by_rule)
    return tuple(f"{', '.join(toys)}: {says}" for says, toys in by_rule.items())
