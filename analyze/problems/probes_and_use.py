"""4.36: for features that several neurons answer to, do probes find what the model uses?

The neurons that a sparse probe chose are set to their mean, and so are as many of those that raise the loss most
alone: the share of the second rise that the first makes says whether what can be read is what is used.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.interventions.carriers import rise_without
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.feature_directions import features_of
from analyze.problems.label_probes import Probes, neurons_at, probed_labels, spread
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_LABELS = 4
MOST_LABELS = 8
PROBED = 32
LEAST_RISE = 0.02
"""Nats a token that the MLP must be worth at a label's tokens."""
SEVERAL, MOST_NEURONS = 2, 16
"""Neurons that a label's probe needs at least, and that are removed at most."""
DRAWS = 20
BINS = 4


def measure(subject: Subject) -> Measurement:
    """Median over labels of what removing the probe's neurons costs, over removing as many that cost most alone."""
    assert subject.rows is not None
    model, features = subject.model, features_of(subject)
    layer, width = model.config.n_layers - 1, model.config.widths[-1]
    if not features.names:
        return Measurement.impossible("no labels with enough tokens")
    numbers = spread(subject)
    rows = subject.rows[numbers]
    chosen = probed_labels(features, numbers, len(subject.rows), PROBED)
    is_fit = (torch.arange(len(rows)) % 2 == 0).repeat_interleave(rows.shape[1] - 1)
    values = neurons_at(model, rows)
    spreads = values.var(0).numpy()
    found, draws = [], []
    rng = np.random.default_rng(0)
    for name, where, curve in zip(chosen.names, chosen.where, Probes(values, chosen.where, is_fit).curves()):
        k = min(curve.needed or MOST_NEURONS, MOST_NEURONS)
        if k < SEVERAL or len(found) == MOST_LABELS:
            continue
        rise = rise_without(model, rows, where.view(len(rows), -1), layer)
        whole = rise(range(width))
        if whole < LEAST_RISE:
            continue
        alone = np.array([rise([neuron]) for neuron in range(width)])
        most = rise(np.argsort(-alone, kind="stable")[:k].tolist())
        if most <= 0:
            continue
        picked = curve.neurons[:k]
        found.append((name, k, rise(picked) / most, most, whole, curve.dense))
        draws.append([rise(like(picked, spreads, rng)) / most for _ in range(DRAWS)])
    if len(found) < LEAST_LABELS:
        return Measurement.impossible(
            f"{len(found)} labels that the MLP matters to have probes of {SEVERAL} neurons or more; "
            f"needs {LEAST_LABELS}"
        )
    table = pl.DataFrame(
        found, ["label", "neurons", "share", "most", "whole", "dense probe"], orient="row"
    ).with_columns(random=pl.Series([float(np.mean(each)) for each in draws]))
    return Measurement(
        statistic=float(np.median([each[2] for each in found])),
        null=np.median(draws, axis=0),
        details={
            "labels": float(len(found)),
            "median neurons of a probe": float(np.median([each[1] for each in found])),
            "share of the whole rise, probe's neurons": float(np.median([e[2] * e[3] / e[4] for e in found])),
            "share of the whole rise, best neurons": float(np.median([e[3] / e[4] for e in found])),
        },
        tables={"labels": table},
    )


def like(picked: Sequence[int], spreads: Float[ndarray, " neuron"], rng: np.random.Generator) -> list[int]:
    """As many other neurons, each of the same quarter by variance as the one that it stands for."""
    order = np.argsort(spreads, kind="stable")
    bins: Int[ndarray, " neuron"] = np.empty(len(order), np.int64)
    for number, part in enumerate(np.array_split(order, BINS)):
        bins[part] = number
    free = set(range(len(order))) - set(picked)
    chosen: list[int] = []
    for neuron in picked:
        pool = sorted(each for each in free if bins[each] == bins[neuron]) or sorted(free)
        if pool:
            chosen.append(int(rng.choice(pool)))
            free.remove(chosen[-1])
    return chosen


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Of each label, the cost of the probe's neurons over that of the costliest ones."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.8 + 0.35 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        for line, each in enumerate(measured):
            table = each.measurement.tables["labels"]
            axes.plot(table["share"], [line] * len(table), "o", ms=4, alpha=0.7, color=COLOURS[0])
            axes.plot(table["random"], [line] * len(table), "|", ms=9, color=FAINT)
        axes.axvline(1, color=FAINT, lw=0.6)
        axes.set_yticks(range(len(measured)), [each.run for each in measured])
        axes.set(xlabel="rise of the loss without the probe's neurons, over that without the costliest")
        svg = svg_of(canvas)
    caption = "A dot a label. Grey strokes: random neurons of like variance, as many."
    return [Figure("use", svg, "what probes find against what the model uses", caption)]


def planted(seed: int) -> Subject:
    """Three neurons a label, one a token of it; they can be read and they say what follows."""
    return _made_up(seed, decoys=False)


def null(seed: int) -> Subject:
    """The neurons that can be read write nothing; others, which answer to more than the label, say what follows."""
    return _made_up(seed, decoys=True)


def _made_up(seed: int, decoys: bool) -> Subject:
    """Ten labels of three tokens; tokens 30 to 39 are their answers."""
    d, width = 64, 72
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=32, d_vocab=40, act="relu", widths=(width,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.weight, block.mlp.fc_out.weight):
        weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0]
    model.tok_embed.weight.copy_(2 * directions[:40])
    model.head.weight.copy_(directions[:40])
    model.head.weight[:30] = 0.0
    drive = torch.eye(30)
    block.mlp.fc_in.weight[:30] += drive @ directions[:30]
    if decoys:
        drive = drive + 0.6 * (torch.rand((30, 30), generator=generator) < 0.3)
        block.mlp.fc_in.weight[30:60] += drive @ directions[:30]
        block.mlp.fc_out.weight[:, :30] = 0.0
    writers = slice(30, 60) if decoys else slice(0, 30)
    block.mlp.fc_out.weight[:, writers] += directions[30 + torch.arange(30) // 3].T
    rows = torch.randint(0, 40, (256, 33), generator=generator)
    for position in range(1, 33):
        before = rows[:, position - 1]
        marked = before < 30
        rows[marked, position] = 30 + before[marked] // 3
    labels = {f"feature {i}": rows[:, :-1] // 3 == i for i in range(10)}
    name = "decoys" if decoys else "planted"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.36",
    measure=measure,
    rule=Rule(
        says="yes if, for labels whose probe needs two neurons or more, removing the probe's neurons raises the loss "
        "at the label's tokens by a share of what the costliest neurons do that exceeds random neurons of like "
        "variance by .3, beyond 95 % of them in every seed, and the whole interval over seeds lies there; no if the "
        "whole interval lies below",
        least=0.3,
        against_untrained=False,
    ),
    statistic="median over labels of the rise without the probe's neurons over that without as many costliest ones",
    null="20 draws of as many random neurons of like variance",
    minutes=0.8,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(
        planted, null, says="neurons that can be read and are used; neurons that can be read and write nothing"
    ),
    doubts=(
        "The costliest neurons are ranked alone: what neurons carry together is not in that order.",
        "Labels are of our bank: which of them are one feature to the model is not known.",
    ),
    sources=("Gurnee et al. 2023, arXiv 2305.01610",),
)
