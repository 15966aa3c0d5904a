"""validity.md and validity.parquet: the tables."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from analyze.scores.validity import LABEL_RATE, REQUIRED, REQUIRED_ASYMMETRIC, UNMOVED, Labels, Validity, shown
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, PLANTED_HASH
from analyze.validation.label_tests import FALLS, NOISE


def table(found: list[Validity]) -> pl.DataFrame:
    """One row a score and case, control, change or toy: what was measured, in long form."""
    rows: list[dict[str, Any]] = []
    for one in found:
        base: dict[str, Any] = {"score": one.score, "part": one.part}
        rows += [base | {"kind": "case"} | vars(case) for case in one.cases]
        rows += [base | {"kind": "knowing less"} | vars(case) for case in one.less]
        rows += [base | {"kind": "kind of feature"} | vars(kind) for kind in one.kinds]
        rows += [base | {"kind": "control"} | vars(control) for control in one.controls]
        rows += [base | {"kind": "change"} | vars(change) for change in one.changes]
        if one.labels:
            rows.append(base | {"kind": "labels", "name": "missing and extra labels"} | vars(one.labels))
        if one.toys:
            rows.append(base | {"kind": "toys", "name": "toys"} | vars(one.toys))
        if one.why_not:
            rows.append(base | {"kind": "none", "name": one.why_not})
    return pl.DataFrame(rows, infer_schema_length=None)


def page(
    found: list[Validity],
    everything: Admitted,
    references: dict[str, tuple[Labels, bool]],
    inputs: dict[str, str],
) -> str:
    """The page, in Markdown."""
    part = found[0].part if found else "held"
    lines = [
        "# Validity of the scores",
        "",
        f"Neurons planted on real text: max(sum of k features + noise - 0.3, 0), features of part `{part}`. "
        "AUROC is the chance that a neuron of one feature scores above one of two to eight; no score (NA) counts "
        "as the lowest. Intervals: 95 %, bootstrap over features and neurons. Firing rate: the AUROC of the "
        "firing rate alone (low = one feature).",
        "",
        f"Required of a headline score: AUROC of at least {shown(REQUIRED)} on the symmetric cases (in bold) and of at "
        f"least {shown(REQUIRED_ASYMMETRIC)} on the asymmetric one, measured on held features; no change above "
        f"{UNMOVED} by offset, scale and duplicates; where the score rests on how well one set fits, a fall in "
        f"{LABEL_RATE:.0%} of neurons with missing and with extra labels.",
        "",
        "## In short",
        "",
        *_markdown(("score", "headline", "measured"), ((one.score, _yes(one.headline), one.line()) for one in found)),
        "",
        "## By case",
        "",
    ]
    lines += _cases(found)
    lines += ["", "## Knowing less", ""]
    lines += _less(found)
    lines += ["", "## Scores missing (NA), and called monosemantic", ""]
    lines += _verdicts(found)
    lines += ["", "## By kind of feature", ""]
    lines += _kinds(found)
    lines += ["", "## Controls", ""]
    lines += [
        "Share called monosemantic, by the score's own verdict or (scores without one) from the threshold that does "
        "best on the main case; NA in brackets. Broad features and single tokens are one thing each; random ones none.",
        "",
    ]
    lines += _controls(found)
    lines += ["", "## What should not matter", ""]
    lines += _changes(found)
    lines += ["", "## Missing and extra labels", ""]
    lines += _labels(found, references)
    lines += ["", "## Toys", ""]
    lines += _toys(found)
    lines += ["", "## What was planted", "", *(f"- {line}" for line in everything.lines())]
    lines += [f"- planted set: {PLANTED_HASH}", *(f"- {name}: {value}" for name, value in inputs.items()), ""]
    return "\n".join(lines) + "\n"


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _measured(found: list[Validity]) -> list[Validity]:
    return [one for one in found if one.cases]


def _cases(found: list[Validity]) -> list[str]:
    kept = _measured(found)
    if not kept:
        return ["No score was measured."]
    rows = []
    for case in kept[0].cases:
        name = f"**{case.name}**" if case.symmetric else case.name
        cells = [name, f"{case.n_one} + {case.n_several}", shown(case.by_rate)]
        for one in kept:
            mine = one.case(case.name)
            cells.append(
                f"{shown(mine.auroc)} [{shown(mine.low)}, {shown(mine.high)}]; {shown(mine.auroc_scored)}; "
                f"{shown(mine.correlation)}"
                if mine
                else "-"
            )
        rows.append(tuple(cells))
    return [
        "AUROC [interval]; AUROC among neurons that have a score; rank correlation with k.",
        "",
        *_markdown(("case", "one + several", "firing rate", *(one.score for one in kept)), rows),
    ]


def _less(found: list[Validity]) -> list[str]:
    rows = [
        (
            one.score,
            case.name,
            f"{shown(case.auroc)} [{shown(case.low)}, {shown(case.high)}]",
            *map(shown, (case.auroc_scored, case.na_one, case.na_several)),
        )
        for one in _measured(found)
        for case in one.less
    ]
    if not rows:
        return ["No score that goes by what it is given to know was measured."]
    head = ("score", "without", "AUROC", "among scored", "NA of one", "NA of several")
    return ["The main case, with part of what a score knows taken away.", "", *_markdown(head, rows)]


def _verdicts(found: list[Validity]) -> list[str]:
    kept = _measured(found)
    rows = []
    for one in kept:
        for case in one.cases:
            figures = (case.na_one, case.na_several, case.mono_one, case.mono_several)
            rows.append((one.score, case.name, *map(shown, figures)))
    head = ("score", "case", "NA of one", "NA of several", "mono of one", "mono of several")
    return _markdown(head, rows)


def _kinds(found: list[Validity]) -> list[str]:
    rows = [
        (one.score, kind.name, str(kind.n), *map(shown, (kind.auroc, kind.na, kind.mono)))
        for one in _measured(found)
        for kind in one.kinds
    ]
    head = ("score", "kind", "neurons", "AUROC", "NA", "mono")
    return [
        "The main case's neurons of one feature, by its kind, against all of several.",
        "",
        *_markdown(head, rows),
    ]


def _controls(found: list[Validity]) -> list[str]:
    kept = _measured(found)
    names = [one.name for one in kept[0].controls] if kept else []
    rows = [(one.score, *(f"{shown(each.mono)} ({shown(each.na)})" for each in one.controls)) for one in kept]
    return _markdown(("score", *names), rows)


def _changes(found: list[Validity]) -> list[str]:
    kept = _measured(found)
    names = [one.name for one in kept[0].changes] if kept else []
    rows = [
        (
            one.score,
            *(f"{each.largest:.1e}" + (f", {each.n_lost} to or from NA" * bool(each.n_lost)) for each in one.changes),
        )
        for one in kept
    ]
    return [
        "Largest change of the score among every fifth neuron of the main case.",
        "",
        *_markdown(("score", *names), rows),
    ]


def _labels(found: list[Validity], references: dict[str, tuple[Labels, bool]]) -> list[str]:
    rows = [
        (f"{name} (known to {'pass' if passes else 'fail'})", shown(one.missing), shown(one.extra), _yes(one.passed))
        for name, (one, passes) in references.items()
    ]
    rows += [
        (each.score, shown(each.labels.missing), shown(each.labels.extra), _yes(each.labels.passed))
        for each in found
        if each.labels
    ]
    n = next(iter(references.values()))[0].n if references else 0
    return [
        f"Share of {n} neurons of one feature on which the figure of fit falls by more than {FALLS:.0%} when a random "
        f"half of the true set is taken away, and when as many random tokens are put in; "
        f"neurons of the {MAIN.name} case with noise of sd {shown(NOISE)}.",
        "",
        *_markdown(("figure", "falls with missing", "falls with extra", "passes"), rows),
    ]


def _toys(found: list[Validity]) -> list[str]:
    rows = [
        (
            one.score,
            f"{shown(one.toys.auroc)} [{shown(one.toys.low)}, {shown(one.toys.high)}]",
            str(one.toys.n_neurons),
            str(one.toys.n_instances),
        )
        for one in found
        if one.toys
    ]
    if not rows:
        return ["No score that reads toys was measured on any (`--toys`)."]
    return [
        "AUROC of one feature making up more than 0.9 of a neuron's responses; mean over the instances of trained toys "
        "that have both kinds of neurons; the interval resamples replicas.",
        "",
        *_markdown(("score", "AUROC", "neurons", "instances"), rows),
    ]
