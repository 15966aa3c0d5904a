"""4.35: how few neurons does a sparse probe need for a simple feature, against the best neuron and a dense probe?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from analyze.dictionary import Settings, fit
from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.nulls.rotation import haar
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.feature_directions import features_of
from analyze.problems.label_probes import KS, Curve, Probes, neurons_at, probed_labels, shifted_ceiling, spread
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_LABELS = 6
MOST_LABELS = 24
ROTATIONS = 3
WIDEST = 1024
"""A wider layer gets no autoencoder here: it would take minutes."""


def measure(subject: Subject) -> Measurement:
    """Median over labels of log2 k, the neurons of the smallest probe that does 90 % of what a dense one does."""
    assert subject.rows is not None
    features = features_of(subject)
    if len(features.names) < LEAST_LABELS:
        return Measurement.impossible(f"{len(features.names)} labels with enough tokens; needs {LEAST_LABELS}")
    numbers = spread(subject)
    rows = subject.rows[numbers]
    chosen = probed_labels(features, numbers, len(subject.rows), MOST_LABELS)
    is_fit = (torch.arange(len(rows)) % 2 == 0).repeat_interleave(rows.shape[1] - 1)
    values = neurons_at(subject.model, rows)
    ceiling = shifted_ceiling(values, chosen.where, is_fit)
    all_curves = Probes(values, chosen.where, is_fit).curves()
    there = [i for i, curve in enumerate(all_curves) if curve.dense > max(ceiling[i], curve.base)]
    if len(there) < LEAST_LABELS:
        return Measurement.impossible(
            f"dense probes find {len(there)} labels better than shifted ones; needs {LEAST_LABELS}"
        )
    where = chosen.where[there]
    curves = [all_curves[i] for i in there]
    width = values.shape[1]
    rotated = []
    for draw in range(ROTATIONS):
        turned = Probes(values @ haar(width, draw).float(), where, is_fit).curves()
        rotated.append(_median(turned, width))
    untrained = np.nan
    if subject.untrained is not None:
        untrained = _median(Probes(neurons_at(subject.untrained, rows), where, is_fit).curves(), width)
    details = {
        "labels": float(len(curves)),
        "median k": float(2 ** _median(curves, width)),
        "median k, rotated": float(2 ** np.mean(rotated)),
        "best neuron (median average precision)": float(np.median([c.best_neuron for c in curves])),
        **{f"{k} neurons": float(np.median([c.sparse[i] for c in curves])) for i, k in enumerate(KS[: _n_ks(width)])},
        "all neurons": float(np.median([c.dense for c in curves])),
        "8 neurons less the best one, paired": float(np.median([c.sparse[:4][-1] - c.best_neuron for c in curves])),
    }
    if width <= WIDEST:
        settings = Settings(latents=2 * width, k=max(1, min(16, width // 16)), steps=300, rate=0.005)
        latents = Probes(fit(values[is_fit], settings).latents(values), where, is_fit).best_column()
        details["best latent less the best neuron, paired"] = float(
            np.median([latent - c.best_neuron for latent, c in zip(latents, curves)])
        )
    table = pl.DataFrame(
        [
            {"label": chosen.names[i], "k": _needed(c, width), "best neuron": c.best_neuron, "dense": c.dense}
            | {f"k = {k}": value for k, value in zip(KS, c.sparse)}
            for i, c in zip(there, curves)
        ]
    )
    return Measurement(
        statistic=_median(curves, width),
        null=np.array(rotated),
        untrained=untrained,
        details=details,
        tables={"labels": table},
    )


def _n_ks(width: int) -> int:
    return sum(k <= width for k in KS)


def _needed(curve: Curve, width: int) -> int:
    """As many as there are neurons where no sparse probe suffices."""
    return curve.needed or width


def _median(curves: Sequence[Curve], width: int) -> float:
    return float(np.median([np.log2(_needed(curve, width)) for curve in curves]))


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Average precision by the number of neurons, median over labels."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(5.5, 3.4), layout="constrained")
        axes = canvas.subplots()
        variants = list(dict.fromkeys(each.variant for each in measured))
        for each in measured:
            table, colour = each.measurement.tables["labels"], COLOURS[variants.index(each.variant) % len(COLOURS)]
            ks = [k for k in KS if f"k = {k}" in table.columns]
            axes.plot(
                ks,
                [np.median(table[f"k = {k}"].to_numpy()) for k in ks],
                "o-",
                ms=3,
                color=colour,
                lw=1,
                label=each.run,
            )
            axes.plot(1, np.median(table["best neuron"].to_numpy()), "_", ms=12, color=colour)
            axes.axhline(float(np.median(table["dense"].to_numpy())), color=FAINT, lw=0.6)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="neurons of the probe", ylabel="average precision, median label", ylim=(0, 1))
        if measured:
            axes.legend(frameon=False, fontsize=7)
        svg = svg_of(canvas)
    caption = "A line a checkpoint. Strokes: the best neuron. Grey: a probe of all neurons."
    return [Figure("probes", svg, "what probes of few neurons find", caption)]


def planted(seed: int) -> Subject:
    """Every label has a neuron of its own, though several labels stand at a token."""
    return _made_up(seed, own_neurons=True)


def null(seed: int) -> Subject:
    """The same in a rotated basis."""
    return _made_up(seed, own_neurons=False)


def _made_up(seed: int, own_neurons: bool) -> Subject:
    d, n, width = 48, 20, 64
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=64, d_vocab=512, act="gelu_new", widths=(width,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight):
        weight.zero_()
    held = (torch.rand((512, n), generator=generator) < 0.2).float()
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0][:n]
    model.tok_embed.weight.copy_(held @ directions + 0.05 * torch.randn((512, d), generator=generator))
    reads = 0.02 * torch.randn((width, d), generator=generator)
    reads[:n] += directions
    # Pre-activations that are far from the bend: turned neurons then compute what the upright ones do.
    block.mlp.fc_in.weight.copy_(reads if own_neurons else haar(width, seed + 1000).float() @ reads)
    block.mlp.fc_in.bias.fill_(0.0 if own_neurons else 8.0)
    rows = torch.randint(0, 512, (128, 65), generator=generator)
    labels = {f"feature {i}": held[:, i].bool()[rows[:, :-1]] for i in range(n)}
    name = "planted" if own_neurons else "rotated"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.35",
    measure=measure,
    rule=Rule(
        says="yes (few neurons suffice) if the median over labels of log2 k, for 90 % of a dense probe, lies at least "
        "1 below that of rotated bases and of the untrained model, half as many, below 95 % of the rotations in every "
        "seed, and the whole interval over seeds lies there; no if the whole interval lies above",
        least=1.0,
        higher=False,
    ),
    statistic="median over labels of log2 k, the neurons of the smallest probe with 90 % of a dense probe's precision",
    null="3 Haar rotations of the layer's neurons",
    minutes=0.7,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="a neuron of its own for every label; the same in a rotated basis"),
    doubts=(
        "A probe says what can be read, not what the model uses: 4.36 asks that.",
        "Probes are linear discriminants of one layer; tokens can be read off an untrained model, which is why it "
        "counts as chance.",
    ),
    sources=("Gurnee et al. 2023, arXiv 2305.01610",),
)
