"""Figures of a comparison as SVG: one look, one colour a variant, the same bytes from the same numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import FAINT, Styles, apart, label, look, name_lines, svg_of
from analyze.nulls import NULLS
from analyze.statistics import Estimate
from analyze.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

INK = "#444444"
"""Of a legend's entry for what has the colour of its variant."""
BASELINE = (0, (2, 2))
NULL_MARK = {"markersize": 5, "mfc": "white", "mew": 1.2}


@dataclass(frozen=True)
class Curve:
    """Losses of one run: [points, 2] arrays of tokens and nats a token."""

    variant: str
    train: Float[ndarray, "points 2"]
    evaluation: Float[ndarray, "points2 2"]
    is_arm: bool


@dataclass(frozen=True)
class Distribution:
    """A score's values over the judged neurons of one variant (all seeds), and over its nulls."""

    title: str
    variant: str
    trained: Float[ndarray, "n"]
    nulls: Mapping[str, Float[ndarray, "m"]]
    """By their names in NULLS."""


@dataclass(frozen=True)
class Dot:
    """One line of a dot plot: a mean with its interval, the seeds' own values, the nulls."""

    title: str
    variant: str
    estimate: Estimate
    seeds: tuple[float, ...] = ()
    nulls: Mapping[str, float] = field(default_factory=dict)
    """By their names in NULLS."""


@dataclass(frozen=True)
class LossChange:
    """Losses of one variant that starts from a checkpoint, nats a token; NaN where a loss is not known."""

    variant: str
    birth: float
    end: float


def _smooth(values: Float[ndarray, "n"], window: int = 9) -> Float[ndarray, "n"]:
    """Mean over the `window` nearest points, fewer at the ends."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    at = np.arange(values.size)
    first, stop = np.maximum(at - window // 2, 0), np.minimum(at + window // 2 + 1, values.size)
    return (total[stop] - total[first]) / (stop - first)


def loss_curves(curves: Sequence[Curve], styles: Styles, unigram: float, bigram: float) -> str:
    """Training loss (smoothed, thin) and held-out loss (thick) over tokens; arms in a panel of their own."""
    from matplotlib.figure import Figure

    groups = [group for arm in (False, True) if (group := [curve for curve in curves if curve.is_arm == arm])]
    titles = {False: "trained from scratch", True: "started from a checkpoint"}
    with look():
        figure = Figure(figsize=(5.2 * len(groups) + 1.2, 4.2), layout="constrained")
        grid = figure.subplots(1, len(groups), squeeze=False)[0]
        drawn = False
        for axes, group in zip(grid, groups):
            drawn |= _loss_panel(axes, group, styles, {"unigram": unigram, "bigram": bigram})
            axes.set_title(titles[group[0].is_arm])
        grid[0].set_ylabel("loss, nats a token")
        _legend(
            figure,
            _key("held-out text, a line a seed", linewidth=1.8),
            *([_key("training batches, smoothed", linewidth=0.6)] if any(curve.train.size for curve in curves) else []),
            *([_key("baseline", color=FAINT, linewidth=0.8, linestyle=BASELINE)] if drawn else []),
        )
        return svg_of(figure)


def _key(label: str, **look: Any) -> "Line2D":
    """An entry of a legend; what has a variant's colour is grey in it."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"color": INK, **look})


def _legend(figure: "Canvas", *keys: "Line2D") -> None:
    """A legend above the panels; colours of variants are named in the panels."""
    figure.legend(handles=keys, loc="outside upper left", ncols=len(keys), frameon=False, fontsize=8, handlelength=1.6)


