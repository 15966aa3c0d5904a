"""Drawings of a toy during training: losses, dimensionalities and features over steps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from analyze.figures import FAINT, INK, apart
from analyze.toys.drawing import drawing, panels, ramp, title, unit_circle
from analyze.toys.geometry import dimensionality
from analyze.toys.view import View


@drawing
def learning(view: View, shown: Sequence[int]) -> Figure:
    """A line an instance: losses over steps, D of every feature, and the path of W where it has two dimensions."""
    run, W = view.run, view.run.snapshots["W"]
    widths, ratios = ((4.4, 4.4, 2.6), [1, 1, 0.62]) if W.shape[2] == 2 else ((4.4, 4.4), [1, 1])
    figure, grid = panels(sum(widths), 2.7 * len(shown) + 0.3, len(shown), len(widths), width_ratios=ratios)
    for (loss, size, *path), i in zip(grid, shown):
        losses, sizes = run.curves.losses[:, i], dimensionality(W[:, i]).numpy()
        loss.plot(run.curves.steps, losses[:, 1:], color=FAINT, linewidth=0.6, alpha=0.6)
        loss.plot(run.curves.steps, losses[:, 0], color=INK, linewidth=1.6)
        loss.set_yscale("log")
        loss.set_ylabel("loss (log)")
        title(loss, view.title(i) or "black: replica 0; grey: the others")
        for feature, colour in enumerate(ramp(sizes.shape[1])):
            size.plot(run.snapshot_steps, sizes[:, feature], color=colour, linewidth=1.5)
        size.set_ylim(-0.03, 1.05)
        size.set_ylabel("D of a feature")
        size.sharex(loss)
        final = np.sort(sizes[-1])[::-1]
        rest = " ..." if final.size > 8 else ""
        title(size, f"at the end: {', '.join(f'{value:.2f}' for value in final[:8])}{rest}")
        for axes in path:
            _path(axes, W[:, i].numpy())
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
def loss_curves(view: View, shown: Sequence[int]) -> Figure:
    """Loss over steps: the best replica of every instance, and the range of all of them."""
    run, colours = view.run, ramp(len(shown))
    figure, ((axes,),) = panels(8.6, 4.0)
    for i, colour in zip(shown, colours):
        table = run.curves.losses[:, i]
        if run.n_rep > 1:
            low, high = table.min(axis=1), table.max(axis=1)
            axes.fill_between(run.curves.steps, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(run.curves.steps, table[:, run.best[i]], color=colour, linewidth=1.7)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (log)")
    axes.set_xlim(0, run.curves.steps[-1])
    low, high = np.log(axes.get_ylim())
    ends = [float(np.log(max(run.curves.losses[-1, i, run.best[i]], 1e-300))) for i in shown]
    titles = [view.title(i) or f"best {run.best_losses[i]:.2g}" for i in shown]
    style = {"fontsize": 9, "transform": axes.transAxes, "va": "center", "parse_math": False}
    for text, colour, height in zip(titles, colours, apart(ends, 0.052 * (high - low))):
        axes.text(1.015, (height - low) / (high - low), text, color=colour, **style)
    return figure
