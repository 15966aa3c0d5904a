"""Sentences about the numbers of a comparison: which tests were made, reasons to doubt, a glossary."""

import re
from collections.abc import Callable, Sequence
from math import isfinite

from analyze.comparison.comparison import Comparison
from analyze.comparison.summary import ComparedScore
from analyze.comparison.variants import VariantResult
from analyze.nulls import DEFAULT_NULLS, shown_nulls
from analyze.scores.base import Verdict
from analyze.scores.validity import neurons_called, validity_of
from analyze.statistics import Estimate, minimum_seeds
from analyze.tables import count, number

LEAST_BELOW_BIGRAM = 0.1
"""Nats a token below a bigram's loss, under which a model has hardly learnt more than which token follows which."""


def with_interval(estimate: Estimate, form: Callable[[float], str]) -> str:
    """`mean [low, high]`, or the mean alone where one seed gives no interval."""
    middle = form(estimate.mean)
    return f"{middle} [{form(estimate.low)}, {form(estimate.high)}]" if estimate.has_interval else middle


def in_own_words(text: str, verdict: Verdict) -> str:
    """What a score says, with its own word in place of "mono", which is the headline's alone.

    Some scores still write it: their published validity is bound to their modules as they stand.
    """
    return re.sub(r"(?<=\()(not )?mono(?=\)\.$)|\bmono(?= where )", lambda match: verdict.word(not match[1]), text)


def null_of_z(comparison: Comparison) -> str:
    """The name of the null that z is taken against: the first that any variant has, DEFAULT_NULLS before others."""
    summaries = [summary for row in comparison.rows for summary in row.scores.values()]
    names = (*DEFAULT_NULLS, *(null.name for null in shown_nulls() if null.make is not None))
    return next((name for name in names if any(summary.nulls[name].n for summary in summaries)), names[0])


def unjudged(score: ComparedScore) -> str:
    """`reach below 0.005`: of which neurons a score gives no verdict; empty where it judges all."""
    decides = score.verdict.judged_by
    return "" if decides is None else f"{decides.column} below {decides.least}"


def rate_of(row: VariantResult) -> str:
    """The peak learning rates of a variant's runs; NA where results of earlier versions do not say."""
    return ", ".join(f"{rate:g}" for rate in row.peak_rates) or "NA"


def rate_doubt(comparison: Comparison) -> str:
    """That shares depend on the learning rate, and at which rates these runs were trained."""
    from_scratch = [row for row in comparison.rows if not row.is_arm] or comparison.rows
    rates = {str(row): rate_of(row) for row in from_scratch}
    which = (
        "these results do not say at which rates their runs were trained"
        if set(rates.values()) == {"NA"}
        else f"here all have a peak of {next(iter(rates.values()))}, and are compared at that rate alone"
        if len(set(rates.values())) == 1
        else f"peaks here: {', '.join(f'{name} {rate}' for name, rate in rates.items())}"
    )
    return f"The learning rate moves these shares as much as an activation does (docs/rates.md); {which}."


def tests_made(comparison: Comparison) -> str:
    """Which tests were made, or why none was."""
    n, m = max(row.n_seeds for row in comparison.rows), comparison.n_tests
    if m == 0:
        return "No test was made: there is no contrast with the reference."
    needed = minimum_seeds(m)
    contrasts = f"{m} planned contrast{'s' if m > 1 else ''}"
    if n < minimum_seeds():
        seeds = "there is 1 seed" if n == 1 else f"there are {n} seeds"
        return (
            f"No test was made: an exact two-sided sign-flip test at 0.05 needs {minimum_seeds()} seeds for one "
            f"contrast and {needed} for the {contrasts} here under Holm's correction; {seeds}. Differences below are "
            "estimates, not findings."
        )
    tests = [
        f"{row} {score.title}: p = {summary.p:.3g}, adjusted {summary.p_adjusted:.3g}"
        for row in comparison.rows
        for score in comparison.scores
        if score.name in comparison.primaries and isfinite((summary := row.scores[score.name]).p)
    ]
    enough = "" if n >= needed else f" With {n} seeds none of them can reach 0.05 (that takes {needed})."
    return (
        f"Exact two-sided sign-flip tests of the {contrasts} with {comparison.reference}, Holm's correction: "
        f"{'; '.join(tests)}.{enough}"
    )