def _loss_panel(axes: "Axes", group: Sequence[Curve], styles: Styles, baselines: dict[str, float]) -> bool:
    """Draws the curves of a panel; whether a baseline lay near enough to be drawn too."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    # From scratch the first steps matter most; a continued run's birth, at no tokens, must be on the axis.
    first = 0 if group[0].is_arm else 1
    ends: dict[str, float] = {}
    evaluated = [curve.evaluation[curve.evaluation[:, 0] >= first] for curve in group]
    for curve, evaluation in zip(group, evaluated):
        colour, dash = styles[curve.variant]
        train = curve.train[curve.train[:, 0] >= first]
        if train.size:
            axes.plot(train[:, 0], _smooth(train[:, 1]), color=colour, linewidth=0.6, alpha=0.55)
        if evaluation.size:
            axes.plot(evaluation[:, 0], evaluation[:, 1], color=colour, linestyle=dash, linewidth=1.8)
            ends.setdefault(curve.variant, float(evaluation[-1, 1]))
    if first:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        starts = [float(evaluation[0, 0]) for evaluation in evaluated if evaluation.size]
        axes.set_xlim(left=min(starts) / 2 if starts else None)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("tokens")
    losses = np.concatenate([evaluation[:, 1] for evaluation in evaluated])
    drawn = False
    if losses.size:
        span = max(float(losses.max() - losses.min()), 0.05)
        low, high = float(losses.min()) - 0.08 * span, float(losses.max()) + 0.05 * span
        for name, level in baselines.items():
            # A baseline far from the curves would flatten them; it is named in the text instead.
            if low - span <= level <= high + span:
                low, high = min(low, level - 0.05 * span), max(high, level + 0.12 * span)
                axes.axhline(level, color=FAINT, linewidth=0.8, linestyle=BASELINE)
                drawn = True
                label(axes, (0.01, level), f"{name} {level:.2f}", FAINT, va="bottom")
        axes.set_ylim(low, high)
    gap = 0.055 * (axes.get_ylim()[1] - axes.get_ylim()[0])
    for (variant, loss), height in zip(ends.items(), apart(list(ends.values()), gap)):
        label(axes, (1.02, height), f"{variant} {loss:.2f}", styles[variant].colour, va="center")
    return drawn


def score_distributions(
    distributions: Sequence[Distribution], styles: Styles, threshold: float, title: str, logarithmic: bool
) -> str:
    """Share of judged neurons at or below each value, a panel a variant: trained, and its nulls.

    Args:
        threshold: of the score's verdict.
        logarithmic: for an effective number, of which 1 to 2 is as far as 4 to 8.
    """
    from matplotlib.figure import Figure

    columns = min(4, len(distributions))
    lines = -(-len(distributions) // columns)
    values = np.concatenate([part for each in distributions for part in (each.trained, *each.nulls.values())])
    right = max(float(values.max()), 1.01 * threshold) if values.size else 4.0
    left = 1.0 if logarithmic else min(float(values.min(initial=threshold)), threshold)
    with look():
        figure = Figure(figsize=(2.5 * columns + 0.6, 2.2 * lines + 0.6), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for index, axes in enumerate(grid.flat):
            if index >= len(distributions):
                axes.set_visible(False)
                continue
            each = distributions[index]
            axes.axvline(threshold, color=FAINT, linewidth=0.7, linestyle=BASELINE)
            nulls = [(NULLS[name], part) for name, part in each.nulls.items()]
            for part, colour, dash, width in (
                *((part, null.style.colour, null.style.dash, 1.2) for null, part in nulls),
                (each.trained, styles[each.variant].colour, "solid", 2.0),
            ):
                if part.size:
                    x = np.concatenate([[left], np.sort(part), [right]])
                    y = np.concatenate([[0.0], np.arange(1, part.size + 1) / part.size, [1.0]])
                    axes.step(x, 100 * y, where="post", color=colour, linestyle=dash, linewidth=width)
            axes.set_title(visible(each.title), fontsize=9.5, parse_math=False)
            axes.set_ylim(0, 101)
            if logarithmic:
                axes.set_xscale("log")
                axes.set_xticks([tick for tick in (1, 2, 4, 8, 16, 32) if tick <= right], minor=False)
                axes.set_xticks([], minor=True)
            axes.set_xlim(left, right)
            axes.xaxis.set_major_formatter("{x:g}")
        figure.supylabel("% of judged neurons", fontsize=10)
        figure.supxlabel(f"{title} (at most)", fontsize=10)
        shown = dict.fromkeys(name for each in distributions for name, part in each.nulls.items() if part.size)
        _legend(
            figure,
            _key("trained", linewidth=2.0),
            *(
                _key(NULLS[name].title, color=NULLS[name].style.colour, linestyle=NULLS[name].style.dash, linewidth=1.2)
                for name in shown
            ),
            _key(f"threshold of the verdict, {threshold:g}", color=FAINT, linewidth=0.7, linestyle=BASELINE),
        )
        return svg_of(figure)


def dot_plot(panels: Sequence[tuple[str, Sequence[Dot]]], styles: Styles) -> str:
    """Means with intervals and single seeds, lines shared by all panels: (axis label, dots) each."""
    from matplotlib.figure import Figure

    n = len(panels[0][1])
    with look():
        figure = Figure(figsize=(2.4 + 3.6 * len(panels), 0.36 * n + 1.1), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (measure, dots) in zip(grid, panels):
            for line, dot in enumerate(dots):
                colour = styles[dot.variant].colour
                mean = dot.estimate
                if mean.has_interval:
                    axes.plot([mean.low, mean.high], [line, line], color=colour, linewidth=1.6, alpha=0.7)
                if dot.seeds:
                    axes.plot(dot.seeds, [line + 0.22] * len(dot.seeds), "|", color=colour, markersize=6, alpha=0.9)
                for null, value in dot.nulls.items():
                    style = NULLS[null].style
                    axes.plot([value], [line], style.mark, color=style.colour, clip_on=False, **NULL_MARK)
                axes.plot([mean.mean], [line], "o", color=colour, markersize=7, clip_on=False)
            axes.set_xlabel(measure)
            name_lines(axes, [dot.title for dot in dots])
            axes.set_xlim(left=0)
            axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
            axes.set_axisbelow(True)
        every = [dot for _, dots in panels for dot in dots]
        _legend(
            figure,
            _key("mean over seeds", marker="o", markersize=7, linestyle="none"),
            *([_key("95 % t interval", linewidth=1.6)] if any(dot.estimate.has_interval for dot in every) else []),
            *([_key("a seed", marker="|", markersize=6, linestyle="none")] if any(dot.seeds for dot in every) else []),
            *(
                _key(
                    NULLS[name].title,
                    color=NULLS[name].style.colour,
                    marker=NULLS[name].style.mark,
                    linestyle="none",
                    **NULL_MARK,
                )
                for name in dict.fromkeys(name for dot in every for name, value in dot.nulls.items() if isfinite(value))
            ),
        )
        return svg_of(figure)


def loss_change(changes: Sequence[LossChange], styles: Styles) -> str:
    """Loss at birth (ring) and at the end (dot), a variant a line."""
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(6.0, 0.36 * len(changes) + 1.1), layout="constrained")
        axes = figure.subplots()
        for line, change in enumerate(changes):
            colour = styles[change.variant].colour
            axes.plot([change.birth, change.end], [line, line], color=colour, linewidth=1.4, alpha=0.7)
            axes.plot([change.birth], [line], "o", color=colour, mfc="white", markersize=7)
            axes.plot([change.end], [line], "o", color=colour, markersize=7)
        name_lines(axes, [change.variant for change in changes])
        axes.set_xlabel("held-out loss, nats a token: ring at birth, dot at the end")
        axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
        return svg_of(figure)
