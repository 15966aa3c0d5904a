"""What the drawings of toys have in common: an SVG from axes in a grid, colours of features, dots, bars, titles."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analyze.figures import COLOURS, FAINT, look, svg_of

P = ParamSpec("P")

DASHED: Any = (0, (2, 2))


def drawing(draw: Callable[P, Figure]) -> Callable[P, str]:
    """Makes a function that draws a figure return its SVG, drawn with the settings of every figure."""

    @wraps(draw)
    def svg(*args: P.args, **kwargs: P.kwargs) -> str:
        with look():
            return svg_of(draw(*args, **kwargs))

    return svg


def panels(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes, [rows columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def ramp(n: int) -> list[Any]:
    """Colours of an ordered axis of n values: distinct hues for a few, viridis without its pale end for more."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return [colormaps["viridis"](0.92 * i / (n - 1)) for i in range(n)]


def title(axes: Axes, text: str) -> None:
    """A small title, as it is."""
    axes.set_title(text, fontsize=9.5, parse_math=False)


def legend(figure: Figure, **options: Any) -> None:
    """A legend above the axes, at the right."""
    figure.legend(loc="outside upper right", frameon=False, fontsize=9, **options)


def dots(axes: Axes, x: Any, y: Any, size: float, alpha: float, many: bool, **options: Any) -> None:
    """Dots without edges; many of them as pixels."""
    style = {"color": COLOURS[0], "markersize": size, "alpha": alpha, "markeredgewidth": 0, "rasterized": many}
    axes.plot(x, y, "o", **style, **options)


def bars(axes: Axes, boxes: Sequence[tuple[float, float, float, float]], colours: Any, edge: str = "none") -> None:
    """Boxes (x, y, width, height) as one artist, many thousands of them as fast as one; as pixels above 500."""
    corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
    width = 0 if edge == "none" else 0.5
    many = len(boxes) > 500
    axes.add_collection(PolyCollection(corners, facecolors=colours, edgecolors=edge, linewidths=width, rasterized=many))


def unit_circle(axes: Axes, reach: float) -> None:
    """A dotted circle of radius 1 on square axes that are not drawn and end at `reach`."""
    axes.set_axis_off()
    axes.add_patch(Circle((0, 0), 1.0, fill=False, color=FAINT, linewidth=0.7, linestyle=DASHED))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
