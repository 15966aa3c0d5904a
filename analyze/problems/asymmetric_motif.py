"""4.34: does an MLP hold the toy models' asymmetric motif, with its inhibitor?

In the toys a neuron that two features share is driven strongly by one and writes it weakly, is driven weakly by the
other and writes it strongly; what the first then writes of the second by mistake, an inhibitor takes away. Directions
in are those of labels in what the MLP reads; directions out are the unembeddings of the tokens that follow a label.
Neither is made from neurons.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.feature_directions import Features, activations_at, directions, features_of
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_FEATURES = 6
STRONG = 1.5
"""In root mean squares over features and neurons: a strength from which a neuron is driven or writes strongly."""
WEAK = 0.4
"""From which it does so at all; in between it does so weakly."""
DRAWS = 1000
BINS = 4
"""Of the length of W_out's columns, within which neurons change places in the null."""

Strengths = Float[ndarray, "feature neuron"]
Roles = Bool[ndarray, "feature neuron"]


def measure(subject: Subject) -> Measurement:
    """log2 of 1 + the number of motifs: feature, feature and shared neuron, with an inhibitor."""
    features = features_of(subject)
    if len(features.names) < LEAST_FEATURES:
        return Measurement.impossible(f"{len(features.names)} labels with enough tokens; needs {LEAST_FEATURES}")
    driven, written = strengths(subject, subject.model, features)
    found = motifs(driven, written)
    lengths = _w_out(subject.model).norm(dim=0).numpy()
    rng = np.random.default_rng(0)
    null = [np.log2(1 + n_motifs(driven, written[:, _within_bins(lengths, rng)])) for _ in range(DRAWS)]
    untrained = np.nan
    if subject.untrained is not None:
        untrained = float(np.log2(1 + n_motifs(*strengths(subject, subject.untrained, features))))
    first, second, neuron = np.nonzero(found)
    names = np.array(features.names)
    return Measurement(
        statistic=float(np.log2(1 + found.sum())),
        null=np.array(null),
        untrained=untrained,
        details={
            "motifs": float(found.sum()),
            "motifs, permuted (mean)": float(np.mean(2 ** np.array(null) - 1)),
            "neurons in a motif": float(len(np.unique(neuron))),
            "shared without an inhibitor": shared(driven, written) - float(found.sum()),
            "features": float(len(features.names)),
        },
        tables={
            "motifs": pl.DataFrame(
                {
                    "strong in": names[first],
                    "strong out": names[second],
                    "neuron": neuron,
                    "in, first": driven[first, neuron],
                    "in, second": driven[second, neuron],
                    "out, first": written[first, neuron],
                    "out, second": written[second, neuron],
                },
                schema_overrides={"strong in": pl.String, "strong out": pl.String, "neuron": pl.Int64},
            )
        },
    )


def strengths(subject: Subject, model: Transformer, features: Features) -> tuple[Strengths, Strengths]:
    """How strongly each feature drives each neuron, and how strongly the neuron writes what follows it.

    Each in units of its root mean square over all features and neurons.
    """
    assert subject.rows is not None
    layer = model.config.n_layers - 1
    read = directions(activations_at(model, subject.rows, layer, "mlp_input"), features)
    unembed = (model.head.weight - model.head.weight.mean(0)) * model.ln_out.weight
    after = subject.rows[:, 1:].flatten()
    everywhere = torch.bincount(after, minlength=len(unembed)).double() / len(after)
    follow = torch.stack(
        [torch.bincount(after[where], minlength=len(unembed)) / where.sum() for where in features.where]
    )
    towards = (follow.double() - everywhere) @ unembed.double()
    driven = torch.nn.functional.normalize(read, dim=1) @ model.mlp(layer).fc_in.weight.double().T
    written = torch.nn.functional.normalize(towards, dim=1) @ _w_out(model)
    return _in_units(driven), _in_units(written)


def _w_out(model: Transformer) -> Float[Tensor, "d neuron"]:
    return model.mlp(model.config.n_layers - 1).fc_out.weight.detach().double()


def _in_units(values: Float[Tensor, "feature neuron"]) -> Strengths:
    return (values / values.square().mean().sqrt()).numpy()


def _roles(driven: Strengths, written: Strengths) -> tuple[Roles, Roles]:
    """Where a neuron is strong in and weak out for a feature, and where it is weak in and strong out."""
    strong_in, weak_in = driven > STRONG, (driven > WEAK) & (driven < STRONG)
    strong_out, weak_out = written > STRONG, (written > WEAK) & (written < STRONG)
    return strong_in & weak_out, weak_in & strong_out


def _inhibited(driven: Strengths, written: Strengths) -> Bool[ndarray, "feature feature"]:
    """Whether a neuron is driven strongly by the first feature and writes strongly against the second."""
    return (driven > STRONG).astype(np.float32) @ (written < -STRONG).astype(np.float32).T > 0