def doubts(comparison: Comparison) -> tuple[str, ...]:
    """What in these numbers should make a reader doubt them, one sentence each."""
    rows, primary = comparison.rows, comparison.primary
    reference = next(row for row in rows if row.variant == comparison.reference)
    reasons = [rate_doubt(comparison)]

    def doubt(sentence: str, applies: Callable[[VariantResult], bool]) -> None:
        named = ", ".join(str(row) for row in rows if applies(row))
        if named:
            reasons.append(f"{sentence}: {named}.")

    least = min(row.n_seeds for row in rows)
    if least == 1:
        names = sorted({row.variant for row in rows if row.n_seeds == 1})
        reasons.append(f"One seed only, so no interval at all: {', '.join(names)}.")
    elif least < 6:
        wide = " At 2 seeds a 95 % t interval is 12.7 standard errors either way." if least == 2 else ""
        reasons.append(f"Only {least} seeds: intervals over seeds are wide.{wide}")
    if len(comparison.precisions) > 1:
        reasons.append(f"Runs were trained in unlike arithmetic: {', '.join(comparison.precisions)}.")
    for score in comparison.scores:
        name, title = score.name, score.title
        validity, called = validity_of(name), neurons_called(name, score.verdict.called)
        if validity is None or not validity.headline:
            line = "it has not been measured" if validity is None else validity.line()
            reasons.append(
                f"{title} has not passed on planted neurons (neurons whose truth is known), so its shares describe and "
                f"do not count: {line}."
            )
        for null in shown_nulls():
            excesses = {id(row): row.scores[name].nulls[null.name].excess.mean for row in rows}
            doubt(
                f"By {title}, no more {called} than {null.phrase} shows",
                lambda row, excesses=excesses: excesses[id(row)] <= 0,
            )
            doubt(
                f"{title} could not be held against {null.phrase}, which is not there",
                lambda row, excesses=excesses: not isfinite(excesses[id(row)]),
            )
    reasons.extend(bigram_doubts(rows))
    doubt(
        f"Evaluation loss more than 0.1 nats from {comparison.reference}'s, and shares change with training",
        lambda row: abs(row.eval_loss.mean - reference.eval_loss.mean) > 0.1,
    )
    twins = {each.twin for row in rows if row.variant == comparison.reference for each in row.cells}
    doubt(
        f"Trained on other data than {comparison.reference} of the same seed, so not paired with it",
        lambda row: any(each.twin not in twins and each.seed in {seed for seed, _ in twins} for each in row.cells),
    )
    doubt("Seeds stand at different steps", lambda row: len({meta.step for meta in row.metas}) > 1)
    scratch = {row.tokens_seen for row in rows if not row.is_arm}
    if len(scratch) > 1:
        tokens = ", ".join(map(count, sorted(scratch)))
        reasons.append(f"Variants from scratch saw unequal numbers of tokens: {tokens}.")
    doubt(
        f"More than half of the {neurons_called(primary.name, primary.verdict.called)} by {primary.title} answer to a "
        "single token",
        lambda row: row.scores[primary.name].single_token_share > 0.5,
    )
    for score in comparison.scores:
        if unjudged(score):
            doubt(
                f"{score.title} judges fewer than half of the scored neurons ({unjudged(score)})",
                lambda row, name=score.name: row.scores[name].na_share > 0.5,
            )
    return tuple(reasons)


def bigram_doubts(rows: Sequence[VariantResult]) -> list[str]:
    """Variants that predict held-out text worse than a bigram, or hardly better: each with how many nats a token."""
    above = {row.variant: row.eval_loss.mean - row.bigram_loss for row in rows}
    worse = [f"{name} by {number(nats)}" for name, nats in above.items() if nats >= 0]
    hardly = [f"{name} by {number(-nats)}" for name, nats in above.items() if -LEAST_BELOW_BIGRAM < nats < 0]
    sentences = []
    if worse:
        sentences.append(f"Predicts held-out text worse than a bigram, nats a token: {', '.join(worse)}.")
    if hardly:
        sentences.append(
            f"Predicts held-out text better than a bigram by less than {LEAST_BELOW_BIGRAM:g} nats a token: "
            f"{', '.join(hardly)}."
        )
    return sentences


def glossary(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Words of the tables and what they mean."""
    nulls = shown_nulls()
    *first, last = (f"on {null.meaning}" for null in nulls)
    meanings = (in_own_words(score.verdict.meaning, score.verdict) for score in comparison.scores)
    return (
        ("called so", f"What a score says yes of. {' '.join(meanings)}"),
        (
            "scored, all",
            "A neuron is scored if it is neither dead (its range is at most a millionth of the layer's median range) "
            "nor rare (it fires in fewer than 30 documents). `called so % of judged` also leaves out neurons "
            "that the score does not judge (NA). `called so % of all` divides by every neuron of the layer.",
        ),
        (
            "firing",
            "A neuron fires where it lies above 0.1 x its 99.99th percentile. The tables give the median share of "
            "tokens because it moves with the learning rate, and shares of neurons called so move with both.",
        ),
        ("duplicates once", "Neurons whose activations correlate above 0.95 form a cluster. It counts as one neuron."),
        ("single-token", "Share of the neurons called so that answer to one token only."),
        (
            ", ".join(null.title for null in nulls),
            f"Nulls: what chance gives. They are the same score {'; '.join(first)}; and {last}. Where a trained model "
            "beats none of them, the score has shown nothing.",
        ),
        (
            "z",
            "(share - null share) / sqrt(p (1 - p) (1 / n + 1 / n_null)), where p is the pooled share and n the "
            "number of neurons of all seeds, clusters counted once. The heading names the null. z takes neurons for "
            "independent and seeds for fixed: it describes these networks and is no test.",
        ),
        (
            "intervals",
            "95 % t intervals over seeds, cut at 0 and 100 %. Variants of one seed share initial weights and the "
            "order of data, so differences are paired by seed. One seed gives no interval.",
        ),
        (
            "mid, post",
            "Activations before (mid) and after (post) a LayerNorm between the activation and W_out. Networks without "
            "one have mid only, which stands for both when `post` is compared with them.",
        ),
        (
            "dense, always on",
            "Dense: fires on more than half of the tokens. Always on: its 1st percentile lies above zero.",
        ),
    )
