"""Figures of probes: AUPRC against the number of neurons, and for how many labels that number is enough."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyze.figures import FAINT, Figure, Styles, look, svg_of
from analyze.probing.label import ENOUGH
from analyze.probing.tables import latest
from analyze.tables import number, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 12
UNTRAINED_DASH = (0, (1.5, 1.5))


def probe_figures(table: pl.DataFrame, styles: Styles) -> tuple[Figure, ...]:
    """The curves of some labels and the sparsity of all; none where every label is too rare.

    Args:
        table: what `read_probes` returns.
        styles: colour and dash of every variant to show.
    """
    shown = latest(table).filter((pl.col("kind") != "NA") & pl.col("variant").is_in(list(styles)))
    if not shown.height:
        return ()
    return (curve_figure(shown, styles), sparsity_figure(shown, styles))


def shown_labels(shown: pl.DataFrame) -> list[str]:
    """At most MOST_PANELS labels: the best probed of each family in turn, so that no family fills the page."""
    dense = shown.filter(pl.col("kind") == "dense")
    best = (
        dense.group_by("label", "family", maintain_order=True)
        .agg(above=(pl.col("auprc") - pl.col("base_rate")).mean())
        .sort("above", "label", descending=[True, False])
        .with_columns(turn=pl.col("above").rank("ordinal", descending=True).over("family"))
        .sort("turn", "above", descending=[False, True], maintain_order=True)
    )
    return best["label"].head(MOST_PANELS).to_list()


def curve_figure(shown: pl.DataFrame, styles: Styles) -> Figure:
    """A panel for each label: AUPRC against k, one line for each variant (mean over seeds), and dense probes as dots.

    Shifted labels are a band.
    """
    from matplotlib.figure import Figure as Canvas

    labels = shown_labels(shown)
    columns = min(4, len(labels))
    lines = -(-len(labels) // columns)
    with look():
        canvas = Canvas(figsize=(2.6 * columns + 0.8, 2.3 * lines + 0.7), layout="constrained")
        grid = canvas.subplots(lines, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(labels):
                axes.set_visible(False)
                continue
            _panel(axes, shown.filter(pl.col("label") == labels[index]), styles)
            axes.set_title(visible(labels[index][:44]), fontsize=9, parse_math=False)
        handles, names = grid[0, 0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
        canvas.supxlabel("neurons of the probe; dot: all of them", fontsize=10)
        canvas.supylabel("AUPRC on eval documents", fontsize=10)
        svg = svg_of(canvas)
    dense = shown.filter(pl.col("kind") == "dense")
    listed = []
    for label in labels:
        arms = dense.filter(pl.col("label") == label).group_by("arm", maintain_order=True)
        listed.append(f"{label}: " + ", ".join(f"{arm} {number(_mean(rows, 'auprc'))}" for (arm,), rows in arms))
    return Figure(
        "probes-curves",
        svg,
        visible(f"AUPRC of sparse probes against their number of neurons. Of dense probes: {'; '.join(listed)}."),
        "Mean over seeds; the labels with the best dense probes, of each family in turn. Dotted lines in a variant's "
        "colour: its untrained network. Grey band: from the worst to the best shifted label of any variant; grey line: "
        "base rate, the AUPRC of knowing nothing.",
    )


def _mean(rows: pl.DataFrame, column: str) -> float | None:
    values = rows[column].drop_nulls().to_numpy()
    return float(values.mean()) if values.size else None


def _panel(axes: "Axes", mine: pl.DataFrame, styles: Styles) -> None:
    sparse = mine.filter(pl.col("kind") == "sparse")
    ks = sparse["k"].unique().sort().to_list()
    shifted = (
        sparse.explode("shifted_auprc", empty_as_null=True)
        .group_by("k")
        .agg(low=pl.col("shifted_auprc").min(), high=pl.col("shifted_auprc").max())
    )
    band = shifted.drop_nulls().sort("k")
    axes.fill_between(band["k"], band["low"], band["high"], color="#BBBBBB", alpha=0.6, linewidth=0)
    axes.axhline(float(mine["base_rate"].to_numpy().mean()), color=FAINT, linewidth=0.8)
    for (variant, arm), rows in mine.group_by("variant", "arm", maintain_order=True):
        colour, dash = styles[str(variant)]
        is_untrained = int(rows["step"][0]) == 0
        line = rows.filter(pl.col("kind") == "sparse").group_by("k").agg(pl.col("auprc").mean()).sort("k")
        axes.plot(
            line["k"],
            line["auprc"],
            color=colour,
            linestyle=UNTRAINED_DASH if is_untrained else dash,
            linewidth=1.1 if is_untrained else 1.7,
            label=visible(str(arm)),
        )
        dense = _mean(rows.filter(pl.col("kind") == "dense"), "auprc")
        if dense is not None:
            axes.plot([2 * ks[-1]], [dense], "o", color=colour, markersize=4, mfc="none" if is_untrained else colour)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks[::2], [str(k) for k in ks[::2]])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)


def sparsity_figure(shown: pl.DataFrame, styles: Styles) -> Figure:
    """Share of the labels that a dense probe finds whose sparsity is at most k: one step line for each variant."""
    from matplotlib.figure import Figure as Canvas

    dense = shown.filter((pl.col("kind") == "dense") & pl.col("is_there"))
    ks = shown.filter(pl.col("kind") == "sparse")["k"].unique().sort().to_list()
    listed = []
    with look():
        canvas = Canvas(figsize=(7.6, 3.6), layout="constrained")
        axes = canvas.subplots()
        for (variant, arm), rows in dense.group_by("variant", "arm", maintain_order=True):
            colour, dash = styles[str(variant)]
            is_untrained = int(rows["step"][0]) == 0
            reached = np.array([np.inf if k is None else k for k in rows["sparsity"].to_list()])
            share = [100 * float((reached <= k).mean()) for k in ks]
            style = UNTRAINED_DASH if is_untrained else dash
            width, name = 1.1 if is_untrained else 1.8, visible(f"{arm} ({rows.height})")
            axes.step(ks, share, where="post", color=colour, linestyle=style, linewidth=width, label=name)
            listed.append(f"{arm}: {share[0]:.0f} % at {ks[0]}, {share[-1]:.0f} % at {ks[-1]}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_ylim(0, 101)
        axes.set_xlabel("neurons")
        axes.set_ylabel("% of labels with at most this sparsity")
        if listed:
            canvas.legend(loc="outside right center", frameon=False, fontsize=9)
        svg = svg_of(canvas)
    return Figure(
        "probes-sparsity",
        svg,
        visible(f"Share of labels for which so many neurons are enough. {'; '.join(listed)}."),
        f"Share of the labels that a dense probe finds (how many, in brackets, all seeds together) of which k neurons "
        f"give {100 * ENOUGH:.0f} % of its AUPRC above the base rate. Dotted: untrained networks.",
    )
