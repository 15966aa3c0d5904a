"""The report's loss curves."""

from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import Figure
from analyze.report.base import Folded, Paragraph, Part, Section, Study
from analyze.report.plots import Curve, loss_curves
from analyze.tables import Table, count, number, percent, visible
from train.tracking import METRICS, groups, read_metrics


def _section(study: Study) -> Section:
    none = Paragraph("No metrics.jsonl lies beside these results, so there are no curves.")
    return Section("loss", "Losses", "Losses", (loss_figure(study) or none, *_watched(study)))


def _watched(study: Study) -> Iterator[Folded]:
    """Held-out loss by source and dead neurons at the last evaluation of each run, where metrics.jsonl has them."""
    losses, dead = {}, {}
    for places in study.comparison.results.values():
        for each in next(iter(places.values())).cells:
            lines = read_metrics(each.cell.directory.run_directory / METRICS, "eval")
            last, run = (lines[-1] if lines else {}), each.cell.meta.run
            if sources := groups(last, "by_source", "loss"):
                losses[run] = {"all": number(last["loss"], 3)}
                losses[run] |= {name: number(one["loss"], 3) for name, one in sources.items()}
            if layers := groups(last, "dead", "neurons", "share"):
                dead[run] = {
                    name: f"{count(one['neurons'])} ({percent(one['share'])} %)" for name, one in layers.items()
                }
    tables = (
        ("Held-out loss by source", "Nats a token at each run's last evaluation, by where the text is from.", losses),
        ("Dead neurons", "Neurons whose activation hardly moved over the tokens of each run's last evaluation.", dead),
    )
    shown = tuple(_by_run(title, caption, rows) for title, caption, rows in tables if rows)
    if shown:
        yield Folded(shown)


def _by_run(title: str, caption: str, rows: dict[str, dict[str, str]]) -> Table:
    columns = sorted({name for row in rows.values() for name in row})
    return Table.of(
        title, caption, [(("run", run), *((name, row.get(name, "–")) for name in columns)) for run, row in rows.items()]
    )


def loss_figure(study: Study) -> Figure | None:
    """Loss curves of all runs; None where no metrics.jsonl lies beside the results."""
    firsts = [next(iter(places.values())) for places in study.comparison.results.values()]
    curves = []
    for row in firsts:
        for each in row.cells:
            run = each.cell.directory.run_directory
            train, evaluation = _points(run, "train"), _points(run, "eval")
            if train.size or evaluation.size:
                curves.append(Curve(row.variant, train, evaluation, each.cell.meta.start_hash is not None))
    if not curves:
        return None
    unigram = _shared([row.unigram_loss for row in study.comparison.rows])
    bigram = _shared([row.bigram_loss for row in study.comparison.rows])
    listed = "; ".join(f"{row.variant}: {number(row.eval_loss.mean, 3)}" for row in firsts)
    return Figure(
        "loss",
        loss_curves(curves, study.styles, unigram, bigram),
        visible(f"Loss over tokens. Held-out loss at the end, nats a token: {listed}."),
        "Loss in nats a token (lower is better) over tokens since the run's own start; logarithmic where it trained "
        "from scratch. Thick: held-out text, one line a seed. Thin: training batches, smoothed. Numbers: the first "
        "seed's last evaluation. Two baselines on the same held-out text: guessing each token by its frequency "
        f"(unigram) {number(unigram, 3)}, from the token before it (bigram) {number(bigram, 3)}.",
    )


def _shared(losses: Sequence[float]) -> float:
    """The loss that all runs share; NaN where runs differ."""
    return losses[0] if len(set(losses)) == 1 else nan


def _points(run: Path, kind: str) -> Float[ndarray, "points 2"]:
    pairs = [(line["tokens"], line["loss"]) for line in read_metrics(run / METRICS, kind)]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


PART = Part("losses", 30, _section)
