"""The tables of a measurement: validity.md for people, validity.parquet for programs."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from analyze.scores.validity import LABEL_RATE, REQUIRED, REQUIRED_ASYMMETRIC, UNMOVED, Case, Labels, Validity, shown
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, PLANTED_HASH
from analyze.validation.label_tests import FALLS, NOISE

INTRODUCTION = f"""# Validity of the scores

Neurons planted on real text: max(sum of k features + noise - 0.3, 0), features of part `%s`. AUROC is the chance that \
a neuron of one feature scores above one of two to eight; no score (NA) counts as the lowest. Intervals: 95 %%, \
bootstrap over features and neurons. Firing rate: the AUROC of the firing rate alone (low = one feature).

Required of a headline score: AUROC of at least {shown(REQUIRED)} on the symmetric cases (in bold) and of at least \
{shown(REQUIRED_ASYMMETRIC)} on the asymmetric one, measured on held features; no change above {UNMOVED} by offset, \
scale and duplicates; where the score rests on how well one set fits, a fall in {LABEL_RATE:.0%}% of neurons with \
missing and with extra labels.
"""


def table(judged: list[Validity]) -> pl.DataFrame:
    """One row for each score and case, control, change or toy, in long form."""
    rows: list[dict[str, Any]] = []
    for validity in judged:
        base: dict[str, Any] = {"score": validity.score, "part": validity.part}
        parts = {
            "case": validity.cases,
            "knowing less": validity.less,
            "kind of feature": validity.kinds,
            "control": validity.controls,
            "change": validity.changes,
        }
        rows += [base | {"kind": kind} | vars(figures) for kind, items in parts.items() for figures in items]
        if validity.labels:
            rows.append(base | {"kind": "labels", "name": "missing and extra labels"} | vars(validity.labels))
        if validity.toys:
            rows.append(base | {"kind": "toys", "name": "toys"} | vars(validity.toys))
        if validity.why_not:
            rows.append(base | {"kind": "none", "name": validity.why_not})
    return pl.DataFrame(rows, infer_schema_length=None)


def page(
    judged: list[Validity], everything: Admitted, references: dict[str, tuple[Labels, bool]], inputs: dict[str, str]
) -> str:
    """The page, in Markdown.

    Args:
        references: label tests of figures of fit, and whether each is known to pass.
        inputs: what the measurement depends on, by name.
    """
    measured = [validity for validity in judged if validity.cases]
    in_short = [(validity.score, _yes(validity.headline), validity.line()) for validity in judged]
    sections = [
        INTRODUCTION % (judged[0].part if judged else "held"),
        _section("In short", "", ("score", "headline", "measured"), in_short),
        _cases(measured),
        _less(measured),
        _verdicts(measured),
        _kinds(measured),
        _controls(measured),
        _changes(measured),
        _labels(judged, references),
        _toys(judged),
    ]
    facts = [
        *everything.lines(),
        f"planted set: {PLANTED_HASH}",
        *(f"{name}: {value}" for name, value in inputs.items()),
    ]
    planted = "\n".join(["## What was planted", "", *(f"- {fact}" for fact in facts), "", ""])
    return "\n".join([*sections, planted])


def _section(title: str, caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A heading, a sentence, a table and an empty line."""
    cells = [head, tuple("---" for _ in head), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([f"## {title}", "", *([caption, ""] if caption else []), *lines, ""])


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _area(case: Case) -> str:
    return f"{shown(case.auroc)} [{shown(case.low)}, {shown(case.high)}]"


def _cases(measured: list[Validity]) -> str:
    if not measured:
        return "## By case\n\nNo score was measured.\n"
    rows = []
    for case in measured[0].cases:
        name = f"**{case.name}**" if case.symmetric else case.name
        cells = [name, f"{case.n_one} + {case.n_several}", shown(case.by_rate)]
        for validity in measured:
            mine = validity.case(case.name)
            cells.append(f"{_area(mine)}; {shown(mine.auroc_scored)}; {shown(mine.correlation)}" if mine else "-")
        rows.append(tuple(cells))
    caption = "AUROC [interval]; AUROC among neurons that have a score; rank correlation with k."
    head = ("case", "one + several", "firing rate", *(validity.score for validity in measured))
    return _section("By case", caption, head, rows)


def _less(measured: list[Validity]) -> str:
    rows = [
        (validity.score, case.name, _area(case), *map(shown, (case.auroc_scored, case.na_one, case.na_several)))
        for validity in measured
        for case in validity.less
    ]
    if not rows:
        return "## Knowing less\n\nNo score that goes by what it is given to know was measured.\n"
    caption = "The main case, with part of what a score knows taken away."
    head = ("score", "without", "AUROC", "among scored", "NA of one", "NA of several")
    return _section("Knowing less", caption, head, rows)


def _verdicts(measured: list[Validity]) -> str:
    rows = [
        (validity.score, case.name, *map(shown, (case.na_one, case.na_several, case.mono_one, case.mono_several)))
        for validity in measured
        for case in validity.cases
    ]
    head = ("score", "case", "NA of one", "NA of several", "called so, of one", "called so, of several")
    return _section("Scores missing (NA), and neurons that the score says yes of (called so)", "", head, rows)


def _kinds(measured: list[Validity]) -> str:
    rows = [
        (validity.score, kind.name, str(kind.n), *map(shown, (kind.auroc, kind.na, kind.mono)))
        for validity in measured
        for kind in validity.kinds
    ]
    caption = "The main case's neurons of one feature, by its kind, against all of several."
    return _section("By kind of feature", caption, ("score", "kind", "neurons", "AUROC", "NA", "called so"), rows)


def _controls(measured: list[Validity]) -> str:
    names = [control.name for control in measured[0].controls] if measured else []
    rows = [
        (validity.score, *(f"{shown(control.mono)} ({shown(control.na)})" for control in validity.controls))
        for validity in measured
    ]
    caption = (
        "Share called so, that is, of one feature, by the score's own verdict or (scores without one) from the "
        "threshold that does best on the main case; NA in brackets. "
        "Broad features and single tokens are one thing each; random ones none."
    )
    return _section("Controls", caption, ("score", *names), rows)


def _changes(measured: list[Validity]) -> str:
    names = [change.name for change in measured[0].changes] if measured else []
    rows = []
    for validity in measured:
        lost = [f", {change.n_lost} to or from NA" if change.n_lost else "" for change in validity.changes]
        cells = (f"{change.largest:.1e}{text}" for change, text in zip(validity.changes, lost))
        rows.append((validity.score, *cells))
    caption = "Largest change of the score among every fifth neuron of the main case."
    return _section("What should not matter", caption, ("score", *names), rows)


def _labels(judged: list[Validity], references: dict[str, tuple[Labels, bool]]) -> str:
    tests = [
        *((f"{name} (known to {'pass' if passes else 'fail'})", test) for name, (test, passes) in references.items()),
        *((validity.score, validity.labels) for validity in judged if validity.labels),
    ]
    rows = [(name, shown(test.missing), shown(test.extra), _yes(test.passed)) for name, test in tests]
    n = next(iter(references.values()))[0].n if references else 0
    caption = (
        f"Share of {n} neurons of one feature on which the figure of fit falls by more than {FALLS:.0%} when a random "
        f"half of the true set is taken away, and when as many random tokens are put in; "
        f"neurons of the {MAIN.name} case with noise of sd {shown(NOISE)}."
    )
    head = ("figure", "falls with missing", "falls with extra", "passes")
    return _section("Missing and extra labels", caption, head, rows)


def _toys(judged: list[Validity]) -> str:
    toys = [(validity.score, validity.toys) for validity in judged if validity.toys]
    rows = [
        (score, f"{shown(toy.auroc)} [{shown(toy.low)}, {shown(toy.high)}]", str(toy.n_neurons), str(toy.n_instances))
        for score, toy in toys
    ]
    if not rows:
        return "## Toys\n\nNo score that reads toys was measured on any (`--toys`).\n"
    caption = (
        "AUROC of one feature making up more than 0.9 of a neuron's responses; mean over the instances of trained toys "
        "that have both kinds of neurons; the interval resamples replicas."
    )
    return _section("Toys", caption, ("score", "AUROC", "neurons", "instances"), rows)
