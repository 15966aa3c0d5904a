"""Figures of who became what: how siblings part over training, and what children have become at its end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyze.figures import Figure, Styles, apart, label, look, name_lines, svg_of
from analyze.fission.store import Fission, require_one_run
from analyze.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = (
    ("cos_in_mean", "cosine of W_in"),
    ("cos_out_mean", "cosine of W_out"),
    ("correlation_mean", "correlation of activations"),
)
SHADES = {
    "same": "#0072B2",
    "specialised": "#009E73",
    "new, related": "#F2B48C",
    "new": "#D55E00",
    "duplicate": "#D0D0D0",
    "dead": "#6E6E6E",
}


@dataclass(frozen=True)
class Arm:
    """One layer of one widened variant."""

    variant: str
    layer: int
    seeds: dict[int, list[Fission]]
    """Seed -> steps, in their order."""

    def __str__(self) -> str:
        return f"{self.variant} L{self.layer}"

    @property
    def ends(self) -> list[Fission]:
        """The last step of every seed."""
        return [self.seeds[seed][-1] for seed in sorted(self.seeds)]

    def total(self, column: str) -> int:
        """The sum of a column of parents.parquet at the last step, over all seeds."""
        return sum(int(end.parents[column].sum()) for end in self.ends)


def arms_of(measured: Sequence[Fission], variants: Iterable[str]) -> tuple[Arm, ...]:
    """What was measured of these variants, in their order.

    Raises:
        BadInput: two runs of one variant and seed.
    """
    arms: dict[tuple[str, int], Arm] = {}
    for step in sorted(measured, key=lambda step: step.meta.step):
        key = step.meta.variant, step.meta.layer
        arms.setdefault(key, Arm(*key, {})).seeds.setdefault(step.meta.seed, []).append(step)
    for arm in arms.values():
        for steps in arm.seeds.values():
            require_one_run(steps)
    return tuple(arm for variant in variants for arm in arms.values() if arm.variant == variant)


def divergence_figure(arms: Sequence[Arm], styles: Styles) -> Figure:
    """Sibling cosines and correlation over tokens: a line a seed (median over parents), shaded to the quartiles."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(10.6, 3.4), layout="constrained")
        grid = canvas.subplots(1, len(MEASURES), squeeze=False)[0]
        for axes, (column, measure) in zip(grid, MEASURES):
            _panel(axes, arms, column, styles)
            axes.set_title(measure)
        grid[0].set_ylabel("among siblings")
        svg = svg_of(canvas)
    ends = "; ".join(
        f"{arm}: " + ", ".join(f"{measure} {_last(arm, column):.3f}" for column, measure in MEASURES) for arm in arms
    )
    return Figure(
        "fission-divergence",
        svg,
        visible(f"How siblings part over tokens. At the end, median over parents, mean over seeds: {ends}."),
        "Mean over the pairs of children of one parent; line: median over parents, one line a seed; shade: quartiles "
        "over parents. Tokens of fine-tuning, from the birth of the copies (logarithmic above the first step). "
        "Copies that stay at 1 have stayed one neuron.",
    )


def _quartiles(step: Fission, column: str) -> tuple[float, float, float]:
    values = step.parents[column].drop_nulls().to_numpy()
    if not values.size:
        return np.nan, np.nan, np.nan
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _last(arm: Arm, column: str) -> float:
    return float(np.mean([_quartiles(end, column)[1] for end in arm.ends]))


def _panel(axes: "Axes", arms: Sequence[Arm], column: str, styles: Styles) -> None:
    from matplotlib.ticker import EngFormatter

    runs = [(arm, steps) for arm in arms for steps in arm.seeds.values()]
    positive = [step.meta.tokens for _, steps in runs for step in steps]
    first = min((tokens for tokens in positive if tokens > 0), default=1)
    least = 1.0
    for arm, steps in runs:
        colour, dash = styles[arm.variant]
        tokens = [step.meta.tokens for step in steps]
        low, middle, high = zip(*(_quartiles(step, column) for step in steps))
        axes.fill_between(tokens, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(tokens, middle, color=colour, linestyle=dash, linewidth=1.6)
        least = min(least, *(value for value in low if np.isfinite(value)), 1.0)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(left=0)
    axes.set_ylim(least - 0.06 * max(1 - least, 1e-3), 1 + 0.04 * max(1 - least, 1e-3))
    axes.set_xticks([0, *_decades(first, max(positive, default=1))])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.minorticks_off()
    axes.set_xlabel("tokens")
    if column == MEASURES[-1][0]:
        known = [(arm, end) for arm in arms if np.isfinite(end := _last(arm, column))]
        gap = 0.07 * (axes.get_ylim()[1] - axes.get_ylim()[0])
        for (arm, _), height in zip(known, apart([end for _, end in known], gap)):
            label(axes, (1.02, height), str(arm), styles[arm.variant].colour, va="center")


def _decades(first: int, last: int) -> list[int]:
    """Powers of ten within the axis; the first step alone where there is none."""
    inside = [10**power for power in range(1, 13) if first <= 10**power <= last]
    return inside or [first]


def verdict_figure(arms: Sequence[Arm]) -> Figure:
    """Children a parent by verdict at the last step, an arm a line, mean over seeds."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Patch

    rows = [
        (str(arm), {name: float(np.mean([_mean(end.parents, name) for end in arm.ends])) for name in SHADES})
        for arm in arms
    ]
    with look():
        canvas = Canvas(figsize=(9.0, 0.36 * len(rows) + 1.5), layout="constrained")
        axes = canvas.subplots()
        for line, (_, means) in enumerate(rows):
            left = 0.0
            for name, colour in SHADES.items():
                axes.barh(line, means[name], left=left, height=0.62, color=colour, linewidth=0)
                left += means[name]
        name_lines(axes, [title for title, _ in rows])
        axes.set_xlabel("children a parent")
        handles = [Patch(color=colour, label=name) for name, colour in SHADES.items()]
        canvas.legend(handles=handles, frameon=False, fontsize=9, ncols=len(SHADES), loc="outside upper left")
        svg = svg_of(canvas)
    listed = "; ".join(
        f"{title}: " + ", ".join(f"{mean:.2f} {name}" for name, mean in means.items() if mean) for title, means in rows
    )
    return Figure(
        "fission-verdicts",
        svg,
        visible(f"What the children of one parent became, mean over parents and seeds. {listed}."),
        "Of the children of one parent at the run's last step, mean over parents and seeds. New, related: more of it "
        "inside its parent than inside any matched parent, yet too little to be a part of it. Grey children have not "
        "become neurons of their own.",
    )


def _mean(parents: pl.DataFrame, name: str) -> float:
    counts = {"new, related": parents["n_related"], "new": parents["new"] - parents["n_related"]}.get(name)
    return float((parents[name] if counts is None else counts).sum()) / max(parents.height, 1)
