"""Figures of who became what: how siblings part over training, and what children are told to be at its end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyze.figures import Figure, Styles, apart, look, svg_of
from analyze.fission.store import Fission
from analyze.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = (
    ("cos_in_mean", "cosine of W_in"),
    ("cos_out_mean", "cosine of W_out"),
    ("correlation_mean", "correlation of activations"),
)
SHADES = {
    "same": "#0072B2",
    "specialised": "#009E73",
    "new, related": "#F2B48C",
    "new": "#D55E00",
    "duplicate": "#D0D0D0",
    "dead": "#6E6E6E",
}


def arms_of(found: Sequence[Fission]) -> dict[tuple[str, int], dict[int, list[Fission]]]:
    """(variant, layer) -> seed -> steps in order; layers of one variant are arms of their own."""
    arms: dict[tuple[str, int], dict[int, list[Fission]]] = {}
    for one in sorted(found, key=lambda one: one.meta.step):
        arms.setdefault((one.meta.variant, one.meta.layer), {}).setdefault(one.meta.seed, []).append(one)
    return arms


def arm_title(arm: tuple[str, int]) -> str:
    """`gelu-x10 L0`."""
    return f"{arm[0]} L{arm[1]}"


def divergence_figure(found: Sequence[Fission], styles: Styles) -> Figure:
    """Sibling cosines and correlation over tokens: a line a seed (median over parents), shaded to the quartiles.

    Args:
        found: at least one step.
        styles: colour and dash of every variant.
    """
    from matplotlib.figure import Figure as Canvas

    arms = arms_of(found)
    arms = {arm: arms[arm] for variant in styles for arm in arms if arm[0] == variant}
    with look():
        canvas = Canvas(figsize=(10.6, 3.4), layout="constrained")
        grid = canvas.subplots(1, len(MEASURES), squeeze=False)[0]
        for axes, (column, label) in zip(grid, MEASURES):
            _panel(axes, arms, column, styles)
            axes.set_title(label)
        grid[0].set_ylabel("among siblings")
        svg = svg_of(canvas)
    ends = "; ".join(
        f"{arm_title(arm)}: " + ", ".join(f"{label} {_last(seeds, column):.3f}" for column, label in MEASURES)
        for arm, seeds in arms.items()
    )
    return Figure(
        "fission-divergence",
        svg,
        visible(f"How siblings part over tokens. At the end, median over parents, mean over seeds: {ends}."),
        "Mean over the pairs of children of one parent; line: median over parents, one line a seed; shade: quartiles "
        "over parents. Tokens of fine-tuning, from the birth of the copies (logarithmic above the first step). "
        "Copies that stay at 1 have stayed one neuron.",
    )


def _quartiles(one: Fission, column: str) -> tuple[float, float, float]:
    values = one.parents[column].drop_nulls().to_numpy()
    if not values.size:
        return np.nan, np.nan, np.nan
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _last(seeds: dict[int, list[Fission]], column: str) -> float:
    return float(np.mean([_quartiles(steps[-1], column)[1] for steps in seeds.values()]))


def _panel(
    axes: "Axes",
    arms: dict[tuple[str, int], dict[int, list[Fission]]],
    column: str,
    styles: Styles,
) -> None:
    from matplotlib.ticker import EngFormatter

    positive = [one.meta.tokens for seeds in arms.values() for steps in seeds.values() for one in steps]
    first = min((tokens for tokens in positive if tokens > 0), default=1)
    least = 1.0
    for (variant, _), seeds in arms.items():
        colour, dash = styles[variant]
        for steps in seeds.values():
            tokens = [one.meta.tokens for one in steps]
            low, middle, high = zip(*(_quartiles(one, column) for one in steps))
            axes.fill_between(tokens, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(tokens, middle, color=colour, linestyle=dash, linewidth=1.6)
            least = min(least, *(value for value in low if np.isfinite(value)), 1.0)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(left=0)
    axes.set_ylim(least - 0.06 * max(1 - least, 1e-3), 1 + 0.04 * max(1 - least, 1e-3))
    axes.set_xticks([0, *_decades(first, max(positive, default=1))])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.minorticks_off()
    axes.set_xlabel("tokens")
    if column == MEASURES[-1][0]:
        ends = {arm: _last(seeds, column) for arm, seeds in arms.items()}
        gap = 0.07 * (axes.get_ylim()[1] - axes.get_ylim()[0])
        known = {arm: end for arm, end in ends.items() if np.isfinite(end)}
        for arm, height in zip(known, apart(list(known.values()), gap)):
            axes.text(
                1.02,
                height,
                visible(arm_title(arm)),
                color=styles[arm[0]][0],
                fontsize=9,
                va="center",
                transform=axes.get_yaxis_transform(),
                parse_math=False,
            )


def _decades(first: int, last: int) -> list[int]:
    """Powers of ten within the axis; the first step alone where there is none."""
    inside = [10**power for power in range(1, 13) if first <= 10**power <= last]
    return inside or [first]


def verdict_figure(found: Sequence[Fission], styles: Styles) -> Figure:
    """Children a parent by verdict at the last step, an arm a line, mean over seeds."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Patch

    arms = arms_of(found)
    rows = []
    for variant in styles:
        for arm in (arm for arm in arms if arm[0] == variant):
            ends = [steps[-1] for steps in arms[arm].values()]
            means = {name: float(np.mean([_mean(one.parents, name) for one in ends])) for name in SHADES}
            rows.append((arm_title(arm), means))
    with look():
        canvas = Canvas(figsize=(9.0, 0.36 * len(rows) + 1.5), layout="constrained")
        axes = canvas.subplots()
        for line, (_, means) in enumerate(rows):
            left = 0.0
            for name, colour in SHADES.items():
                axes.barh(line, means[name], left=left, height=0.62, color=colour, linewidth=0)
                left += means[name]
        axes.set_yticks(range(len(rows)), [visible(title) for title, _ in rows], parse_math=False)
        axes.tick_params(axis="y", length=0, pad=9)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("children a parent")
        axes.spines["left"].set_visible(False)
        handles = [Patch(color=colour, label=name) for name, colour in SHADES.items()]
        canvas.legend(handles=handles, frameon=False, fontsize=9, ncols=len(SHADES), loc="outside upper left")
        svg = svg_of(canvas)
    listed = "; ".join(
        f"{title}: " + ", ".join(f"{mean:.2f} {name}" for name, mean in means.items() if mean) for title, means in rows
    )
    return Figure(
        "fission-verdicts",
        svg,
        visible(f"What the children of one parent became, mean over parents and seeds. {listed}."),
        "Of the children of one parent at the run's last step, mean over parents and seeds. New, related: more of it "
        "inside its parent than inside any matched parent, yet too little to be a part of it. Grey children have not "
        "become neurons of their own.",
    )


def _mean(parents: pl.DataFrame, name: str) -> float:
    counts = {
        "new, related": parents["n_related"],
        "new": parents["new"] - parents["n_related"],
    }.get(name)
    return float((parents[name] if counts is None else counts).sum()) / max(parents.height, 1)
