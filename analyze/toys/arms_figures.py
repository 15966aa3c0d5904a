"""The figure of a toy's arms: the numbers of every arm, over seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analyze.figures import COLOURS, FAINT, INK, Figure
from analyze.toys.arms import ArmComparison, ArmResult, is_narrow
from analyze.toys.drawing import drawing, panels
from analyze.toys.view import View

PANELS = {"once": "share monosemantic (> 0.9), duplicates once", "computed": "features computed", "loss": "loss"}
MARKERS = ("o", "s", "D", "^")


def arms_figure(view: View, comparison: ArmComparison) -> Figure:
    """Dots with intervals, one line an arm, one colour an instance, one panel a measure."""
    shown = view.chosen(4)
    rows = [comparison.results[instance] for instance in shown]
    labels = [view.name(instance) for instance in shown]
    listed = "; ".join(f"{each.measures.name} {each.estimate('once').mean:.2f}" for each in rows[0])
    return Figure(
        "arms",
        _draw(rows, labels),
        f"Share of monosemantic neurons, features computed and loss of every arm. Shares of {labels[0]}: {listed}.",
        f"Mean over {comparison.n_seeds} seeds and 95 % t interval; of neurons that are nearly the same (correlation "
        "above 0.95) each group counts once. The first line is where the arms start from; dashed: the narrow networks "
        f"trained on for as long.{view.some(shown)}",
    )


@drawing
def _draw(rows: Sequence[Sequence[ArmResult]], labels: Sequence[str]) -> Canvas:
    names = [each.measures.name for each in rows[0]]
    height = 0.21 * len(names) * max(1.0, 0.5 * len(rows)) + 1.2
    figure, (grid,) = panels(11.0, height, columns=len(PANELS), sharey=True)
    for axes, (measure, text) in zip(grid, PANELS.items(), strict=True):
        for i, results in enumerate(rows):
            # Instances of one arm stand a little above one another.
            offset = (i - (len(rows) - 1) / 2) * 0.36
            _dots(axes, results, measure, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], offset)
        _frame(axes, text, rows[0])
        if measure == "once":
            axes.set_xlim(-0.03, 1.03)
    grid[0].set_yticks(range(len(names)), names)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    handles = [line for line in grid[0].lines if str(line.get_label()) in MARKERS]
    figure.legend(handles[: len(labels)], labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return figure


def _dots(axes: Axes, results: Sequence[ArmResult], measure: str, colour: str, marker: str, offset: float) -> None:
    estimates = [each.estimate(measure) for each in results]
    places = np.arange(len(estimates)) + offset
    means, low, high = ([getattr(each, name) for each in estimates] for name in ("mean", "low", "high"))
    axes.hlines(places, low, high, color=colour, linewidth=1.2)
    axes.plot(means, places, linestyle="none", marker=marker, markersize=3.6, color=colour, label=marker)
    dashed = {"color": colour, "linewidth": 0.7, "linestyle": (0, (3, 3)), "alpha": 0.7, "zorder": 0}
    for each, mean in zip(results, means):
        if each.measures.settings is not None and is_narrow(each.measures.settings, 0.0):
            axes.axvline(mean, **dashed)


def _frame(axes: Axes, text: str, results: Sequence[ArmResult]) -> None:
    axes.set_title(text)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    axes.spines["left"].set_visible(False)
    factors = [0 if each.measures.settings is None else each.measures.settings.factor for each in results]
    for row in range(1, len(factors)):
        if factors[row] != factors[row - 1]:
            axes.axhline(row - 0.5, color=FAINT, linewidth=0.5)
