"""What a toy's page says of its arms: tables, the statement that the controls allow, and the numbers for programs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analyze.figures import Figure
from analyze.statistics import Estimate
from analyze.tables import Table
from analyze.toys.arms import BESIDE, CONTROLS, DUPLICATE, LEVEL, SAMPLES, Comparison, Result, Trial
from analyze.toys.arms_figures import trial_figure
from analyze.toys.view import View

NAMED = 6
"""So many arms of one kind are named in the summary; the tables have all."""
MEASURES = ("alive", "distinct", "mono", "share", "strict", "once", "computed", "loss")


@dataclass(frozen=True)
class TrialPage:
    """The section on arms."""

    summary: tuple[str, ...]
    """A sentence an instance."""
    tables: tuple[Table, ...]
    """All instances side by side; then of each what the arms came to, and how they differ from their controls."""
    figure: Figure
    caption: str
    numbers: list[dict[str, Any]]
    """One row an arm and instance."""

    def markdown(self) -> str:
        """All of it but the figure."""
        parts = [*(f"- {each}" for each in self.summary), "", self.caption]
        for table in self.tables:
            parts += ["", f"### {table.title}", "", table.markdown()]
        return "\n".join(parts) + "\n"


def trial_page(view: View, trial: Trial) -> TrialPage:
    """The section of a toy whose arms have been trained."""
    tables = [overview_table(view, trial)]
    for instance, results in enumerate(trial.results):
        name = view.title(instance) or "the one instance"
        tables += [outcome_table(name, results), difference_table(name, results)]
    return TrialPage(
        summary=tuple(summary(view, trial, instance) for instance in range(trial.base.n_inst)),
        tables=tuple(tables),
        figure=trial_figure(view, trial),
        caption=caption(trial),
        numbers=[
            numbers(each, {name: trial.base.instances[name][each.instance] for name in view.swept})
            for row in trial.results
            for each in row
        ],
    )


def caption(trial: Trial) -> str:
    """How the tables are read, and what the verdict rests on."""
    steps, before = trial.arms[0].run.config.fit.steps, trial.base.config.fit.steps
    return (
        f"Means over {trial.n_seeds} seeds [95 % t interval]. Every arm took {steps:,} steps on the same samples after "
        f"the {before:,} of the start (from scratch: both), and trained W1, W2 and the biases. Alive: neurons through "
        "which more than 1 % of the strongest passes. Different: of these, each group of duplicates (|correlation| "
        f"above {DUPLICATE:g} on {SAMPLES:,} samples, transitively) counted once. Mono: living neurons of whose "
        "responses one feature makes up more than 0.9 (0.999); once: each group counted once. Features: outputs whose "
        "squared error is below 0.25 of their best constant's. Reduced: the de-duplicated share lies above that of the "
        "narrow networks trained on, of copies without noise and, with L1, of the narrow ones under the same L1, and "
        "no fewer features are computed; every interval of the differences above 0, and the largest p of an arm's "
        f"exact sign-flip tests at most {LEVEL:g} after Holm's correction over {trial.n_claims} such claims."
    )


def summary(view: View, trial: Trial, instance: int) -> str:
    """Which arms the rule lets one call reduced, in one instance."""
    claims = [each for each in trial.results[instance] if each.is_claim]
    if not claims:
        return f"{view.title(instance) or 'The one instance'}: no arm has the controls that a statement needs."
    kinds = {
        kind: [each.outcome.name for each in claims if each.verdict == kind]
        for kind in ("reduced", "fewer features", "not shown", "too few seeds")
    }
    said = {
        "reduced": "superposition is reduced in",
        "fewer features": "the share rises but fewer features are computed in",
        "not shown": "no reduction is shown in",
        "too few seeds": "there are too few seeds for",
    }
    found = []
    for kind, names in kinds.items():
        if names:
            listed = f" ({', '.join(names)})" if len(names) <= NAMED else ""
            found.append(f"{said[kind]} {len(names)} of {len(claims)} arms{listed}")
    floor = [each for each in trial.results[instance] if each.verdict == "control"]
    note = ""
    if kinds["reduced"] and all(np.nan_to_num(each.outcome.once[instance]).max() == 0 for each in floor):
        note = " No control has a monosemantic neuron in any seed, so that any share beats them: read how large it is."
    return f"{view.title(instance) or 'The one instance'}: {'; '.join(found)}.{note}"


def overview_table(view: View, trial: Trial) -> Table:
    """What matters most, of all instances side by side."""
    titles = [view.title(i) or "the one instance" for i in range(trial.base.n_inst)]
    rows = []
    for i, outcome in enumerate(trial.outcomes):
        cells = []
        for of_instance in trial.results:
            each = of_instance[i]
            cells += [
                interval(each.estimate("once"), _share),
                interval(each.estimate("computed"), _count),
                each.verdict if each.is_claim else "–",
            ]
        expectation = "" if outcome.settings is None else outcome.settings.expectation
        rows.append((outcome.name, f"{outcome.n_neurons:,}", *cells, expectation))
    heads = [f"{title}: {what}" for title in titles for what in ("mono > 0.9, once", "features", "superposition")]
    return Table("All arms", "", ("arm", "neurons", *heads, "expected before"), tuple(rows))


def outcome_table(title: str, results: list[Result]) -> Table:
    """What every arm came to."""
    rows = []
    for each in results:
        rows.append(
            (
                each.outcome.name,
                f"{each.outcome.n_neurons:,}",
                interval(each.estimate("alive"), _count),
                interval(each.estimate("distinct"), _count),
                interval(each.estimate("mono"), _count),
                interval(each.estimate("share"), _share),
                interval(each.estimate("strict"), _share),
                interval(each.estimate("once"), _share),
                interval(each.estimate("computed"), _count),
                interval(each.estimate("loss"), _loss),
            )
        )
    return Table(
        f"{title}: the arms",
        "",
        (
            "arm",
            "neurons",
            "alive",
            "different",
            "different mono",
            "mono > 0.9",
            "mono > 0.999",
            "mono > 0.9, once",
            "features",
            "loss",
        ),
        tuple(rows),
    )


def difference_table(title: str, results: list[Result]) -> Table:
    """How every arm differs from its controls."""
    rows = []
    for each in results:
        if not each.comparisons:
            continue
        narrow = each.less("narrow")
        rows.append(
            (
                each.outcome.name,
                *(_difference(each.less(why)) for why in (*CONTROLS, *BESIDE)),
                "–" if narrow is None else interval(narrow.computed, _signed_count),
                "–" if each.p is None else f"{each.p:.2g}",
                "–" if each.adjusted_p is None else f"{each.adjusted_p:.2g}",
                each.verdict,
            )
        )
    return Table(
        f"{title}: less the controls",
        "",
        (
            "mono > 0.9, once",
            *(f"less {why}" for why in (*CONTROLS, *BESIDE)),
            "features less narrow",
            "p",
            "adjusted p",
            "superposition",
        ),
        tuple(rows),
    )


def _difference(comparison: Comparison | None) -> str:
    return "–" if comparison is None else interval(comparison.once, _signed_share)


def interval(estimate: Estimate, form: Callable[[float], str]) -> str:
    """`mean [low, high]`, the mean alone without an interval or where all seeds agree, `NA` without a value."""
    if not np.isfinite(estimate.mean):
        return "NA"
    if not estimate.has_interval or form(estimate.low) == form(estimate.high):
        return form(estimate.mean)
    return f"{form(estimate.mean)} [{form(estimate.low)}, {form(estimate.high)}]"


def _share(value: float) -> str:
    return f"{value:.2f}"


def _signed_share(value: float) -> str:
    return f"{value:+.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() or value >= 100 else f"{value:.1f}"


def _signed_count(value: float) -> str:
    return f"{value:+.1f}"


def _loss(value: float) -> str:
    return f"{value:.2g}"


def numbers(result: Result, swept: dict[str, Any]) -> dict[str, Any]:
    """A row for programs."""

    def plain(estimate: Estimate) -> dict[str, Any]:
        values = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
        return {key: value if np.isfinite(value) else None for key, value in values.items()} | {"n": estimate.n}

    return {
        "arm": result.outcome.name,
        **swept,
        "neurons": result.outcome.n_neurons,
        **{measure: plain(result.estimate(measure)) for measure in MEASURES},
        "less": {
            each.why: {"control": each.control, "once": plain(each.once), "computed": plain(each.computed), "p": each.p}
            for each in result.comparisons
        },
        "p": result.p,
        "adjusted_p": result.adjusted_p,
        "superposition": result.verdict,
    }
