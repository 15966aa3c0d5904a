"""4.31: how many neurons carry a feature, against as many directions of a rotated basis?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.interventions.carriers import Carriers, carriers
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.feature_directions import features_of
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_RISE = 0.02
"""Nats a token by which the loss at a label's tokens must rise without the MLP, or the MLP is not what carries it."""
LEAST_LABELS = 8
MOST_LABELS = 24
ROTATIONS = 3


def measure(subject: Subject) -> Measurement:
    """Median over labels of log2 k50, the number of neurons whose removal makes half of the whole rise of the loss."""
    by_neurons = curves(subject, None)
    if len(by_neurons) < LEAST_LABELS:
        return Measurement.impossible(
            f"the last MLP matters to {len(by_neurons)} labels ({LEAST_RISE} nats a token); needs {LEAST_LABELS}"
        )
    names = list(by_neurons)
    width = subject.model.mlp(subject.model.config.n_layers - 1).fc_in.out_features
    draws = []
    for draw in range(ROTATIONS):
        turned = curves(subject, _rotation(width, draw), names)
        draws.append(float(np.median([_log_k50(turned[name], width) for name in names])))
    own = {name: _log_k50(found, width) for name, found in by_neurons.items()}
    table = pl.DataFrame(
        {
            "label": names,
            "k50": [2 ** own[name] for name in names],
            "k90": [by_neurons[name].needed(0.9) for name in names],
            "gini": [by_neurons[name].gini for name in names],
            "rise": [by_neurons[name].whole for name in names],
        },
        schema_overrides={"k90": pl.Int64},
    )
    return Measurement(
        statistic=float(np.median(list(own.values()))),
        null=np.array(draws),
        details={
            "labels": float(len(names)),
            "median k50": float(2 ** np.median(list(own.values()))),
            "median k50, rotated": float(2 ** np.mean(draws)),
            "median Gini": float(np.nanmedian(table["gini"].to_numpy())),
            "neurons": float(width),
        },
        tables={"labels": table},
    )


def curves(
    subject: Subject, rotation: Float[Tensor, "n n"] | None, names: Sequence[str] | None = None
) -> dict[str, Carriers]:
    """Of each label that the last MLP matters to, what happens as neurons (or rotated directions) are removed."""
    assert subject.rows is not None
    features = features_of(subject)
    width = subject.model.config.widths[-1]
    found: dict[str, Carriers] = {}
    for name, where in zip(features.names, features.where):
        if (names is not None and name not in names) or len(found) == MOST_LABELS:
            continue
        marks = where.view(len(subject.rows), -1)
        layer = subject.model.config.n_layers - 1
        until = 0.9 if rotation is None else 0.5
        result = carriers(
            subject.model, subject.rows, marks, layer, most=width // 2, orders=0, rotation=rotation, until=until
        )
        if names is not None or result.whole >= LEAST_RISE:
            found[name] = result
    return found


def _log_k50(found: Carriers, width: int) -> float:
    """log2 of k50; of the whole width where half of it does not suffice."""
    return float(np.log2(found.needed(0.5) or width))


def _rotation(width: int, seed: int) -> Float[Tensor, "n n"]:
    draw = torch.randn((width, width), generator=torch.Generator().manual_seed(seed))
    q, r = torch.linalg.qr(draw)
    return q * r.diagonal().sign()


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """k50 of every label, by checkpoint, with that of rotated bases."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.5 + 0.35 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        for line, each in enumerate(measured):
            sizes = each.measurement.tables["labels"]["k50"]
            axes.plot(sizes, np.full(len(sizes), line), "o", ms=3, color=COLOURS[0], alpha=0.6)
            axes.plot(2**each.measurement.null, np.full(len(each.measurement.null), line), "|", ms=12, color=FAINT)
        axes.set_xscale("log", base=2)
        axes.set_yticks(range(len(measured)), [each.run for each in measured])
        axes.set(xlabel="k50: neurons whose removal makes half of the whole rise of the loss at a label's tokens")
        svg = svg_of(canvas)
    caption = "A dot a label. Grey strokes: the median over labels in rotated bases."
    return [Figure("carriers", svg, "how many neurons carry each label", caption)]


def planted(seed: int) -> Subject:
    """Every feature has two neurons of its own that say which token follows."""
    return _made_up(seed, own_neurons=True)


def null(seed: int) -> Subject:
    """The same circuit in a rotated basis: its neurons are no better than any other directions."""
    return _made_up(seed, own_neurons=False)


def _made_up(seed: int, own_neurons: bool) -> Subject:
    n, width, d = 10, 64, 64
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=32, d_vocab=40, act="gelu_new", widths=(width,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.weight, block.mlp.fc_out.weight):
        weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0]
    model.tok_embed.weight.copy_(2 * directions[:40])
    model.head.weight.copy_(directions[:40])
    reads, writes = torch.zeros((width, d)), torch.zeros((d, width))
    for feature in range(n):
        for copy in range(2):
            reads[2 * feature + copy] = directions[feature] + directions[20 + feature]
            writes[:, 2 * feature + copy] = 4 * directions[feature + 10]
    # Pre-activations that are far from the bend: turned neurons then compute what the upright ones do.
    turn = torch.eye(width) if own_neurons else _rotation(width, seed + 1000)
    block.mlp.fc_in.bias.fill_(0.0 if own_neurons else 8.0)
    block.mlp.fc_in.weight += turn @ reads
    block.mlp.fc_out.weight += writes @ turn.T
    rows = torch.randint(0, 40, (320, 33), generator=generator)
    for position in range(1, 33):
        feature = rows[:, position - 1] % 20
        marked = feature < n
        rows[marked, position] = feature[marked] + 10
    labels = {f"feature {i}": rows[:, :-1] % 20 == i for i in range(n)}
    name = "planted" if own_neurons else "rotated"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.31",
    measure=measure,
    rule=Rule(
        says="yes (few neurons carry a feature) if the median over labels of log2 k50 lies at least 1 below that of "
        "rotated bases, half as many directions, below every rotation in every seed, and the whole interval over "
        "seeds lies there; no if the whole interval lies above",
        least=1.0,
        higher=False,
        against_untrained=False,
    ),
    statistic="median over labels of log2 k50, the neurons whose removal makes half of the whole rise of the loss",
    null="3 Haar rotations of the layer's neurons, their directions removed in turn",
    minutes=2.0,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="two neurons of its own for every feature; the same in a rotated basis"),
    doubts=(
        "Loss is that of the next token: a feature that serves tokens further on is not seen.",
        "Setting neurons to their mean leaves out what they say together; an order by single effects may miss that.",
    ),
    sources=("Gurnee et al. 2023, arXiv 2305.01610",),
)
