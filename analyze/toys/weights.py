"""Drawings of a toy's weights: W^T W with norms, features as arrows, neurons as stacks of their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, INK
from analyze.toys.drawing import bars, drawing, legend, panels, ramp, title, unit_circle
from analyze.toys.view import spread

KINDS = {"mono": (COLOURS[0], "monosemantic"), "poly": (COLOURS[1], "polysemantic"), "dead": ("#BBBBBB", "dead")}
"""Colour and name of each kind of neuron."""
SUPERPOSITION = LinearSegmentedColormap.from_list("superposition", [COLOURS[0], "#C8C8C8", COLOURS[1]])
"""0 (a dimension of its own) to 1 and above (other features fill it): blue, grey, orange."""


@dataclass(frozen=True)
class Geometry:
    """One instance's W (columns are features), its bias, and what its columns measure."""

    title: str
    W: Float[ndarray, "hidden feat"]
    b: Float[ndarray, "feat"] | None
    interference: Float[ndarray, "feat"]
    """sum over other features j of (W_i^ . W_j)^2"""


@dataclass(frozen=True)
class Stacks:
    """One layer's neurons of one instance: their weights for every feature, and what each neuron is."""

    title: str
    weights: Float[ndarray, "neuron feat"]
    kinds: tuple[str, ...]
    """mono, poly or dead, of every neuron"""


