"""From measurements of checkpoints to a verdict, by the rule that stands in the problem's file."""

from collections.abc import Sequence
from math import isfinite, nan

import numpy as np

from analyze.problems.base import Asked, Finding, Measured, Measurement, Rule, VariantAnswer, VerdictWord
from analyze.statistics import Estimate, mean_interval
from analyze.tables import number

NO_ESTIMATE = Estimate(nan, nan, nan, nan, 0)


UNSETTLED = 0.25
"""A variant of which more than this share had not come to rest in training gets no verdict."""


def judge(problem: Asked, measured: Sequence[Measured]) -> Finding:
    """The finding from every checkpoint that was measured.

    Variants are judged alone. All yes: yes; all no: no; both: mixed; none of either: unclear, or not answerable where
    no checkpoint could answer. A variant that is unclear or cannot answer does not overrule the others.
    """
    variants = list(dict.fromkeys(each.variant for each in measured))
    answers = tuple(_of_variant(problem.rule, [each for each in measured if each.variant == v], v) for v in variants)
    verdict = _of_all({answer.verdict for answer in answers})
    doubts = dict.fromkeys([*problem.doubts, *(doubt for each in measured for doubt in each.measurement.doubts)])
    return Finding(verdict, _sentence(problem, verdict, answers), answers, tuple(doubts))


def combined(findings: Sequence[Finding]) -> Finding:
    """One finding from those of several toys or programs that ask the same problem, each by its own rule.

    They count as variants do: yes and no make mixed, and one that is unclear does not overrule the others.
    """
    answers = tuple(answer for each in findings for answer in each.variants)
    doubts = dict.fromkeys(doubt for each in findings for doubt in each.doubts)
    words: set[VerdictWord] = {each.verdict for each in findings}
    verdict = "mixed" if "mixed" in words else _of_all(words)
    return Finding(verdict, " ".join(each.sentence for each in findings), answers, tuple(doubts))


def judge_one(rule: Rule, measurement: Measurement) -> VerdictWord:
    """What the rule says of one case alone, as it is tried on planted ones: its threshold and its null, no interval."""
    if measurement.why_not:
        return "not answerable"
    effect = _effect(rule, measurement)
    return (
        "yes" if effect > rule.least and _is_beyond(rule, measurement) else "no" if effect < rule.least else "unclear"
    )


def _of_all(words: set[VerdictWord]) -> VerdictWord:
    if {"yes", "no"} <= words:
        return "mixed"
    return "yes" if "yes" in words else "no" if "no" in words else "unclear" if "unclear" in words else "not answerable"


def _of_variant(rule: Rule, measured: Sequence[Measured], variant: str) -> VariantAnswer:
    able = [each.measurement for each in measured if not each.measurement.why_not]
    if not able:
        reasons = dict.fromkeys(each.measurement.why_not for each in measured)
        why = "; ".join(reasons)
        return VariantAnswer(variant, "not answerable", NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, 0, nan, why)
    statistic = mean_interval([each.statistic for each in able])
    null = mean_interval([_chance(rule, each) for each in able])
    effect = mean_interval([_effect(rule, each) for each in able])
    beyond = sum(_is_beyond(rule, each) for each in able)
    power = (effect.high - effect.low) / 2
    moving = sum(not each.settled for each in able)
    if moving > UNSETTLED * len(able):
        verdict, why = "unclear", f"training had not converged in {moving} of {_counted(len(able), rule)}"
    else:
        seeds = len({each.seed for each in measured if not each.measurement.why_not})
        verdict, why = _verdict(rule, effect, beyond, seeds)
    return VariantAnswer(variant, verdict, statistic, null, effect, beyond, power, why)


def _verdict(rule: Rule, effect: Estimate, beyond: int, seeds: int) -> tuple[VerdictWord, str]:
    if seeds < rule.seeds:
        return "unclear", f"{seeds} seed{'' if seeds == 1 else 's'}: a look, not a verdict, which takes {rule.seeds}"
    if effect.low > rule.least:
        if beyond == effect.n:
            return "yes", ""
        return "unclear", f"{effect.n - beyond} of {_counted(effect.n, rule)} do not lie beyond their null"
    if effect.high < rule.least:
        return "no", ""
    return "unclear", f"the interval of the effect holds the threshold {rule.least:g}"


def _chance(rule: Rule, measurement: Measurement) -> float:
    """What chance, the untrained model or the reference reach, whichever is nearest to yes."""
    candidates = [float(np.mean(measurement.null))] if len(measurement.null) else []
    if rule.against_untrained and isfinite(measurement.untrained):
        candidates.append(measurement.untrained)
    if isfinite(measurement.reference):
        candidates.append(measurement.reference)
    if not candidates:
        return 0.0
    return max(candidates) if rule.higher else min(candidates)


def _effect(rule: Rule, measurement: Measurement) -> float:
    difference = measurement.statistic - _chance(rule, measurement)
    return difference if rule.higher else -difference


def _is_beyond(rule: Rule, measurement: Measurement) -> bool:
    """Whether the statistic lies beyond the null's quantile, in the direction of yes; true without draws."""
    if not len(measurement.null):
        return True
    quantile = float(np.quantile(measurement.null, rule.beyond if rule.higher else 1 - rule.beyond))
    return bool(measurement.statistic > quantile if rule.higher else measurement.statistic < quantile)


def _counted(n: int, rule: Rule) -> str:
    """`3 checkpoints`."""
    return f"{n} {rule.unit}{'' if n == 1 else 's'}"


def _sentence(problem: Asked, verdict: VerdictWord, answers: Sequence[VariantAnswer]) -> str:
    """The numbers behind a verdict, variant by variant."""
    parts = [
        f"{answer.variant} {number(answer.statistic.mean, 3)} against {number(answer.null.mean, 3)} by chance"
        f"{interval_text(answer.effect)} ({_counted(answer.n, problem.rule)}: {answer.verdict})"
        for answer in answers
        if answer.n
    ]
    if not parts:
        reasons = "; ".join(dict.fromkeys(f"{answer.variant}: {answer.why}" for answer in answers))
        return f"No {problem.rule.unit} could answer: {reasons}."
    return f"{verdict.capitalize()}. {problem.statistic}: " + "; ".join(parts) + "."


def interval_text(effect: Estimate) -> str:
    """`, difference .12 [.05, .19]`."""
    if not effect.has_interval:
        return ""
    return f", difference {number(effect.mean, 3)} [{number(effect.low, 3)}, {number(effect.high, 3)}]"
