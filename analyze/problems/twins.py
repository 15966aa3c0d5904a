"""4.40: do models that share a start but not the activation share more neurons than chance and other seeds explain?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.neuron_matching import Products, best_match, one_to_one, products
from analyze.problems.subject import Other, Subject
from train.config import ModelConfig
from train.model import Transformer

DRAWS = 10
WIDE, FEW_DRAWS = 1024, 1
"""Of wider layers there are so few rotations: one Hungarian match takes half a minute at 6,400."""
MOST_ROWS = 128
UNIVERSAL = 0.5
"""Excess of a neuron's best match over that with rotated neurons from which it is called universal."""


@dataclass(frozen=True)
class Matched:
    """How alike two models' neurons are."""

    whom: str
    kind: str
    """twin, or other seed."""
    mean: float
    """Of r over partners, one to one."""
    rotated: tuple[float, ...]
    """The same with the other model's neurons rotated, one a draw."""
    universal: float
    """Share of neurons whose best match exceeds that with rotated neurons by .5."""


def measure(subject: Subject) -> Measurement:
    """Mean r of one-to-one partners between the checkpoint and its twins of another activation."""
    assert subject.rows is not None
    twins, seeds = kin_of(subject)
    if not twins:
        return Measurement.impossible("needs a model of the same seed and shape with another activation beside it")
    if not seeds:
        return Measurement.impossible("needs a model of the same activation and shape with another seed beside it")
    rows = subject.rows[:: max(1, len(subject.rows) // MOST_ROWS)][:MOST_ROWS]
    found = [matched(subject.model, each, "twin", rows) for each in twins]
    found += [matched(subject.model, each, "other seed", rows) for each in seeds]

    def mean(kind: str, what: str) -> float:
        return float(np.mean([getattr(each, what) for each in found if each.kind == kind]))

    return Measurement(
        statistic=mean("twin", "mean"),
        null=np.mean([each.rotated for each in found if each.kind == "twin"], axis=0),
        reference=mean("other seed", "mean"),
        details={
            "twins": float(len(twins)),
            "other seeds": float(len(seeds)),
            "universal, twins": mean("twin", "universal"),
            "universal, other seeds": mean("other seed", "universal"),
            **{f"r with {each.whom}": each.mean for each in found},
        },
        tables={
            "matches": pl.DataFrame(
                {
                    "whom": [each.whom for each in found],
                    "kind": [each.kind for each in found],
                    "r": [each.mean for each in found],
                    "rotated": [float(np.mean(each.rotated)) for each in found],
                }
            )
        },
    )


def kin_of(subject: Subject) -> tuple[list[Other], list[Other]]:
    """Of the other checkpoints the twins (same start, other activation) and those of other seeds (same activation)."""
    own = subject.model.config
    alike = [
        each
        for each in subject.others
        if each.from_scratch and subject.from_scratch and _shape(each.config) == _shape(own)
    ]
    twins = [each for each in alike if each.seed == subject.seed and each.config.act != own.act]
    seeds = [each for each in alike if each.seed != subject.seed and each.config.act == own.act]
    return twins, seeds


def _shape(config: ModelConfig) -> tuple[int | tuple[int, ...], ...]:
    return config.n_layers, config.d_model, config.n_heads, config.n_ctx, config.d_vocab, config.widths


def matched(model: Transformer, other: Other, kind: str, rows: Int[Tensor, "row pos_and_one"]) -> Matched:
    """Match the neurons of the last layer with another model's."""
    sums = products(model, other.model(), rows, model.config.n_layers - 1)
    correlations = sums.correlations()
    baseline, draws = _rotations(sums)
    excess = best_match(correlations) - baseline
    whom = other.config.act if kind == "twin" else f"seed {other.seed}"
    return Matched(whom, kind, float(one_to_one(correlations).mean()), draws, float((excess > UNIVERSAL).mean()))


def _rotations(sums: Products) -> tuple[np.ndarray, tuple[float, ...]]:
    n = DRAWS if len(sums.own) <= WIDE else FEW_DRAWS
    turned = [sums.rotated(seed) for seed in range(n)]
    return np.mean([best_match(each) for each in turned], axis=0), tuple(float(one_to_one(t).mean()) for t in turned)


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Mean r of partners: twins, other seeds, rotated twins."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.8 + 0.32 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        for line, each in enumerate(measured):
            table = each.measurement.tables["matches"]
            for kind, colour, label in (("twin", COLOURS[0], "twins"), ("other seed", COLOURS[1], "other seeds")):
                own = table.filter(pl.col("kind") == kind)
                axes.plot(own["r"], [line] * len(own), "o", ms=4, color=colour, label=label if not line else None)
            axes.plot(table["rotated"], [line] * len(table), "|", ms=10, color=FAINT, label=None if line else "rotated")
        axes.set_yticks(range(len(measured)), [each.run for each in measured])
        axes.set(xlabel="mean r of one-to-one partners", xlim=(0, 1))
        if measured:
            axes.legend(frameon=False, fontsize=8)
        svg = svg_of(canvas)
    caption = "A dot a pair of models. Grey: the other model's neurons turned by Haar rotations, which chance explains."
    return [Figure("twins", svg, "correlation of partner neurons between models", caption)]


def planted(seed: int) -> Subject:
    """A twin that shares 40 of 64 neurons; the other seed's model shares none."""
    return _made_up(seed, with_twin=40, with_seed=0)


def null(seed: int) -> Subject:
    """Twin and other seed share 20 of 64 neurons each: what the text alone makes alike."""
    return _made_up(seed, with_twin=20, with_seed=20)


def _made_up(seed: int, with_twin: int, with_seed: int) -> Subject:
    def model(act: str, own_seed: int, shared: int) -> Transformer:
        config = ModelConfig(n_layers=1, d_model=64, n_heads=2, n_ctx=32, d_vocab=256, act=act, widths=(64,))
        made = Transformer(config, own_seed).requires_grad_(False)
        made.tok_embed.weight.copy_(base.tok_embed.weight)
        made.pos.weight.copy_(base.pos.weight)
        made.mlp(0).fc_in.weight[:shared] = base.mlp(0).fc_in.weight[:shared]
        return made

    config = ModelConfig(n_layers=1, d_model=64, n_heads=2, n_ctx=32, d_vocab=256, act="gelu_new", widths=(64,))
    base = Transformer(config, 3 * seed).requires_grad_(False)
    twin, sibling = model("relu", 3 * seed + 1, with_twin), model("gelu_new", 3 * seed + 2, with_seed)
    rows = torch.randint(0, 256, (64, 33), generator=torch.Generator().manual_seed(seed))
    others = (
        Other("twin", "relu", seed, twin.config, True, lambda: twin),
        Other("sibling", "gelu", seed + 1, sibling.config, True, lambda: sibling),
    )
    return Subject("planted", "gelu", seed, base, rows=rows, others=others)


PROBLEM = Problem(
    name="4.40",
    measure=measure,
    rule=Rule(
        says="yes if the mean correlation of one-to-one partners between twins of the same start exceeds that with "
        "rotated neurons and that of other seeds of the same activation by .1, beyond every rotation's 95 % in every "
        "seed, and the whole interval over seeds lies there; no if the whole interval lies below .1",
        least=0.1,
        against_untrained=False,
    ),
    statistic="mean r of one-to-one partner neurons between models of the same start and other activations",
    null="10 Haar rotations of the other model's neurons",
    reference="models of other seeds with the same activation",
    minutes=0.5,
    needs=Needs(attention_only=False, others=True),
    figures=figures,
    trials=Trials(planted, null, says="a twin that shares 40 of 64 neurons; one that shares no more than other seeds"),
    doubts=(
        "Twins begin with the same W_in: what they share may be what neither has unlearned.",
        "Both read the same text: neurons of common tokens look alike in any model, which other seeds stand for.",
    ),
    sources=("Gurnee et al. 2024, arXiv 2401.12181",),
)
