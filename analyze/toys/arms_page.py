"""What a toy's page says of its arms: tables, the statement that the controls allow, and the numbers for programs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analyze.figures import Figure
from analyze.statistics import Estimate
from analyze.tables import Table
from analyze.toys.arms import CONTROLS, DUPLICATE, LEVEL, REFERENCES, SAMPLES, ArmComparison, ArmResult
from analyze.toys.arms_figures import arms_figure
from analyze.toys.view import View

NAMED = 6
"""The summary names at most so many arms of one kind; the tables have all."""


def _count(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() or value >= 100 else f"{value:.1f}"


MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "alive": ("alive", _count),
    "distinct": ("different", _count),
    "mono": ("different, of one feature", _count),
    "share": ("one feature > 0.9", "{:.2f}".format),
    "strict": ("one feature > 0.999", "{:.2f}".format),
    "once": ("one feature > 0.9, once", "{:.2f}".format),
    "computed": ("features", _count),
    "loss": ("loss", "{:.2g}".format),
}
"""Fields of `ArmMeasures`: the head of their column, and how a value is written."""
STATEMENTS = {
    "reduced": "superposition is reduced in",
    "fewer features": "the share rises but fewer features are computed in",
    "not shown": "no reduction is shown in",
    "too few seeds": "there are too few seeds for",
}
"""What the summary says of arms with this verdict."""


@dataclass(frozen=True)
class ArmsPage:
    """The section on arms."""

    summary: tuple[str, ...]
    """A sentence an instance."""
    tables: tuple[Table, ...]
    """All instances side by side; then for each instance the arms' measures, and the differences from controls."""
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


def arms_page(view: View, comparison: ArmComparison) -> ArmsPage:
    """The section of a toy whose arms have been trained."""
    tables = [overview_table(view, comparison)]
    for instance, results in enumerate(comparison.results):
        tables += [measure_table(view.name(instance), results), difference_table(view.name(instance), results)]
    return ArmsPage(
        summary=tuple(summary(view, comparison, instance) for instance in range(comparison.base.n_inst)),
        tables=tuple(tables),
        figure=arms_figure(view, comparison),
        caption=caption(comparison),
        numbers=[
            numbers(each, {name: comparison.base.instances[name][each.instance] for name in view.swept})
            for row in comparison.results
            for each in row
        ],
    )


def caption(comparison: ArmComparison) -> str:
    """How to read the tables, and what the verdict rests on."""
    steps, before = comparison.arms[0].run.config.fit.steps, comparison.base.config.fit.steps
    return (
        f"Means over {comparison.n_seeds} seeds [95 % t interval]. Every arm took {steps:,} steps on the same samples "
        f"after the {before:,} of the start (from scratch: both), and trained W1, W2 and the biases. Alive: neurons "
        "through which more than 1 % of the strongest passes. Different: of these, each group of duplicates "
        f"(|correlation| above {DUPLICATE:g} on {SAMPLES:,} samples, transitively) counted once. One feature: living "
        "neurons of whose responses one feature makes up more than 0.9 (0.999); once: each group counted once. "
        "Features: outputs whose squared error is below 0.25 of their best constant's. Reduced: the de-duplicated "
        "share lies above that of the narrow networks trained on, of copies without noise and, with L1, of the narrow "
        "ones under the same L1, and no fewer features are computed; every interval of the differences above 0, and "
        f"the largest p of an arm's exact sign-flip tests at most {LEVEL:g} after Holm's correction over "
        f"{comparison.n_claims} such "
        "claims."
    )


def summary(view: View, comparison: ArmComparison, instance: int) -> str:
    """The arms that may be called reduced, in one instance."""
    name, results = view.title(instance) or "The one instance", comparison.results[instance]
    claims = [each for each in results if each.is_claim]
    if not claims:
        return f"{name}: no arm has the controls that a statement needs."
    parts = []
    for verdict, statement in STATEMENTS.items():
        arms = [each.measures.name for each in claims if each.verdict == verdict]
        if arms:
            listed = f" ({', '.join(arms)})" if len(arms) <= NAMED else ""
            parts.append(f"{statement} {len(arms)} of {len(claims)} arms{listed}")
    note = ""
    controls = [each.measures.once[instance] for each in results if each.verdict == "control"]
    if any(each.verdict == "reduced" for each in claims) and not np.nan_to_num(controls).any():
        note = " No control has a monosemantic neuron in any seed, so that any share beats them: read how large it is."
    return f"{name}: {'; '.join(parts)}.{note}"


