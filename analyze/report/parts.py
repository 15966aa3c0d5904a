"""The report's figures: what is read from a comparison, captions, and words for who cannot see them."""

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyze.activations.directory import ResultDirectory
from analyze.comparison.comparison import Comparison
from analyze.comparison.results import Cell, untrained_cells, untrained_of
from analyze.comparison.summary import NULLS_SHOWN, Judge, over_clusters
from analyze.comparison.wording import place
from analyze.figures import Figure
from analyze.report import plots
from analyze.scores.k_eff import MONO
from analyze.tables import number, visible
from train.tracking import read_metrics


def _or_nan(value: float | None) -> float:
    return nan if value is None else float(value)


def _dot(row: dict[str, Any], key: str, scale: float, seeds: str = "", nulls: str = "") -> plots.Dot:
    return plots.Dot(
        title=place(row),
        variant=row["variant"],
        mean=scale * _or_nan(row[key]),
        low=scale * _or_nan(row[f"{key}_low"]) if f"{key}_low" in row else nan,
        high=scale * _or_nan(row[f"{key}_high"]) if f"{key}_high" in row else nan,
        seeds=tuple(scale * float(value) for value in row[seeds].split()) if seeds else (),
        nulls={null: scale * _or_nan(row[f"{nulls}_{null}_share"]) for null in NULLS_SHOWN} if nulls else {},
    )


def share_figure(comparison: Comparison, judge: Judge, styles: dict[str, Any]) -> Figure:
    """Monosemantic share and number of every variant, beside chance."""
    name = judge.name
    rows = list(comparison.rows.iter_rows(named=True))
    shares = [_dot(row, f"{name}_mono_share", 100.0, f"{name}_mono_share_by_seed", name) for row in rows]
    numbers = [_dot(row, f"{name}_mono_once", 1.0) for row in rows]
    panels = [
        (f"% of judged neurons mono by {judge.title}", shares),
        ("mono neurons, duplicates once", numbers),
    ]
    listed = "; ".join(f"{dot.title}: {dot.mean:.1f} %" for dot in shares)
    marks = ", ".join(f"{plots.NULL_STYLES[null].called}: {shown.phrase}" for null, shown in NULLS_SHOWN.items())
    return Figure(
        "mono-share",
        plots.dot_plot(panels, styles),
        visible(f"Share of judged neurons called monosemantic by {judge.title}. {listed}."),
        "Left: share of judged neurons called monosemantic; dot: mean over seeds, line: 95 % t interval over seeds "
        f"(none with one seed), ticks: single seeds; {marks}. Right: how many, each cluster of duplicates once.",
    )


def _points(run_results: Path, kind: str) -> np.ndarray:
    lines = read_metrics(run_results / "metrics.jsonl", kind)
    pairs = [(line["tokens"], line["loss"]) for line in lines]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def loss_figure(
    finals: dict[str, dict[tuple[int, str], dict[int, Cell]]], comparison: Comparison, styles: dict[str, Any]
) -> Figure | None:
    """Loss curves of all runs; None where no metrics.jsonl lies beside the results."""
    curves = []
    for variant in styles:
        by_seed = next(iter(finals[variant].values()))
        for cell in by_seed.values():
            run = ResultDirectory.of(cell.directory).run_directory
            train, evaluation = _points(run, "train"), _points(run, "eval")
            if train.size or evaluation.size:
                curves.append(plots.Curve(variant, train, evaluation, cell.meta["start_run"] is not None))
    if not curves:
        return None
    unigram, bigram = comparison.facts["unigram_loss"], comparison.facts["bigram_loss"]
    rows = comparison.rows.unique("variant", keep="first", maintain_order=True).iter_rows(named=True)
    listed = "; ".join(f"{row['variant']}: {number(row['eval_loss'], 3)}" for row in rows)
    return Figure(
        "loss",
        plots.loss_curves(curves, styles, unigram, bigram),
        visible(f"Loss over tokens. Held-out loss at the end, nats a token: {listed}."),
        "Loss in nats a token over tokens since the run's own start (logarithmic where it trained from "
        "scratch). Thick: held-out text, "
        "one line a "
        "seed; thin: training batches, smoothed. Numbers: the first seed's last evaluation. Baselines on "
        "the same "
        f"held-out rows: unigram {number(unigram, 3)}, bigram {number(bigram, 3)}.",
    )


