"""Drawings of a toy's numbers: dimensionalities, phases, losses and measures over instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, INK, apart, look, svg_of
from analyze.toys.weights import ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAIVE, CONSTANT = COLOURS[1], "#777777"
STRATEGY_COLOURS = ("#D9D9D9", COLOURS[0], COLOURS[5], COLOURS[1], "#FFFFFF")
"""Ignored, dedicated, antipodal, dedicated with two others antipodal, and something else."""
GRID = "#EEEEEE"


@dataclass(frozen=True)
class Panel:
    """One measure over the instances: its values of every replica, what was expected of it and where."""

    title: str
    values: Float[ndarray, "inst rep"]
    best: Float[ndarray, "inst"]
    good: Bool[ndarray, "inst rep"]
    bounds: tuple[tuple[int, float, float], ...]
    """(instance, lowest, highest) of single instances; infinite where there is none."""


def dimensionality(
    x: Float[ndarray, "inst"],
    features: Float[ndarray, "inst feat"],
    star: Float[ndarray, "inst"],
    plateaus: dict[str, float],
    label: str,
    log: bool,
) -> str:
    """D of every feature over what is swept, D* of every instance, and lines at the known plateaus."""
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(9.0, 4.6), layout="constrained")
        axes = figure.subplots()
        for (name, level), height in zip(plateaus.items(), apart(list(plateaus.values()), 0.04)):
            axes.axhline(level, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2)))
            axes.text(1.01, height, name, color=FAINT, fontsize=8.5, transform=axes.get_yaxis_transform(), va="center")
        if log:
            axes.set_xscale("log")
        # The order of features spreads them sideways, so that those of one plateau do not hide each other.
        aside = np.linspace(-0.3, 0.3, features.shape[1]) if features.shape[1] > 1 else np.zeros(1)
        gap = np.diff(np.sort(np.log(x) if log else x)).min() if x.size > 1 else 1.0
        across = np.exp(np.log(x)[:, None] + gap * aside) if log else x[:, None] + gap * aside
        many = features.size > 500
        axes.plot(
            across.ravel(),
            features.ravel(),
            "o",
            color=COLOURS[0],
            markersize=2.2 if many else 4.5,
            alpha=0.35 if many else 0.6,
            markeredgewidth=0,
            rasterized=many,
            label="D of a feature",
        )
        shown = star <= 1.15
        order = np.argsort(x[shown])
        axes.plot(
            x[shown][order],
            star[shown][order],
            "-s",
            color=COLOURS[1],
            markersize=4,
            linewidth=1.3,
            label="D* = m / |W|²",
        )
        axes.set_ylim(-0.03, 1.12)
        axes.set_xlabel(label)
        axes.set_ylabel("dimensions per feature")
        figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
        return svg_of(figure)


def phases(
    rows: Sequence[float],
    columns: Sequence[float],
    observed: Int[ndarray, "row column"],
    predicted: Int[ndarray, "row column"],
    border: tuple[Float[ndarray, "points"], Float[ndarray, "points"]],
    names: Sequence[str],
) -> str:
    """Strategies over probability (rows) and importance of the last feature (columns): in theory, and as trained.

    Args:
        observed, predicted: indices into `names`; -1 for something else.
        border: importances and the probabilities below which superposition is cheapest.
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    across, up = _edges(columns), _edges(rows)
    order_x, order_y = np.argsort(columns), np.argsort(rows)
    agree = float((observed == predicted).mean())
    colours, scale = ListedColormap(STRATEGY_COLOURS), BoundaryNorm(np.arange(6) - 0.5, 5)
    with look():
        figure = Figure(figsize=(9.4, 4.4), layout="constrained")
        grid = figure.subplots(1, 2, sharex=True, sharey=True)
        titles = ("cheapest in theory", f"best of the trained ({100 * agree:.0f} % of cells as in theory)")
        for axes, table, title in zip(grid, (predicted, observed), titles):
            cells = np.where(table < 0, 4, table)[np.ix_(order_y, order_x)]
            axes.pcolormesh(
                across,
                up,
                cells,
                cmap=colours,
                norm=scale,
                edgecolors="white",
                linewidth=0.3,
                rasterized=cells.size > 900,
            )
            axes.plot(*border, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            # Above the border the more important feature gets the dimension; of three, also below it.
            top = np.interp(1.0, border[0], border[1]) if len(names) == 3 else up.min()
            axes.plot([1.0, 1.0], [top, up.max()], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(across.min(), across.max())
            axes.set_ylim(up.max(), up.min())
            axes.set_title(title)
            axes.set_xlabel("importance of the last feature (others: 1)")
        grid[0].set_ylabel("probability of a feature (sparser upwards)")
        handles = [
            Patch(facecolor=colour, edgecolor=FAINT, label=name) for colour, name in zip(STRATEGY_COLOURS, names)
        ]
        if (observed < 0).any():
            handles.append(Patch(facecolor=STRATEGY_COLOURS[4], edgecolor=FAINT, label="something else"))
        figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False, fontsize=9)
        return svg_of(figure)


def _edges(values: Sequence[float]) -> Float[ndarray, "edges"]:
    """Borders of cells around sorted values, midway on a logarithmic axis."""
    logs = np.log(np.sort(np.asarray(values, dtype=np.float64)))
    if logs.size == 1:
        return np.exp(np.array([logs[0] - 0.1, logs[0] + 0.1]))
    middles = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middles[0]], middles, [2 * logs[-1] - middles[-1]]]))


