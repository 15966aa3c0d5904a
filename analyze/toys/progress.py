"""Drawings of a toy on its way: losses, dimensionalities and features over training steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.figures import FAINT, INK, apart, look, svg_of
from analyze.toys.weights import ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Learning:
    """One instance on its way: losses of all replicas at some steps, and replica 0's features at others."""

    title: str
    steps: Int[ndarray, "points"]
    losses: Float[ndarray, "points rep"]
    snapshot_steps: Int[ndarray, "snap"]
    dimensionalities: Float[ndarray, "snap feat"]
    path: Float[ndarray, "snap 2 feat"] | None
    """Where the columns of W are, for W of two dimensions."""


def learning(instances: Sequence[Learning]) -> str:
    """A line an instance: losses over steps, D of every feature, and the path of W where it has two dimensions."""
    from matplotlib.figure import Figure

    columns = 3 if any(each.path is not None for each in instances) else 2
    with look():
        figure = Figure(figsize=(4.4 + 4.4 + 2.6 * (columns - 2), 2.7 * len(instances) + 0.3), layout="constrained")
        grid = figure.subplots(len(instances), columns, squeeze=False, width_ratios=[1, 1, 0.62][:columns])
        for axes, each in zip(grid, instances):
            axes[0].plot(each.steps, each.losses[:, 1:], color=FAINT, linewidth=0.6, alpha=0.6)
            axes[0].plot(each.steps, each.losses[:, 0], color=INK, linewidth=1.6)
            axes[0].set_yscale("log")
            axes[0].set_ylabel("loss (log)")
            for i, colour in enumerate(ramp(each.dimensionalities.shape[1])):
                axes[1].plot(each.snapshot_steps, each.dimensionalities[:, i], color=colour, linewidth=1.5)
            axes[1].set_ylim(-0.03, 1.05)
            axes[1].set_ylabel("D of a feature")
            axes[1].sharex(axes[0])
            axes[0].set_title(each.title or "black: replica 0; grey: the others", fontsize=9.5, parse_math=False)
            axes[1].set_title(_final(each.dimensionalities[-1]), fontsize=9.5)
            if each.path is not None:
                _path(axes[2], each.path)
        for axes in grid[-1, :2]:
            axes.set_xlabel("step")
        return svg_of(figure)


def _final(values: Float[ndarray, "feat"]) -> str:
    shown = ", ".join(f"{value:.2f}" for value in np.sort(values)[::-1][:8])
    return f"at the end: {shown}{' ...' if values.size > 8 else ''}"


def _path(axes: "Axes", path: Float[ndarray, "snap 2 feat"]) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), 1.0, fill=False, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2))))
    for i, colour in enumerate(ramp(path.shape[2])):
        axes.plot(path[:, 0, i], path[:, 1, i], color=colour, linewidth=1.0)
        axes.plot(path[-1:, 0, i], path[-1:, 1, i], "o", color=colour, markersize=5)
    reach = 1.1 * max(1.0, float(np.abs(path).max()))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title("paths of W's columns", fontsize=9.5)


def loss_curves(
    titles: Sequence[str],
    steps: Int[ndarray, "points"],
    losses: Float[ndarray, "inst points rep"],
    best: Int[ndarray, "inst"],
) -> str:
    """Loss over steps: the best replica of every instance, and the range of all of them."""
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        axes = figure.subplots()
        ends = []
        for title, table, leader, colour in zip(titles, losses, best, ramp(len(titles))):
            if table.shape[1] > 1:
                axes.fill_between(steps, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.13, linewidth=0)
            axes.plot(steps, table[:, leader], color=colour, linewidth=1.7)
            ends.append((title, colour, float(table[-1, leader])))
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (log)")
        axes.set_xlim(0, steps[-1])
        low, high = np.log(axes.get_ylim())
        heights = apart([float(np.log(max(loss, 1e-300))) for *_, loss in ends], 0.052 * (high - low))
        for (title, colour, _), height in zip(ends, heights):
            axes.text(
                1.015,
                (height - low) / (high - low),
                title,
                color=colour,
                fontsize=9,
                transform=axes.transAxes,
                va="center",
                parse_math=False,
            )
        return svg_of(figure)