@drawing
def gram(instances: Sequence[Geometry]) -> Figure:
    """W^T W with b at its right, and bars of |W_i| coloured by superposition, for every instance."""
    columns = min(4, len(instances))
    lines = -(-len(instances) // columns)
    grams = [each.W.T @ each.W for each in instances]
    # One instance of large weights must not pale all others.
    most = max(1e-3, float(np.median([np.abs(each).max() for each in grams])))
    longest = max(float(np.linalg.norm(each.W, axis=0).max()) for each in instances) or 1.0
    scale = Normalize(0, 1)
    # Few shades of very many cells make the picture several times smaller, and the eye cannot tell more apart.
    shades = colormaps["RdBu_r"].resampled(256 if grams[0].shape[0] <= 120 else 25)
    picture = None
    width, height = 2.65 * columns + (0.9 if columns > 1 else 2.0), (1.85 if columns > 1 else 2.6) * lines + 0.6
    figure, grid = panels(width, height, lines, 2 * columns, width_ratios=[1.75, 0.9] * columns)
    for axes in grid.flat[2 * len(instances) :]:
        axes.set_visible(False)
    for index, (each, product) in enumerate(zip(instances, grams)):
        left, right = grid.flat[2 * index], grid.flat[2 * index + 1]
        n = product.shape[0]
        table, bias_at = _with_bias(product, each.b)
        picture = left.imshow(table, cmap=shades, vmin=-most, vmax=most, interpolation="none", aspect="auto")
        title(left, each.title)
        left.spines[:].set_visible(False)
        left.set_xticks([(n - 1) / 2, *bias_at], ["W\u1d40W", *("b" for _ in bias_at)])
        left.tick_params(axis="x", length=0)
        ticks = [0, n - 1] if n > 8 else list(range(n))
        left.set_yticks(ticks, [str(i) for i in ticks])
        thick = 0.85 if n <= 40 else 1.0
        norms = np.linalg.norm(each.W, axis=0).tolist()
        boxes = [(0.0, i - thick / 2, norm, thick) for i, norm in enumerate(norms)]
        bars(right, boxes, SUPERPOSITION(scale(each.interference)))
        right.set_ylim(left.get_ylim())
        right.set_xlim(0, 1.05 * longest)
        right.set_yticks([])
        right.set_xlabel("|W\u1d62|", fontsize=9)
        right.tick_params(labelsize=8)
    for line in range(lines):
        grid[line, 0].set_ylabel("feature")
    keys = ((picture, "W\u1d40W and b", "both"), (ScalarMappable(scale, SUPERPOSITION), "superposition", "max"))
    place = {"ax": grid.ravel().tolist(), "shrink": min(1.0, 2.0 / lines), "pad": 0.01, "aspect": 18}
    for mappable, label, extend in keys:
        assert mappable is not None, "there is an instance"
        bar = figure.colorbar(mappable, extend=extend, **place)
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


def _with_bias(
    product: Float[ndarray, "feat feat"], b: Float[ndarray, "feat"] | None
) -> tuple[Float[ndarray, "feat wide"], list[float]]:
    """W^T W, a gap, and b as a column wide enough to be seen; where the middle of that column lies."""
    if b is None:
        return product, []
    n = product.shape[0]
    wide = max(1, n // 20)
    table = np.concatenate([product, np.full((n, wide), np.nan), np.repeat(b[:, None], wide, axis=1)], axis=1)
    return table, [n + wide + (wide - 1) / 2]


@drawing
def arrows(instances: Sequence[Geometry]) -> Figure:
    """Columns of a W of two dimensions, or of three seen from one side, as arrows, with the unit circle."""
    columns = min(6, len(instances))
    lines = -(-len(instances) // columns)
    reach = 1.12 * max(1.0, *(float(np.linalg.norm(each.W, axis=0).max()) for each in instances))
    figure, grid = panels(1.8 * columns + 0.3, 2.1 * lines + 0.2, lines, columns)
    for axes in grid.flat[len(instances) :]:
        axes.set_axis_off()
    for axes, each in zip(grid.flat, instances):
        W = _seen(each.W)
        unit_circle(axes, reach)
        axes.plot([0], [0], ".", color=FAINT, markersize=3)
        for i, colour in enumerate(ramp(W.shape[1])):
            _arrow(axes, W[:, i], colour, str(i) if W.shape[1] <= 12 else "")
        title(axes, each.title)
    return figure


def _seen(W: Float[ndarray, "hidden feat"]) -> Float[ndarray, "2 feat"]:
    """W itself in two dimensions; three turned so that the first column points up, looked at from a little above."""
    if W.shape[0] == 2:
        return W
    up = W[:, np.linalg.norm(W, axis=0).argmax()]
    frame, _ = np.linalg.qr(np.column_stack([up, *np.eye(3)[:, np.abs(up).argsort()[:2]].T]))
    height, x, y = np.sign(frame[:, 0] @ up) * frame[:, 0] @ W, frame[:, 1] @ W, frame[:, 2] @ W
    turn, tilt = np.radians(22), np.radians(20)
    across, depth = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    return np.stack([across, np.cos(tilt) * height + np.sin(tilt) * depth])


def _arrow(axes: Axes, to: Float[ndarray, "2"], colour: Any, name: str) -> None:
    length = float(np.linalg.norm(to))
    if length < 0.05:
        axes.plot([to[0]], [to[1]], "o", color=colour, markersize=3.5)
        return
    head = "-|>,head_width=0.18,head_length=0.35"
    kind = {"arrowstyle": head, "color": colour, "linewidth": 1.7, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(to[0], to[1]), xytext=(0, 0), arrowprops=kind)
    if name:
        at = to * (1 + 0.16 / length)
        axes.text(at[0], at[1], name, color=colour, fontsize=8, ha="center", va="center")


@drawing
def stacks(rows: Sequence[Sequence[Stacks]], by: str, features: tuple[str, str]) -> Figure:
    """Neurons as stacks of their weights, positive ones above zero and negative ones below.

    Args:
        rows: one row an instance, one column a layer; neurons stand in the same order in all columns of a row
            where the order says so.
        by: "feature" colours every piece by its feature, "kind" every neuron by what it is.
        features: the name of what each column's pieces are (features read, outputs written).
    """
    columns = max(len(row) for row in rows)
    figure, grid = panels(11.2 if columns > 1 else 7.0, 1.65 * len(rows) + 0.75, len(rows), columns)
    for line, row in enumerate(rows):
        for axes, each in zip(grid[line], row):
            _stack(axes, each, by)
            title(axes, each.title)
            axes.set_ylabel("weight", fontsize=9)
            if line == len(rows) - 1:
                axes.set_xlabel("neuron")
    if by == "kind":
        present = {kind for row in rows for each in row for kind in each.kinds}
        handles = [Patch(color=colour, label=name) for kind, (colour, name) in KINDS.items() if kind in present]
        legend(figure, handles=handles, ncols=3)
    else:
        for column, each, name in zip(grid.T, rows[0], features):
            _feature_bar(figure, column, each.weights.shape[1], name)
    return figure


def _feature_bar(figure: Figure, column: ndarray, n: int, name: str) -> None:
    """A colour bar below a column that says which colour is which feature."""
    colours = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), ListedColormap(ramp(n)))
    bar = figure.colorbar(colours, ax=column.tolist(), location="bottom", aspect=50, shrink=0.6, pad=0.02)
    ticks = spread(n, 10)
    bar.set_ticks(ticks, labels=[str(i) for i in ticks])
    bar.ax.tick_params(labelsize=8, length=0)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label(name, fontsize=9)


def _stack(axes: Axes, each: Stacks, by: str) -> None:
    n_neurons, n_features = each.weights.shape
    most = max(float(np.abs(each.weights).sum(axis=1).max()), 1e-9)
    hues = ramp(n_features)
    pieces, painted = [], []
    for neuron, weights in enumerate(each.weights):
        for feature, bottom, height in _pile(weights, 0.02 * most):
            colour = KINDS[each.kinds[neuron]][0] if by == "kind" else "#DDDDDD" if feature is None else hues[feature]
            pieces.append((neuron - 0.43, bottom, 0.86, height))
            painted.append(colour)
            if feature is not None and n_neurons <= (40 if by == "feature" else 20) and abs(height) > 0.14 * most:
                middle = bottom + height / 2
                axes.text(neuron, middle, str(feature), ha="center", va="center", fontsize=7, color=_readable(colour))
    bars(axes, pieces, painted, edge="white")
    tops = [y + h for _, y, _, h in pieces]
    axes.set_ylim(min(0.0, 1.05 * min(tops, default=0)), max(1.05 * max(tops, default=1), 1e-6))
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set_xlim(-0.7, n_neurons - 0.3)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(labelsize=8)


def _pile(weights: Float[ndarray, "feat"], least: float) -> list[tuple[int | None, float, float]]:
    """Pieces of a neuron's stack, the largest nearest to zero: (feature, where it starts, height with its sign).

    Small weights, however many, are one piece a side that names no feature: nobody could tell them apart.
    """
    pieces: list[tuple[int | None, float, float]] = []
    for sign in (1, -1):
        own = np.flatnonzero(sign * weights > 0)
        own = own[np.argsort(-np.abs(weights[own]), kind="stable")]
        is_large = np.abs(weights[own]) >= least
        at = 0.0
        for feature in own[is_large]:
            pieces.append((int(feature), at, float(weights[feature])))
            at += float(weights[feature])
        if abs(rest := float(weights[own[~is_large]].sum())) >= least and not is_large.all():
            pieces.append((None, at, rest))
    return pieces


def _readable(colour: Any) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else INK


def neuron_order(weights: Float[ndarray, "neuron feat"]) -> Int[ndarray, "neuron"]:
    """Neurons by the feature that weighs most, positive before negative: those that share a feature are neighbours."""
    main = np.abs(weights).argmax(axis=1)
    return np.lexsort((weights[np.arange(len(weights)), main] < 0, main))
