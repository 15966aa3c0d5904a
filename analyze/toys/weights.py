"""Drawings of a toy's weights: W^T W with norms, features as arrows, neurons as stacks of their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, INK, look, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

MONO, POLY, DEAD = COLOURS[0], COLOURS[1], "#BBBBBB"


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
    """One layer's neurons of one instance: what each weighs every feature, and what it is."""

    title: str
    weights: Float[ndarray, "neuron feat"]
    kinds: tuple[str, ...]
    """mono, poly or dead, of every neuron"""


def spread(n: int, most: int) -> list[int]:
    """At most `most` of 0 .. n - 1, evenly, the first and the last among them."""
    return [int(i) for i in np.unique(np.linspace(0, n - 1, min(n, most)).round())]


def ramp(n: int) -> list[Any]:
    """Colours of an ordered axis of n values: telling hues for a few, viridis without its pale end for more."""
    from matplotlib import colormaps

    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return [colormaps["viridis"](0.92 * i / (n - 1)) for i in range(n)]


def superposition_colours() -> "Colormap":
    """0 (a dimension of its own) to 1 and above (other features fill it): blue, grey, orange."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("superposition", [COLOURS[0], "#C8C8C8", COLOURS[1]])


def gram(instances: Sequence[Geometry]) -> str:
    """W^T W with b at its right, and bars of |W_i| coloured by superposition, for every instance."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = min(4, len(instances))
    lines = -(-len(instances) // columns)
    grams = [each.W.T @ each.W for each in instances]
    # One instance of large weights must not pale all others.
    most = max(1e-3, float(np.median([np.abs(each).max() for each in grams])))
    longest = max(float(np.linalg.norm(each.W, axis=0).max()) for each in instances) or 1.0
    colours, scale = superposition_colours(), Normalize(0, 1)
    # Few shades of very many cells make the picture several times smaller, and are all that can be seen.
    shades = colormaps["RdBu_r"].resampled(256 if grams[0].shape[0] <= 120 else 25)
    picture = None
    with look():
        figure = Figure(
            figsize=(2.65 * columns + (0.9 if columns > 1 else 2.0), (1.85 if columns > 1 else 2.6) * lines + 0.6),
            layout="constrained",
        )
        grid = figure.subplots(lines, 2 * columns, squeeze=False, width_ratios=[1.75, 0.9] * columns)
        for axes in grid.flat[2 * len(instances) :]:
            axes.set_visible(False)
        for index, (each, product) in enumerate(zip(instances, grams)):
            left, right = grid.flat[2 * index], grid.flat[2 * index + 1]
            n = product.shape[0]
            picture = left.imshow(
                _beside(product, each.b), cmap=shades, vmin=-most, vmax=most, interpolation="none", aspect="auto"
            )
            left.set_title(each.title, fontsize=9.5, parse_math=False)
            left.spines[:].set_visible(False)
            ticks = [0, n - 1] if n > 8 else list(range(n))
            left.set_xticks(
                [(n - 1) / 2] + ([] if each.b is None else [_bias_at(n)]), ["W\u1d40W", "b"][: 1 + (each.b is not None)]
            )
            left.tick_params(axis="x", length=0)
            left.set_yticks(ticks, [str(i) for i in ticks])
            norms = np.linalg.norm(each.W, axis=0)
            thick = 0.85 if n <= 40 else 1.0
            bars(
                right,
                [(0.0, i - thick / 2, norm, thick) for i, norm in enumerate(norms.tolist())],
                colours(scale(each.interference)),
            )
            right.set_ylim(left.get_ylim())
            right.set_xlim(0, 1.05 * longest)
            right.set_yticks([])
            right.set_xlabel("|W\u1d62|", fontsize=9)
            right.tick_params(labelsize=8)
        for line in range(lines):
            grid[line, 0].set_ylabel("feature")
        if picture is not None:
            keys = ((picture, "W\u1d40W and b", "both"), (ScalarMappable(scale, colours), "superposition", "max"))
            for mappable, label, extend in keys:
                bar = figure.colorbar(
                    mappable, ax=grid.ravel().tolist(), shrink=min(1.0, 2.0 / lines), pad=0.01, aspect=18, extend=extend
                )
                bar.set_label(label, fontsize=9)
                bar.ax.tick_params(labelsize=8)
        return svg_of(figure)


def _bias_at(n: int) -> float:
    wide = max(1, n // 20)
    return n + wide + (wide - 1) / 2


def _beside(product: Float[ndarray, "feat feat"], b: Float[ndarray, "feat"] | None) -> Float[ndarray, "feat wide"]:
    """W^T W, a gap, and b as a column wide enough to be seen."""
    n = product.shape[0]
    if b is None:
        return product
    wide = max(1, n // 20)
    return np.concatenate([product, np.full((n, wide), np.nan), np.repeat(b[:, None], wide, axis=1)], axis=1)


def arrows(instances: Sequence[Geometry]) -> str:
    """Columns of a W of two dimensions, or of three seen from one side, as arrows, with the unit circle."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    columns = min(6, len(instances))
    lines = -(-len(instances) // columns)
    reach = 1.12 * max(1.0, *(float(np.linalg.norm(each.W, axis=0).max()) for each in instances))
    with look():
        figure = Figure(figsize=(1.8 * columns + 0.3, 2.1 * lines + 0.2), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            axes.set_axis_off()
            if index >= len(instances):
                continue
            W = _seen(instances[index].W)
            axes.add_patch(Circle((0, 0), 1.0, fill=False, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2))))
            axes.plot([0], [0], ".", color=FAINT, markersize=3)
            for i, colour in enumerate(ramp(W.shape[1])):
                _arrow(axes, W[:, i], colour, i, W.shape[1] <= 12)
            axes.set_xlim(-reach, reach)
            axes.set_ylim(-reach, reach)
            axes.set_aspect("equal")
            axes.set_title(instances[index].title, fontsize=9.5, parse_math=False)
        return svg_of(figure)


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


def _arrow(axes: "Axes", to: Float[ndarray, "2"], colour: Any, feature: int, named: bool) -> None:
    length = float(np.linalg.norm(to))
    if length < 0.05:
        axes.plot([to[0]], [to[1]], "o", color=colour, markersize=3.5)
        return
    kind = {
        "arrowstyle": "-|>,head_width=0.18,head_length=0.35",
        "color": colour,
        "linewidth": 1.7,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", xy=(to[0], to[1]), xytext=(0, 0), arrowprops=kind)
    if named:
        at = to * (1 + 0.16 / length)
        axes.text(at[0], at[1], str(feature), color=colour, fontsize=8, ha="center", va="center")


def stacks(rows: Sequence[Sequence[Stacks]], by: str, features: tuple[str, str]) -> str:
    """Neurons as stacks of their weights, positive ones above zero and negative ones below.

    Args:
        rows: one row an instance, one column a layer; neurons stand in the same order in all columns of a row
            where the order says so.
        by: "feature" colours every piece by what it weighs, "kind" every neuron by what it is.
        features: the name of what each column's pieces are (features read, outputs written).
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = max(len(row) for row in rows)
    with look():
        figure = Figure(figsize=(11.2 if columns > 1 else 7.0, 1.65 * len(rows) + 0.75), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, row in enumerate(rows):
            for column, each in enumerate(row):
                axes = grid[line, column]
                _stack(axes, each, by)
                axes.set_title(each.title, fontsize=9.5, parse_math=False)
                axes.set_ylabel("weight", fontsize=9)
                if line == len(rows) - 1:
                    axes.set_xlabel("neuron")
        if by == "kind":
            names = (("mono", MONO, "monosemantic"), ("poly", POLY, "polysemantic"), ("dead", DEAD, "dead"))
            present = {kind for row in rows for each in row for kind in each.kinds}
            handles = [Patch(color=colour, label=name) for kind, colour, name in names if kind in present]
            figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
        else:
            _feature_bars(
                figure, grid, [row[column].weights.shape[1] for row in rows[:1] for column in range(columns)], features
            )
        return svg_of(figure)


def _feature_bars(figure: Any, grid: Any, sizes: Sequence[int], names: Sequence[str]) -> None:
    """A colour bar below each column that says which colour is which feature; one where they agree."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    for column, (n, name) in enumerate(zip(sizes, names)):
        scale = BoundaryNorm(np.arange(n + 1) - 0.5, n)
        bar = figure.colorbar(
            ScalarMappable(scale, ListedColormap(ramp(n))),
            ax=grid[:, column].tolist(),
            location="bottom",
            aspect=50,
            shrink=0.6,
            pad=0.02,
        )
        ticks = spread(n, 10)
        bar.set_ticks(ticks, labels=[str(i) for i in ticks])
        bar.ax.tick_params(labelsize=8, length=0)
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)
        bar.set_label(name, fontsize=9)


def _stack(axes: "Axes", each: Stacks, by: str) -> None:
    n_neurons, n_features = each.weights.shape
    most = max(float(np.abs(each.weights).sum(axis=1).max()), 1e-9)
    hues = ramp(n_features)
    kinds = {"mono": MONO, "poly": POLY, "dead": DEAD}
    pieces, painted = [], []
    for neuron, weights in enumerate(each.weights):
        for feature, bottom, height in _pile(weights, 0.02 * most):
            colour = kinds[each.kinds[neuron]] if by == "kind" else "#DDDDDD" if feature is None else hues[feature]
            pieces.append((neuron - 0.43, bottom, 0.86, height))
            painted.append(colour)
            if feature is not None and n_neurons <= (40 if by == "feature" else 20) and abs(height) > 0.14 * most:
                axes.text(
                    neuron, bottom + height / 2, str(feature), ha="center", va="center", fontsize=7, color=_on(colour)
                )
    bars(axes, pieces, painted, edge="white")
    axes.set_ylim(
        min(0.0, 1.05 * min((y + h for _, y, _, h in pieces), default=0)),
        max(1.05 * max((y + h for _, y, _, h in pieces), default=1), 1e-6),
    )
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set_xlim(-0.7, n_neurons - 0.3)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(labelsize=8)


def _pile(weights: Float[ndarray, "feat"], least: float) -> list[tuple[int | None, float, float]]:
    """Pieces of a neuron's stack, the largest nearest to zero: (feature, where it starts, height with its sign).

    Small weights, however many, are one piece a side that names no feature: nobody could tell them apart.
    """
    found: list[tuple[int | None, float, float]] = []
    for sign in (1, -1):
        own = np.flatnonzero(sign * weights > 0)
        own = own[np.argsort(-np.abs(weights[own]), kind="stable")]
        large = own[np.abs(weights[own]) >= least]
        at = 0.0
        for feature in large:
            found.append((int(feature), at, float(weights[feature])))
            at += float(weights[feature])
        slight = own[np.abs(weights[own]) < least]
        if slight.size and abs(rest := float(weights[slight].sum())) >= least:
            found.append((None, at, rest))
    return found


def bars(axes: "Axes", boxes: Sequence[tuple[float, float, float, float]], colours: Any, edge: str = "none") -> None:
    """Boxes (x, y, width, height) as one artist, many thousands of them as fast as one; as pixels above 500."""
    from matplotlib.collections import PolyCollection

    corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
    many = len(boxes) > 500
    axes.add_collection(
        PolyCollection(
            corners, facecolors=colours, edgecolors=edge, linewidths=0.5 if edge != "none" else 0, rasterized=many
        )
    )


def _on(colour: Any) -> str:
    """Black or white, whichever is read on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else INK


def neuron_order(weights: Float[ndarray, "neuron feat"]) -> Int[ndarray, "neuron"]:
    """Neurons by the feature that weighs most, positive before negative: those that share a feature are neighbours."""
    main = np.abs(weights).argmax(axis=1)
    return np.lexsort((weights[np.arange(len(weights)), main] < 0, main))
