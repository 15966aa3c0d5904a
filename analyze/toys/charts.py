"""Drawings of a toy's numbers: dimensionalities, phases, losses and measures over instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, INK, apart
from analyze.toys.drawing import DASHED, dots, drawing, legend, panels, ramp, title

NAIVE: tuple[str, Any] = (COLOURS[1], "solid")
CONSTANT: tuple[str, Any] = ("#777777", (0, (2, 1.5)))
"""Colour and dash of the two baselines."""
STRATEGY_COLOURS = ("#D9D9D9", COLOURS[0], COLOURS[5], COLOURS[1], "#FFFFFF")
"""Ignored, dedicated, antipodal, dedicated with two others antipodal, and something else."""


@dataclass(frozen=True)
class Panel:
    """One measure over the instances: its values of every replica, what was expected of it and where."""

    title: str
    values: Float[ndarray, "inst rep"]
    best: Float[ndarray, "inst"]
    good: Bool[ndarray, "inst rep"]
    bounds: tuple[tuple[int, float, float], ...]
    """(instance, lowest, highest) of single instances; infinite where there is none."""


@drawing
def dimensionality(
    x: Float[ndarray, "inst"],
    features: Float[ndarray, "inst feat"],
    star: Float[ndarray, "inst"],
    plateaus: dict[str, float],
    label: str,
    log: bool,
) -> Figure:
    """D of every feature over what is swept, D* of every instance, and lines at the known plateaus."""
    figure, ((axes,),) = panels(9.0, 4.6)
    for (name, level), height in zip(plateaus.items(), apart(list(plateaus.values()), 0.04)):
        axes.axhline(level, color=FAINT, linewidth=0.7, linestyle=DASHED)
        axes.text(1.01, height, name, color=FAINT, fontsize=8.5, transform=axes.get_yaxis_transform(), va="center")
    if log:
        axes.set_xscale("log")
    # The order of features spreads them sideways, so that those of one plateau do not hide each other.
    position = np.log(x) if log else x
    gap = np.diff(np.sort(position)).min() if x.size > 1 else 1.0
    across = position[:, None] + gap * _sideways(features.shape[1], 0.3)
    many = features.size > 500
    size, alpha = (2.2, 0.35) if many else (4.5, 0.6)
    dots(axes, (np.exp(across) if log else across).ravel(), features.ravel(), size, alpha, many, label="D of a feature")
    shown = np.argsort(x)[star[np.argsort(x)] <= 1.15]
    star_line = {"color": COLOURS[1], "markersize": 4, "linewidth": 1.3, "label": "D* = m / |W|²"}
    axes.plot(x[shown], star[shown], "-s", **star_line)
    axes.set_ylim(-0.03, 1.12)
    axes.set_xlabel(label)
    axes.set_ylabel("dimensions per feature")
    legend(figure, ncols=2)
    return figure


def _sideways(n: int, reach: float) -> Float[ndarray, "n"]:
    """Evenly from -reach to reach; 0 for one."""
    return np.linspace(-reach, reach, n) if n > 1 else np.zeros(1)


@drawing
def phases(
    rows: Sequence[float],
    columns: Sequence[float],
    observed: Int[ndarray, "row column"],
    predicted: Int[ndarray, "row column"],
    border: tuple[Float[ndarray, "points"], Float[ndarray, "points"]],
    names: Sequence[str],
) -> Figure:
    """Strategies over probability (rows) and importance of the last feature (columns): in theory, and as trained.

    Args:
        observed, predicted: indices into `names`; -1 for something else.
        border: importances and the probabilities below which superposition is cheapest.
    """
    across, up = _edges(columns), _edges(rows)
    order = np.ix_(np.argsort(rows), np.argsort(columns))
    agree = float((observed == predicted).mean())
    look = {"cmap": ListedColormap(STRATEGY_COLOURS), "norm": BoundaryNorm(np.arange(6) - 0.5, 5)}
    look |= {"edgecolors": "white", "linewidth": 0.3, "rasterized": observed.size > 900}
    line = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 2))}
    # Above the border the more important feature gets the dimension; of three, also below it.
    top = np.interp(1.0, border[0], border[1]) if len(names) == 3 else up.min()
    figure, (grid,) = panels(9.4, 4.4, columns=2, sharex=True, sharey=True)
    titles = ("cheapest in theory", f"best of the trained ({100 * agree:.0f} % of cells as in theory)")
    for axes, table, text in zip(grid, (predicted, observed), titles):
        axes.pcolormesh(across, up, np.where(table < 0, 4, table)[order], **look)
        axes.plot(*border, **line)
        axes.plot([1.0, 1.0], [top, up.max()], **line)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(across.min(), across.max())
        axes.set_ylim(up.max(), up.min())
        axes.set_title(text)
        axes.set_xlabel("importance of the last feature (others: 1)")
    grid[0].set_ylabel("probability of a feature (sparser upwards)")
    shown = [*zip(STRATEGY_COLOURS, names)]
    if (observed < 0).any():
        shown.append((STRATEGY_COLOURS[4], "something else"))
    legend(figure, handles=[Patch(facecolor=colour, edgecolor=FAINT, label=name) for colour, name in shown], ncols=4)
    return figure


def _edges(values: Sequence[float]) -> Float[ndarray, "edges"]:
    """Borders of cells around sorted values, midway on a logarithmic axis."""
    logs = np.log(np.sort(np.asarray(values, dtype=np.float64)))
    if logs.size == 1:
        return np.exp(np.array([logs[0] - 0.1, logs[0] + 0.1]))
    middles = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middles[0]], middles, [2 * logs[-1] - middles[-1]]]))


@drawing
def replicas(
    titles: Sequence[str],
    losses: Float[ndarray, "inst rep"],
    naive: Float[ndarray, "inst"],
    constant: Float[ndarray, "inst"],
    label: str,
) -> Figure:
    """Final losses of all replicas, sorted within every instance, with its two baselines."""
    width = min(11.2, max(5.0, 1.6 + 0.75 * len(titles)))
    n_rep = losses.shape[1]
    figure, ((axes,),) = panels(width, 4.2)
    for i, own in enumerate(losses):
        ranks = i + _sideways(n_rep, 0.34)
        dots(axes, ranks, np.sort(own), 3.2, 0.55, many=losses.size > 1500)
        ring = {"markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.4}
        axes.plot(ranks[:1], own.min(), "o", color=COLOURS[0], **ring)
        for level, (colour, dash) in ((naive[i], NAIVE), (constant[i], CONSTANT)):
            axes.plot([i - 0.42, i + 0.42], [level, level], color=colour, linewidth=1.8, linestyle=dash)
    values = np.concatenate([losses.ravel(), naive, constant])
    positive = values[values > 0]
    if positive.size and positive.max() > 3 * positive.min():
        axes.set_yscale("log")
        # A value of next to nothing (a naive baseline of rounding) would flatten the rest.
        axes.set_ylim(bottom=0.6 * max(positive.min(), 1e-4 * float(np.median(losses))))
    else:
        axes.set_ylim(bottom=0)
    _instances(axes, titles, label, width)
    axes.set_ylabel("loss")
    _grid(axes)
    what = f"{n_rep} replicas, sorted (ring: best)" if n_rep > 1 else "the one replica"
    handles = [Line2D([], [], marker="o", linestyle="", color=COLOURS[0], markersize=4, label=what)]
    for name, (colour, dash) in (("naive: no superposition", NAIVE), ("constants", CONSTANT)):
        handles.append(Line2D([], [], color=colour, linewidth=1.8, linestyle=dash, label=name))
    legend(figure, handles=handles, ncols=3)
    return figure


def _grid(axes: Axes) -> None:
    """Pale horizontal lines behind everything."""
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def _instances(axes: Axes, titles: Sequence[str], label: str, width: float) -> None:
    """Instances side by side below a panel of so many inches; their names askew where they would touch."""
    longest = max(len(text) for text in titles)
    axes.set_xticks(range(len(titles)) if longest else [], titles if longest else [], parse_math=False)
    if (longest + 2) * len(titles) > 12 * width:
        axes.tick_params(axis="x", labelrotation=40)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(titles) - 0.4)
    axes.set_xlabel(label, parse_math=False)


@drawing
def active(
    titles: Sequence[str], losses: Float[ndarray, "inst active"], samples: Int[ndarray, "inst active"], label: str
) -> Figure:
    """Loss by the number of features active at once, a line an instance; and how often each number occurs."""
    most = int(np.flatnonzero(np.isfinite(losses).any(axis=0)).max(initial=1))
    size = 4.5 if most <= 40 else 2
    figure, ((left, right),) = panels(9.6, 3.6, columns=2, sharex=True, width_ratios=[1.5, 1])
    for text, own, counts, colour in zip(titles, losses, samples, ramp(len(titles))):
        numbers, share = np.arange(own.size), 100 * counts / counts.sum()
        left.plot(numbers, own, "-o", color=colour, markersize=size, linewidth=1.4, label=text)
        right.plot(numbers, share, "-o", color=colour, markersize=3.5, linewidth=1.2)
    left.set_xlim(-0.3, most + 0.3)
    for axes, what in ((left, "loss of such samples"), (right, "% of samples")):
        axes.set_ylim(bottom=0)
        axes.set_ylabel(what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("features active at once")
    if len(titles) > 1:
        names = figure.legend(loc="outside right upper", frameon=False, fontsize=9, title=label, title_fontsize=9)
        for text in (*names.get_texts(), names.get_title()):
            text.set_parse_math(False)
    return figure


@drawing
def measures(titles: Sequence[str], shown: Sequence[Panel], label: str) -> Figure:
    """Measures over instances: every replica, the good ones darker, the best ringed, bounds as bands."""
    columns = min(2 if len(titles) > 4 else 3, len(shown))
    lines = -(-len(shown) // columns)
    width = 5.6 if columns < 3 else 3.75
    figure, grid = panels(width * columns, 2.7 * lines + 0.3, lines, columns)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, shown):
        _measure(axes, panel)
        title(axes, panel.title)
        _instances(axes, titles, label, width)
    return figure


def _measure(axes: Axes, panel: Panel) -> None:
    _grid(axes)
    ranks = _sideways(panel.values.shape[1], 0.3)
    for i, (own, good) in enumerate(zip(panel.values, panel.good)):
        order = np.argsort(own, kind="stable")
        for chosen, alpha in ((~good[order], 0.25), (good[order], 0.75)):
            dots(axes, i + ranks[chosen], own[order][chosen], 3.0, alpha, many=panel.values.size > 1500)
    ring = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 1.3}
    axes.plot(np.arange(panel.best.size), panel.best, "D", color=INK, **ring)
    finite = panel.values[np.isfinite(panel.values)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        room = 0.08 * max(high - low, 0.25 * max(abs(low), abs(high)), 1e-9)
        edges = [edge for _, *bounds in panel.bounds for edge in bounds if np.isfinite(edge)]
        axes.set_ylim(min(low, *edges, low) - room, max(high, *edges, high) + room)
        if low > 0 and high > 50 * low:
            axes.set_yscale("log")
            axes.set_ylim(low / 1.5, high * 1.5)
    bottom, top = axes.get_ylim()
    least = 0.0 if axes.get_yscale() == "log" else 0.02 * (top - bottom)
    for instance, lowest, highest in panel.bounds:
        sides = [instance - 0.45, instance + 0.45]
        start, stop = max(lowest, bottom) - least, min(highest, top) + least
        axes.fill_between(sides, start, stop, color=COLOURS[2], alpha=0.22, linewidth=0)