def score_figure(
    comparison: Comparison,
    finals: dict[str, dict[tuple[int, str], dict[int, Cell]]],
    cells: Sequence[Cell],
    styles: dict[str, Any],
) -> Figure:
    """K_eff of every variant, trained and of its nulls."""
    births = untrained_cells(cells)
    distributions = []
    for variant in styles:
        for (layer, hook), by_seed in finals[variant].items():
            held = [(cell, untrained_of(cell, births)) for cell in by_seed.values()]
            nulls = {"untrained": [_judged(birth, "none") for _, birth in held if birth is not None]}
            nulls |= {null: [_judged(cell, null) for cell, _ in held] for null in NULLS_SHOWN if null not in nulls}
            trained = _joined([_judged(cell, "none") for cell, _ in held])
            chance = {null: _joined(parts) for null, parts in nulls.items()}
            distributions.append(plots.Distribution(f"{variant} L{layer}.{hook}", variant, trained, chance))
    svg = plots.score_distributions(distributions, styles, MONO, "K_eff")
    listed = "; ".join(
        f"{each.title}: median {np.median(each.trained):.2f}" for each in distributions if each.trained.size
    )
    return Figure(
        "k-eff",
        svg,
        visible(f"Cumulative distribution of K_eff. {listed}."),
        f"Cumulative share of judged neurons with at most this K_eff (logarithmic), all seeds together, each "
        f"cluster of duplicates once. Left of the dotted line at {MONO} a neuron is called monosemantic. A trained "
        "curve that runs with those of its nulls has shown nothing.",
    )


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)


def _judged(cell: Cell, null: str) -> np.ndarray:
    """K_eff of the judged neurons, each cluster of duplicates once."""
    rows = cell.neurons(null).filter(pl.col("k_eff_mono").is_not_null())
    return over_clusters(rows, "k_eff").to_numpy()


def widened_figures(comparison: Comparison, judge: Judge, styles: dict[str, Any]) -> tuple[Figure, ...]:
    """Monosemantic neurons and losses of what starts from a checkpoint; none where nothing does."""
    if not comparison.arms.height:
        return ()
    rows = list(comparison.arms.iter_rows(named=True))
    shares = [_dot(row, f"{judge.name}_mono_once_share", 100.0) for row in rows]
    numbers = [_dot(row, f"{judge.name}_mono_once", 1.0) for row in rows]
    neurons = plots.dot_plot([("% mono, duplicates once", shares), ("mono neurons, duplicates once", numbers)], styles)
    firsts = [row for index, row in enumerate(rows) if row["variant"] not in {r["variant"] for r in rows[:index]}]
    births = [(row["variant"], row["variant"], _or_nan(row["birth_loss"]), _or_nan(row["eval_loss"])) for row in firsts]
    started = [line for row, line in zip(firsts, births) if row["start_runs"]]
    listed = "; ".join(f"{dot.title}: {dot.mean:.1f} %" for dot in shares)
    ends = "; ".join(f"{title}: {birth:.3f} to {end:.3f}" for title, _, birth, end in started)
    return (
        Figure(
            "widened-mono",
            neurons,
            visible(f"Monosemantic share with duplicates counted once. {listed}."),
            "The parent, and the variants that start from it. Each cluster of duplicates counts once: "
            "right after "
            "widening, copies share their parent's activations, so that only neurons that grew apart "
            "count as new. "
            "Line: 95 % t interval over seeds.",
        ),
        Figure(
            "widened-loss",
            plots.loss_change(started, styles),
            visible(f"Held-out loss at birth and at the end. {ends}."),
            "Mean over seeds. An exact widening is born at its parent's loss; what a control reaches by "
            "training "
            "on, widening cannot claim.",
        ),
    )
