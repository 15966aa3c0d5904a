"""Figures that several problems draw alike: a curve a checkpoint, and a dot a pair of labels, coloured by variant."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(
    figure: tuple[str, str, str],
    measured: Sequence[Measured],
    y: str,
    *,
    xlabel: str,
    ylabel: str,
    ylim: tuple[float, float] | None = None,
    chance: Callable[["Axes", Measured], object] | None = None,
    whole: float | None = None,
) -> list[Figure]:
    """Column `y` of each checkpoint's table `curve` against `k`, a line a checkpoint.

    Args:
        figure: name, words for who cannot see it, caption.
        chance: draws a checkpoint's null beside its line; default: column `random`, dotted.
        whole: where a faint line across says what all of it is.
    """
    with _drawn(figure, measured, (5.5, 3.4)) as (axes, found):
        labelled = set[str]()
        for each in measured:
            curve = each.measurement.tables["curve"]
            label = None if each.variant in labelled else each.variant
            labelled.add(each.variant)
            axes.plot(curve["k"], curve[y], color=_colour(measured, each.variant), lw=1.2, label=label)
            if chance is None:
                axes.plot(curve["k"], curve["random"], color=FAINT, lw=0.8, ls=":")
            else:
                chance(axes, each)
        if whole is not None:
            axes.axhline(whole, color=FAINT, lw=0.6)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if ylim is not None:
            axes.set(ylim=ylim)
    return found


def dots(
    figure: tuple[str, str, str], measured: Sequence[Measured], x: str, y: str, *, xlabel: str, ylabel: str
) -> list[Figure]:
    """Column `y` against column `x` of the tables `pairs`, a dot a pair.

    Args:
        figure: name, words for who cannot see it, caption.
    """
    with _drawn(figure, measured, (5, 3.4)) as (axes, found):
        for variant in _variants(measured):
            table = pl.concat([each.measurement.tables["pairs"] for each in measured if each.variant == variant])
            colour = _colour(measured, variant)
            axes.plot(table[x], table[y], ".", ms=2, color=colour, label=variant, rasterized=True)
        axes.set(xlabel=xlabel, ylabel=ylabel)
    return found


@contextmanager
def _drawn(
    figure: tuple[str, str, str], measured: Sequence[Measured], size: tuple[float, float]
) -> Iterator[tuple["Axes", list[Figure]]]:
    """Axes to draw on; behind the block the list holds the figure, with a legend where there is something."""
    from matplotlib.figure import Figure as Canvas

    name, words, caption = figure
    found: list[Figure] = []
    with look():
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.subplots()
        yield axes, found
        if measured:
            axes.legend(frameon=False)
        found.append(Figure(name, svg_of(canvas), words, caption))


def _variants(measured: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(each.variant for each in measured))


def _colour(measured: Sequence[Measured], variant: str) -> str:
    return COLOURS[_variants(measured).index(variant) % len(COLOURS)]