def overview_table(view: View, comparison: ArmComparison) -> Table:
    """The main measures, of all instances side by side."""
    rows = []
    for arm, of_instances in zip(comparison.measures, zip(*comparison.results, strict=True), strict=True):
        cells = [
            (_cell(each, "once"), _cell(each, "computed"), each.verdict if each.is_claim else "–")
            for each in of_instances
        ]
        expectation = "" if arm.settings is None else arm.settings.expectation
        rows.append((arm.name, f"{arm.n_neurons:,}", *sum(cells, ()), expectation))
    heads = [
        f"{view.name(i)}: {what}"
        for i in range(comparison.base.n_inst)
        for what in (MEASURES["once"][0], MEASURES["computed"][0], "superposition")
    ]
    return Table("All arms", "", ("arm", "neurons", *heads, "expected before"), tuple(rows))


def measure_table(title: str, results: list[ArmResult]) -> Table:
    """The measures of every arm."""
    rows = [
        (each.measures.name, f"{each.measures.n_neurons:,}", *(_cell(each, name) for name in MEASURES))
        for each in results
    ]
    return Table(f"{title}: the arms", "", ("arm", "neurons", *(head for head, _ in MEASURES.values())), tuple(rows))


def _cell(result: ArmResult, measure: str) -> str:
    return interval(result.estimate(measure), MEASURES[measure][1])


def difference_table(title: str, results: list[ArmResult]) -> Table:
    """How every arm differs from its controls."""
    kinds, rows = (*CONTROLS, *REFERENCES), []
    for each in results:
        if not each.differences:
            continue
        shares = (None if (less := each.less(kind)) is None else less.once for kind in kinds)
        narrow = each.less("narrow")
        cells = [*(_signed(share, "{:+.2f}") for share in shares), _signed(narrow and narrow.computed, "{:+.1f}")]
        p_values = ("–" if p is None else f"{p:.2g}" for p in (each.p, each.adjusted_p))
        rows.append((each.measures.name, *cells, *p_values, each.verdict))
    heads = (*(f"less {kind}" for kind in kinds), "features less narrow", "p", "adjusted p", "superposition")
    return Table(f"{title}: less the controls", "", (MEASURES["once"][0], *heads), tuple(rows))


def _signed(estimate: Estimate | None, form: str) -> str:
    return "–" if estimate is None else interval(estimate, form.format)


def interval(estimate: Estimate, form: Callable[[float], str]) -> str:
    """`mean [low, high]`, the mean alone without an interval or where all seeds agree, `NA` without a value."""
    if not np.isfinite(estimate.mean):
        return "NA"
    if not estimate.has_interval or form(estimate.low) == form(estimate.high):
        return form(estimate.mean)
    return f"{form(estimate.mean)} [{form(estimate.low)}, {form(estimate.high)}]"


def numbers(result: ArmResult, swept: dict[str, Any]) -> dict[str, Any]:
    """A row for programs."""

    def plain(estimate: Estimate) -> dict[str, Any]:
        values = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
        return {key: value if np.isfinite(value) else None for key, value in values.items()} | {"n": estimate.n}

    return {
        "arm": result.measures.name,
        **swept,
        "neurons": result.measures.n_neurons,
        **{measure: plain(result.estimate(measure)) for measure in MEASURES},
        "less": {
            each.kind: {
                "control": each.control,
                "once": plain(each.once),
                "computed": plain(each.computed),
                "p": each.p,
            }
            for each in result.differences
        },
        "p": result.p,
        "adjusted_p": result.adjusted_p,
        "superposition": result.verdict,
    }
