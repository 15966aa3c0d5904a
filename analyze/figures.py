"""The look of every figure: colours, settings, and an SVG with its caption and words for who cannot see it."""

import base64
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analyze.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255", "#999933")
"""Okabe and Ito's colours that stand out on white, then three of Paul Tol's: fit for the colour-blind."""
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
INK, FAINT = "#222222", "#888888"

LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "polysem",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "white",
}


class Style(NamedTuple):
    """How figures draw one variant."""

    colour: str
    dash: Any
    """Of matplotlib."""


Styles = Mapping[str, Style]
"""By variant, in the order of figures."""


@dataclass(frozen=True)
class Figure:
    """An SVG as a data address, what it shows for those who cannot see it, and its caption."""

    name: str
    svg: str
    alt: str
    caption: str

    @property
    def source(self) -> str:
        """The address that the page embeds."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def styles_of(variants: Sequence[str]) -> Styles:
    """Colour and dash of each variant, by its place among them; dashes change when colours run out."""
    return {
        variant: Style(COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)])
        for index, variant in enumerate(variants)
    }


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's settings for a figure of this house."""
    from matplotlib import rc_context

    with rc_context(LOOK), warnings.catch_warnings():
        # Text stays text: the reader's fonts have the glyph that the measuring font may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def svg_of(figure: "Canvas") -> str:
    """A figure as SVG, the same bytes from the same figure; parts that are kept as pixels have 200 an inch."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    return buffer.getvalue()


def name_lines(axes: "Axes", names: Sequence[str]) -> None:
    """Names for the lines of a chart, from the top down; a `$` in a name stays a `$`."""
    axes.set_yticks(range(len(names)), [visible(name) for name in names], parse_math=False)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def label(axes: "Axes", at: tuple[float, float], text: str, colour: str, **kind: Any) -> None:
    """A word beside what it names (x: share of the panel, y: data); a `$` in a name stays a `$`."""
    place = axes.get_yaxis_transform()
    axes.text(*at, visible(text), color=colour, fontsize=9, transform=place, parse_math=False, **kind)


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights moved as little as a simple pass can so that none is nearer than `gap` to another."""
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights, dtype=np.float64)[order]
    for _ in range(50):
        moved = False
        for i in range(1, len(placed)):
            overlap = gap - (placed[i] - placed[i - 1])
            if overlap > 1e-9:
                placed[i - 1] -= overlap / 2
                placed[i] += overlap / 2
                moved = True
        if not moved:
            break
    back = np.empty_like(placed)
    back[order] = placed
    return [float(height) for height in back]