def replicas(
    titles: Sequence[str],
    losses: Float[ndarray, "inst rep"],
    naive: Float[ndarray, "inst"],
    constant: Float[ndarray, "inst"],
    label: str,
) -> str:
    """Final losses of all replicas, sorted within every instance, beside its two baselines."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    width = min(11.2, max(5.0, 1.6 + 0.75 * len(titles)))
    with look():
        figure = Figure(figsize=(width, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, own in enumerate(losses):
            ranks = i + (np.linspace(-0.34, 0.34, own.size) if own.size > 1 else np.zeros(1))
            axes.plot(
                ranks,
                np.sort(own),
                "o",
                color=COLOURS[0],
                markersize=3.2,
                alpha=0.55,
                markeredgewidth=0,
                rasterized=losses.size > 1500,
            )
            axes.plot(
                ranks[:1], own.min(), "o", color=COLOURS[0], markersize=7, markerfacecolor="none", markeredgewidth=1.4
            )
            for level, colour, dash in ((naive[i], NAIVE, "solid"), (constant[i], CONSTANT, (0, (2, 1.5)))):
                axes.plot([i - 0.42, i + 0.42], [level, level], color=colour, linewidth=1.8, linestyle=dash)
        values = np.concatenate([losses.ravel(), naive, constant])
        positive = values[values > 0]
        if positive.size and positive.max() > 3 * positive.min():
            axes.set_yscale("log")
            # What is next to nothing (a naive baseline of rounding) would flatten the rest.
            axes.set_ylim(bottom=0.6 * max(positive.min(), 1e-4 * float(np.median(losses))))
        else:
            axes.set_ylim(bottom=0)
        _instances(axes, titles, label, width)
        axes.set_ylabel("loss")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        handles = [
            Line2D(
                [],
                [],
                marker="o",
                linestyle="",
                color=COLOURS[0],
                markersize=4,
                label=f"{losses.shape[1]} replicas, sorted (ring: best)" if losses.shape[1] > 1 else "the one replica",
            ),
            Line2D([], [], color=NAIVE, linewidth=1.8, label="naive: no superposition"),
            Line2D([], [], color=CONSTANT, linewidth=1.8, linestyle=(0, (2, 1.5)), label="constants"),
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
        return svg_of(figure)


def _instances(axes: "Axes", titles: Sequence[str], label: str, width: float) -> None:
    """Instances side by side below a panel of so many inches; their names askew where they would touch."""
    longest = max(len(title) for title in titles)
    axes.set_xticks(range(len(titles)) if longest else [], titles if longest else [], parse_math=False)
    if (longest + 2) * len(titles) > 12 * width:
        axes.tick_params(axis="x", labelrotation=40)
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(titles) - 0.4)
    axes.set_xlabel(label, parse_math=False)


def active(
    titles: Sequence[str], losses: Float[ndarray, "inst active"], samples: Int[ndarray, "inst active"], label: str
) -> str:
    """Loss by the number of features active at once, a line an instance; and how often each number occurs."""
    from matplotlib.figure import Figure

    most = int(np.flatnonzero(np.isfinite(losses).any(axis=0)).max(initial=1))
    with look():
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True, width_ratios=[1.5, 1])
        for title, own, counts, colour in zip(titles, losses, samples, ramp(len(titles))):
            left.plot(
                np.arange(own.size),
                own,
                "-o",
                color=colour,
                markersize=4.5 if most <= 40 else 2,
                linewidth=1.4,
                label=title,
            )
            right.plot(
                np.arange(counts.size), 100 * counts / counts.sum(), "-o", color=colour, markersize=3.5, linewidth=1.2
            )
        left.set_xlim(-0.3, most + 0.3)
        left.set_ylim(bottom=0)
        left.set_ylabel("loss of such samples")
        right.set_ylabel("% of samples")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_xlabel("features active at once")
        if len(titles) > 1:
            legend = figure.legend(loc="outside right upper", frameon=False, fontsize=9, title=label, title_fontsize=9)
            for text in (*legend.get_texts(), legend.get_title()):
                text.set_parse_math(False)
        return svg_of(figure)


def measures(titles: Sequence[str], panels: Sequence[Panel], label: str) -> str:
    """Measures over instances: every replica, the good ones darker, the best ringed, bounds as bands."""
    from matplotlib.figure import Figure

    columns = min(2 if len(titles) > 4 else 3, len(panels))
    lines = -(-len(panels) // columns)
    width = 5.6 if columns < 3 else 3.75
    with look():
        figure = Figure(figsize=(width * columns, 2.7 * lines + 0.3), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid.flat, panels):
            _measure(axes, panel)
            axes.set_title(panel.title, fontsize=9.5, parse_math=False)
            _instances(axes, titles, label, width)
        return svg_of(figure)


def _measure(axes: "Axes", panel: Panel) -> None:
    n_rep = panel.values.shape[1]
    finite = panel.values[np.isfinite(panel.values)]
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    for i, (own, good) in enumerate(zip(panel.values, panel.good)):
        ranks = i + (np.linspace(-0.3, 0.3, n_rep) if n_rep > 1 else np.zeros(1))
        order = np.argsort(own, kind="stable")
        for chosen, alpha in ((~good[order], 0.25), (good[order], 0.75)):
            axes.plot(
                ranks[chosen],
                own[order][chosen],
                "o",
                color=COLOURS[0],
                markersize=3,
                alpha=alpha,
                markeredgewidth=0,
                rasterized=panel.values.size > 1500,
            )
    axes.plot(
        np.arange(panel.best.size),
        panel.best,
        "D",
        color=INK,
        markersize=5,
        markerfacecolor="none",
        markeredgewidth=1.3,
    )
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
        start, stop = max(lowest, bottom), min(highest, top)
        axes.fill_between(
            [instance - 0.45, instance + 0.45], start - least, stop + least, color=COLOURS[2], alpha=0.22, linewidth=0
        )
