"""Drawings of a toy during training: losses, dimensionalities and features over steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from analyze.figures import FAINT, INK, apart
from analyze.toys.drawing import drawing, panels, ramp, title, unit_circle


@dataclass(frozen=True)
class Learning:
    """One instance during training: losses of all replicas at some steps, and replica 0's features at others."""

    title: str
    steps: Int[ndarray, "points"]
    losses: Float[ndarray, "points rep"]
    snapshot_steps: Int[ndarray, "snap"]
    dimensionalities: Float[ndarray, "snap feat"]
    path: Float[ndarray, "snap 2 feat"] | None
    """Where the columns of W are, for W of two dimensions."""


@drawing
def learning(instances: Sequence[Learning]) -> Figure:
    """A line an instance: losses over steps, D of every feature, and the path of W where it has two dimensions."""
    widths, ratios = ((4.4, 4.4, 2.6), [1, 1, 0.62]) if instances[0].path is not None else ((4.4, 4.4), [1, 1])
    figure, grid = panels(sum(widths), 2.7 * len(instances) + 0.3, len(instances), len(widths), width_ratios=ratios)
    for (loss, size, *path), each in zip(grid, instances):
        loss.plot(each.steps, each.losses[:, 1:], color=FAINT, linewidth=0.6, alpha=0.6)
        loss.plot(each.steps, each.losses[:, 0], color=INK, linewidth=1.6)
        loss.set_yscale("log")
        loss.set_ylabel("loss (log)")
        for i, colour in enumerate(ramp(each.dimensionalities.shape[1])):
            size.plot(each.snapshot_steps, each.dimensionalities[:, i], color=colour, linewidth=1.5)
        size.set_ylim(-0.03, 1.05)
        size.set_ylabel("D of a feature")
        size.sharex(loss)
        title(loss, each.title or "black: replica 0; grey: the others")
        final = np.sort(each.dimensionalities[-1])[::-1]
        dots = " ..." if final.size > 8 else ""
        title(size, f"at the end: {', '.join(f'{value:.2f}' for value in final[:8])}{dots}")
        if each.path is not None:
            _path(path[0], each.path)
    for axes in grid[-1, :2]:
        axes.set_xlabel("step")
    return figure


def _path(axes: Axes, path: Float[ndarray, "snap 2 feat"]) -> None:
    unit_circle(axes, 1.1 * max(1.0, float(np.abs(path).max())))
    for i, colour in enumerate(ramp(path.shape[2])):
        axes.plot(path[:, 0, i], path[:, 1, i], color=colour, linewidth=1.0)
        axes.plot(path[-1:, 0, i], path[-1:, 1, i], "o", color=colour, markersize=5)
    title(axes, "paths of W's columns")


@drawing
def loss_curves(
    titles: Sequence[str],
    steps: Int[ndarray, "points"],
    losses: Float[ndarray, "inst points rep"],
    best: Int[ndarray, "inst"],
) -> Figure:
    """Loss over steps: the best replica of every instance, and the range of all of them."""
    figure, ((axes,),) = panels(8.6, 4.0)
    colours = ramp(len(titles))
    for table, leader, colour in zip(losses, best, colours):
        if table.shape[1] > 1:
            axes.fill_between(steps, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.13, linewidth=0)
        axes.plot(steps, table[:, leader], color=colour, linewidth=1.7)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (log)")
    axes.set_xlim(0, steps[-1])
    low, high = np.log(axes.get_ylim())
    ends = [float(np.log(max(table[-1, leader], 1e-300))) for table, leader in zip(losses, best)]
    style = {"fontsize": 9, "transform": axes.transAxes, "va": "center", "parse_math": False}
    for text, colour, height in zip(titles, colours, apart(ends, 0.052 * (high - low))):
        axes.text(1.015, (height - low) / (high - low), text, color=colour, **style)
    return figure
