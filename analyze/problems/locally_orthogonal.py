"""4.26: are features that occur together nearer to orthogonal than features that do not?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.drawing import dots
from analyze.problems.feature_directions import activations_at, cosines_of, directions, features_of, together
from analyze.problems.subject import Subject
from analyze.statistics import rank_correlation
from train.config import ModelConfig
from train.model import Transformer

LEAST_FEATURES = 12
DRAWS = 500
BINS = 4
"""Of frequency, within which features change places in the null."""


def measure(subject: Subject) -> Measurement:
    """Rank correlation of |cosine| and mutual information over pairs of features, in the last residual stream."""
    features = features_of(subject)
    if len(features.names) < LEAST_FEATURES:
        return Measurement.impossible(f"{len(features.names)} labels with enough tokens; needs {LEAST_FEATURES}")
    assert subject.rows is not None
    pmi = together(features)
    cosines = {}
    for name, model in (("trained", subject.model), ("untrained", subject.untrained)):
        if model is not None:
            values = activations_at(model, subject.rows, model.config.n_layers, "resid_final")
            cosines[name] = np.abs(cosines_of(directions(values, features)))
    rng = np.random.default_rng(0)
    rates = features.where.double().mean(1).numpy()
    null = [_correlation(cosines["trained"], _shuffled(pmi, rates, rng)) for _ in range(DRAWS)]
    upper = np.triu_indices(len(features.names), 1)
    return Measurement(
        statistic=_correlation(cosines["trained"], pmi),
        null=np.array(null),
        untrained=_correlation(cosines["untrained"], pmi) if "untrained" in cosines else np.nan,
        details={"features": float(len(features.names)), "median |cosine|": float(np.nanmedian(cosines["trained"]))},
        tables={"pairs": pl.DataFrame({"cosine": cosines["trained"][upper], "pmi": pmi[upper]})},
    )


def _correlation(cosines: Float[ndarray, "f f"], pmi: Float[ndarray, "f f"]) -> float:
    upper = np.triu_indices(len(pmi), 1)
    return rank_correlation(cosines[upper], pmi[upper])


def _shuffled(
    pmi: Float[ndarray, "f f"], rates: Float[ndarray, " f"], rng: np.random.Generator
) -> Float[ndarray, "f f"]:
    """Features change places within bins of like frequency."""
    order = np.argsort(rates)
    place = np.arange(len(rates))
    for part in np.array_split(order, BINS):
        place[part] = rng.permutation(part)
    return pmi[np.ix_(place, place)]


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """|cosine| against mutual information, a dot a pair."""
    caption = "A dot a pair of labels. Were bases locally orthogonal, cosines would fall to the right."
    return dots(
        ("pairs", "cosines of feature directions against how often features stand together", caption),
        measured,
        "pmi",
        "cosine",
        xlabel="pointwise mutual information of two features",
        ylabel="|cosine| of their directions",
    )


def planted(seed: int) -> Subject:
    """Twenty features in two groups: orthogonal within a group, whose features stand together, not between groups."""
    return _made_up(seed, orthogonal_within=True)


def null(seed: int) -> Subject:
    """The same text with random directions."""
    return _made_up(seed, orthogonal_within=False)


def _made_up(seed: int, orthogonal_within: bool) -> Subject:
    rng = np.random.default_rng(seed)
    config = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_ctx=64, d_vocab=256, act="relu", widths=(16,))
    model = Transformer(config, seed).requires_grad_(False)
    for layer in model.layers:
        for parameter in layer.parameters():
            parameter.zero_()
    model.pos.weight.zero_()
    held = np.zeros((256, 20), dtype=bool)
    for token in range(256):
        group = token % 2
        own = rng.random(10) < 0.3
        held[token, 10 * group : 10 * group + 10] = own
        held[token, 10 * (1 - group) : 10 * (1 - group) + 10] = rng.random(10) < 0.03
    if orthogonal_within:
        bases = [np.linalg.qr(rng.standard_normal((16, 16)))[0][:, :10].T for _ in range(2)]
        directions = np.concatenate(bases)
    else:
        directions = rng.standard_normal((20, 16)) / 4
    noise = 0.1 * rng.standard_normal((256, 16))
    model.tok_embed.weight.copy_(torch.from_numpy(held @ directions + noise).float())
    rows = torch.from_numpy(rng.integers(0, 256, (64, 65)))
    labels = {f"feature {i}": torch.from_numpy(held[:, i])[rows[:, :-1]] for i in range(20)}
    name = "planted" if orthogonal_within else "random directions"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.26",
    measure=measure,
    rule=Rule(
        says="yes if the rank correlation of |cosine| and mutual information lies at least .1 below that of features "
        "that changed places, below 95 % of these draws in every seed, and the whole interval over seeds lies there; "
        "no if the whole interval lies above",
        least=0.1,
        higher=False,
    ),
    statistic="Spearman correlation, over pairs of labels, of |cosine| of their directions and mutual information",
    null="500 draws in which labels of like frequency change places",
    minutes=0.3,
    needs=Needs(labels=True),
    figures=figures,
    trials=Trials(planted, null, says="two groups of ten features, orthogonal within a group; random directions"),
    doubts=(
        "The features are our labels: words, places in lines, syntax of code, not what the model itself may have.",
        "Of like features either one or the other stands at a token; they are alike in direction and never together, "
        "which makes the correlation fall without any orthogonal basis.",
    ),
)