def motifs(driven: Strengths, written: Strengths) -> Bool[ndarray, "feature feature neuron"]:
    """First feature (strong in), second (strong out) and the neuron they share, where an inhibitor stands by."""
    first, second = _roles(driven, written)
    return first[:, None] & second[None] & _inhibited(driven, written)[:, :, None]


def shared(driven: Strengths, written: Strengths) -> float:
    """Neurons that two features share in the asymmetric way, with an inhibitor or without, each pair counted."""
    first, second = _roles(driven, written)
    return float((first.astype(np.float32) @ second.astype(np.float32).T).sum())


def n_motifs(driven: Strengths, written: Strengths) -> float:
    """As many as `motifs` marks, without holding them."""
    first, second = _roles(driven, written)
    pairs = first.astype(np.float32) @ second.astype(np.float32).T
    return float(pairs[_inhibited(driven, written)].sum())


def _within_bins(lengths: Float[ndarray, " neuron"], rng: np.random.Generator) -> ndarray:
    """Neurons in an order in which only those of like length change places."""
    place = np.arange(len(lengths))
    for part in np.array_split(np.argsort(lengths, kind="stable"), BINS):
        place[part] = rng.permutation(part)
    return place


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Motifs counted, with the permutations' range."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.8 + 0.35 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        for line, each in enumerate(measured):
            low, high = np.quantile(each.measurement.null, [0.025, 0.975])
            axes.plot([low, high], [line, line], "-", lw=5, color=FAINT, alpha=0.5, solid_capstyle="butt")
            axes.plot(each.measurement.statistic, line, "o", ms=6, color=COLOURS[0])
            axes.plot(each.measurement.untrained, line, "x", ms=6, color=COLOURS[1])
        axes.set_yticks(range(len(measured)), [each.run for each in measured])
        axes.set(xlabel="log2 (1 + motifs)", xlim=(0, None))
        svg = svg_of(canvas)
    caption = "Dots: the model. Grey: 95 % of 1,000 permutations of W_out within bins of length. Crosses: untrained."
    return [Figure("motifs", svg, "asymmetric motifs against permuted output weights", caption)]


def planted(seed: int) -> Subject:
    """Twelve neurons of 48 are shared in the asymmetric way, with an inhibitor for each pair."""
    return _made_up(seed, motifs_there=True)


def null(seed: int) -> Subject:
    """The same neurons in, the same neurons out, each paired with another."""
    return _made_up(seed, motifs_there=False)


def _made_up(seed: int, motifs_there: bool) -> Subject:
    d, n, features = 64, 64, 12
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=32, d_vocab=48, act="relu", widths=(n,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight):
        weight.zero_()
    basis = torch.linalg.qr(torch.randn((d, d), generator=generator))[0]
    model.tok_embed.weight.copy_(2 * basis[:48])
    model.head.weight.copy_(basis[:48])
    into, out = (
        0.15 * torch.randn((n, features), generator=generator),
        0.15 * torch.randn((n, features), generator=generator),
    )
    for pair in range(features):
        first, second = pair, (pair + 5) % features
        into[pair, first], into[pair, second] = 2.0, 0.5
        out[pair, first], out[pair, second] = 0.5, 2.0
        into[features + pair, first], out[features + pair, second] = 2.0, -2.0
    if not motifs_there:
        out = out[torch.randperm(n, generator=generator)]
    # Token 2f and 2f + 1 bear feature f; 24 + f follows them.
    marks = (basis[0 : 2 * features : 2] + basis[1 : 2 * features : 2]) / 2**0.5
    block.mlp.fc_in.weight.copy_(into @ marks)
    block.mlp.fc_out.weight.copy_((out @ basis[24 : 24 + features]).T)
    rows = torch.randint(0, 48, (256, 33), generator=generator)
    for position in range(1, 33):
        before = rows[:, position - 1]
        marked = before < 2 * features
        rows[marked, position] = 24 + before[marked] // 2
    labels = {f"feature {i}": rows[:, :-1] // 2 == i for i in range(features)}
    name = "planted" if motifs_there else "paired otherwise"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.34",
    measure=measure,
    rule=Rule(
        says="yes if log2 of 1 + the motifs exceeds that of permuted output weights, and that of the untrained model, "
        "by .58 (half as many again), beyond 95 % of the permutations in every seed, and the whole interval over seeds "
        "lies there; no if the whole interval lies below",
        least=0.58,
    ),
    statistic="log2 of 1 + the asymmetric motifs with an inhibitor, over pairs of labels and neurons",
    null="1,000 permutations of W_out's columns within four bins of their length",
    minutes=0.4,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="12 shared neurons with inhibitors; the same weights paired otherwise"),
    doubts=(
        "Strengths are read off weights: whether the neurons are ever active together is not asked.",
        "What follows a label stands for what the model says of it: a feature may serve something else.",
    ),
    sources=("Elhage et al. 2022, Toy Models of Superposition, on computing absolute values",),
)
