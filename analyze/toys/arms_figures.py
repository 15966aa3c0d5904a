"""The figure of a trial: what every arm came to, over seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyze.figures import COLOURS, FAINT, INK, Figure, look, svg_of
from analyze.toys.arms import Result, Trial
from analyze.toys.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("once", "share monosemantic (> 0.9), duplicates once"),
    ("computed", "features computed"),
    ("loss", "loss"),
)
MARKERS = ("o", "s", "D", "^")


def trial_figure(view: View, trial: Trial) -> Figure:
    """Dots with intervals, one line an arm, one colour an instance, one panel a measure."""
    from matplotlib.figure import Figure as Canvas

    shown = view.chosen(4)
    rows = [trial.results[instance] for instance in shown]
    names = [each.outcome.name for each in rows[0]]
    height = 0.21 * len(names) * max(1.0, 0.5 * len(shown)) + 1.2
    with look():
        canvas = Canvas(figsize=(11.0, height), layout="constrained")
        grid = canvas.subplots(1, len(PANELS), sharey=True)
        for axes, (measure, title) in zip(grid, PANELS, strict=True):
            for i, results in enumerate(rows):
                # Instances of one arm stand a little above one another.
                aside = (i - (len(rows) - 1) / 2) * 0.36
                _dots(axes, results, measure, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], aside)
            _frame(axes, title, rows[0])
            if measure == "once":
                axes.set_xlim(-0.03, 1.03)
        grid[0].set_yticks(range(len(names)), names)
        grid[0].set_ylim(len(names) - 0.4, -0.6)
        handles = [line for line in grid[0].lines if str(line.get_label()) in MARKERS]
        labels = [view.title(instance) or "the one instance" for instance in shown]
        canvas.legend(handles[: len(labels)], labels, loc="outside upper right", ncols=len(labels), frameon=False)
        svg = svg_of(canvas)
    some = "" if len(shown) == trial.base.n_inst else f" {len(shown)} of {trial.base.n_inst} instances."
    listed = "; ".join(f"{each.outcome.name} {each.estimate('once').mean:.2f}" for each in rows[0])
    return Figure(
        "arms",
        svg,
        f"Share of monosemantic neurons, features computed and loss of every arm. Shares of {labels[0]}: {listed}.",
        f"Mean over {trial.n_seeds} seeds and 95 % t interval; of neurons that are nearly the same (correlation above "
        "0.95) each group counts once. The first line is where the arms start from; dashed: the narrow networks "
        f"trained on for as long.{some}",
    )


def _dots(axes: "Axes", results: Sequence[Result], measure: str, colour: str, marker: str, aside: float) -> None:
    found = [each.estimate(measure) for each in results]
    places = np.arange(len(found)) + aside
    means, low, high = ([getattr(each, name) for each in found] for name in ("mean", "low", "high"))
    axes.hlines(places, low, high, color=colour, linewidth=1.2)
    axes.plot(means, places, linestyle="none", marker=marker, markersize=3.6, color=colour, label=marker)
    for each in results:
        own = each.outcome.settings
        if own is not None and own.factor == 1 and own.l1 == 0 and not own.scratch:
            axes.axvline(
                each.estimate(measure).mean, color=colour, linewidth=0.7, linestyle=(0, (3, 3)), alpha=0.7, zorder=0
            )


def _frame(axes: "Axes", title: str, results: Sequence[Result]) -> None:
    axes.set_title(title)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    axes.spines["left"].set_visible(False)
    factors = [0 if each.outcome.settings is None else each.outcome.settings.factor for each in results]
    for row in range(1, len(factors)):
        if factors[row] != factors[row - 1]:
            axes.axhline(row - 0.5, color=FAINT, linewidth=0.5)
