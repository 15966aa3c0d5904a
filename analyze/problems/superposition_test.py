"""4.45: can one number, effective features over neurons (psi = F / N), tell how much superposition a layer has?

psi is tried where the truth is known, on this checkpoint's own activations: some of its neurons are taken for features
and written into a few dimensions along random directions, from as many features as dimensions to four times as many.
Does psi, which sees the mixture alone, come to the effective number of features that were put in? Dense activations
give a psi, too, and one that rises with what was put in; so a rank correlation (a detail here) does not suffice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.dictionary import Settings, effective_features, fit, gaussian_like, psi_of, shuffled
from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.label_probes import neurons_at
from analyze.problems.subject import Subject
from analyze.statistics import rank_correlation
from train.config import ModelConfig
from train.model import Transformer

DIMENSIONS = 16
FEATURES = (16, 20, 24, 32, 40, 48, 56, 64)
"""Put into these dimensions."""
LATENTS = 96
ACTIVE = 4
"""Latents a token."""
STEPS = 300
TOKENS = 16_384
ORDERS = 200
OWN_NEURONS = 256
"""Of the layer itself; of a wider one psi is taken of so many random neurons."""
MOST_ROWS = 128


@dataclass(frozen=True)
class Mixture:
    """Features in few dimensions."""

    values: Float[Tensor, "token dimension"]
    truth: float
    """Effective number of features over dimensions."""


def measure(subject: Subject) -> Measurement:
    """Share of the truth's variation, in logarithms, that psi accounts for, over mixtures of the own neurons."""
    assert subject.rows is not None
    rows = subject.rows[:: max(1, len(subject.rows) // MOST_ROWS)][:MOST_ROWS]
    neurons = neurons_at(subject.model, rows)[:TOKENS]
    alive = living(neurons)
    if len(alive) < FEATURES[-1]:
        return Measurement.impossible(
            f"{len(alive)} neurons that fire at less than half of the tokens; needs {FEATURES[-1]}"
        )
    table = tried(neurons, alive)
    psi, truth = table["psi"].to_numpy(), table["truth"].to_numpy()
    rng = np.random.default_rng(0)
    own = _of_layer(neurons)
    details = {f"psi of the layer, {name}": value for name, value in own.items()}
    if subject.untrained is not None:
        details["psi of the layer, untrained"] = _of_layer(neurons_at(subject.untrained, rows)[:TOKENS])["trained"]
    return Measurement(
        statistic=accounted(psi, truth),
        null=np.array([accounted(psi, rng.permutation(truth)) for _ in range(ORDERS)]),
        details={
            **details,
            "neurons": float(neurons.shape[1]),
            "Spearman correlation of psi and truth": rank_correlation(psi, truth),
            "psi over truth, median": float(np.median(psi / truth)),
            "unexplained, median": float(np.median(table["unexplained"].to_numpy())),
        },
        tables={"mixtures": table},
    )


def accounted(psi: Float[ndarray, " mixture"], truth: Float[ndarray, " mixture"]) -> float:
    """1 minus the squared error of log psi over the variance of the log truth; 0 where that would be negative."""
    error = np.square(np.log(psi) - np.log(truth)).sum()
    return max(0.0, float(1 - error / np.square(np.log(truth) - np.log(truth).mean()).sum()))


def living(neurons: Float[Tensor, "token neuron"]) -> Int[Tensor, " n"]:
    """Neurons that could be sparse features: above a tenth of their maximum at some tokens, at fewer than half."""
    top = neurons.amax(0)
    rate = (neurons > 0.1 * top).float().mean(0)
    return ((top > 0) & (rate > 0) & (rate < 0.5)).nonzero()[:, 0]


def tried(neurons: Float[Tensor, "token neuron"], alive: Int[Tensor, " n"]) -> pl.DataFrame:
    """psi and truth of every mixture: features, truth, psi, unexplained."""
    found = []
    for seed, n in enumerate(FEATURES):
        mixture = mixed(neurons, alive, n, seed)
        settings = Settings(latents=LATENTS, k=ACTIVE, steps=STEPS)
        psi = psi_of(fit(mixture.values, settings), mixture.values)
        found.append((n, mixture.truth, psi.psi, psi.unexplained))
    return pl.DataFrame(found, ["features", "truth", "psi", "unexplained"], orient="row")


def mixed(neurons: Float[Tensor, "token neuron"], alive: Int[Tensor, " n"], n: int, seed: int) -> Mixture:
    """So many random neurons, each by its own scale and never negative, written along random directions."""
    generator = torch.Generator().manual_seed(seed)
    chosen = alive[torch.randperm(len(alive), generator=generator)[:n]]
    features = neurons[:, chosen].clamp(min=0)
    features = features / features.square().mean(0).sqrt().clamp(min=1e-9)
    directions = torch.randn((n, DIMENSIONS), generator=generator)
    directions = torch.nn.functional.normalize(directions, dim=1)
    return Mixture(features @ directions, effective_features(features) / DIMENSIONS)


def _of_layer(neurons: Float[Tensor, "token neuron"]) -> dict[str, float]:
    """psi of the layer itself, of Gaussian noise with its covariance, and of its neurons shuffled over tokens."""
    if neurons.shape[1] > OWN_NEURONS:
        neurons = neurons[:, torch.randperm(neurons.shape[1], generator=torch.Generator().manual_seed(0))[:OWN_NEURONS]]
    neurons = neurons[:, neurons.var(0) > 0]
    settings = Settings(latents=2 * neurons.shape[1], k=max(1, min(16, neurons.shape[1] // 4)), steps=200, rate=0.005)
    return {
        name: psi_of(fit(values, settings), values).psi
        for name, values in (
            ("trained", neurons),
            ("Gaussian of its covariance", gaussian_like(neurons)),
            ("shuffled", shuffled(neurons)),
        )
    }


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """psi against the truth, a dot a mixture."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(4.6, 3.6), layout="constrained")
        axes = canvas.subplots()
        variants = list(dict.fromkeys(each.variant for each in measured))
        for variant in variants:
            table = pl.concat([each.measurement.tables["mixtures"] for each in measured if each.variant == variant])
            colour = COLOURS[variants.index(variant) % len(COLOURS)]
            axes.plot(table["truth"], table["psi"], "o", ms=3, alpha=0.7, color=colour, label=variant)
        axes.plot([0, 4], [0, 4], color=FAINT, lw=0.8)
        axes.set(xlabel="effective features put in, over dimensions", ylabel="psi of the mixture")
        axes.set(xlim=(0, None), ylim=(0, None))
        if variants:
            axes.legend(frameon=False, fontsize=8)
        svg = svg_of(canvas)
    caption = "A dot a mixture of a checkpoint's own neurons in 16 dimensions. Grey: psi tells the truth."
    return [Figure("psi", svg, "psi against the superposition that was put in", caption)]


def planted(seed: int) -> Subject:
    """Neurons that fire alone, at a twentieth of the tokens: features that a dictionary can take apart."""
    return _made_up(seed, sparse=True)


def null(seed: int) -> Subject:
    """Neurons whose every value is a mixture: what is written has no sparse features to be counted."""
    return _made_up(seed, sparse=False)


def _made_up(seed: int, sparse: bool) -> Subject:
    d, n = 64, 80
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=64, d_vocab=2048, act="relu", widths=(n,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.bias):
        weight.zero_()
    directions = torch.nn.functional.normalize(torch.randn((n, d), generator=generator), dim=1)
    held = (torch.rand((2048, n), generator=generator) < 0.03).float()
    model.tok_embed.weight.copy_(held @ directions + 0.05 * torch.randn((2048, d), generator=generator) / d**0.5)
    if sparse:
        block.mlp.fc_in.weight.copy_(directions)
        block.mlp.fc_in.bias.fill_(-1.5)
    else:
        block.mlp.fc_in.weight.copy_(torch.randn((n, d), generator=generator) / d**0.5)
        model.tok_embed.weight.copy_(torch.randn((2048, d), generator=generator))
    rows = torch.randint(0, 2048, (128, 65), generator=generator)
    name = "planted" if sparse else "dense"
    return Subject(name, name, seed, model, rows=rows)


PROBLEM = Problem(
    name="4.45",
    measure=measure,
    rule=Rule(
        says="yes if psi accounts for .6 more of the variation of the truth, in logarithms, over eight mixtures of one "
        "to four times as many of the checkpoint's neurons as dimensions, than for permuted mixtures, beyond 95 % of "
        "them in every seed, and the whole interval over seeds lies there; no if the whole interval lies below",
        least=0.6,
        against_untrained=False,
    ),
    statistic="share of the variation of log effective features put in that psi accounts for, over mixtures of neurons",
    null="200 permutations of the mixtures",
    minutes=0.7,
    needs=Needs(attention_only=False),
    figures=figures,
    trials=Trials(planted, null, says="neurons that are sparse features; neurons that are dense mixtures"),
    doubts=(
        "Mixtures of neurons along random directions are not what training makes: directions in a layer avoid each "
        "other.",
        "The size of the dictionary drives F: psi of the layer itself compares layers of like dictionaries only.",
    ),
    sources=("Bereska et al. 2025, arXiv 2512.13568",),
)
