"""4.28: where two features that share neurons are active at once, is what the MLP writes more than their sum?"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.drawing import dots
from analyze.problems.feature_directions import activations_at, features_of
from analyze.problems.subject import Subject
from analyze.statistics import rank_correlation
from train.config import ModelConfig
from train.model import Transformer

LEAST_JOINT = 50
"""Tokens of both features, of each alone, and of neither, that a pair needs."""
LEAST_PAIRS = 30
DRAWS = 500


def measure(subject: Subject) -> Measurement:
    """Rank correlation, over pairs of labels, of the neurons they share and how far they fall short of adding up."""
    pairs = pairs_of(subject, subject.model)
    if len(pairs) < LEAST_PAIRS:
        return Measurement.impossible(
            f"{len(pairs)} pairs of labels with {LEAST_JOINT} joint tokens; needs {LEAST_PAIRS}"
        )
    rng = np.random.default_rng(0)
    shared, interaction = pairs["shared"].to_numpy(), pairs["interaction"].to_numpy()
    null = [rank_correlation(rng.permutation(shared), interaction) for _ in range(DRAWS)]
    untrained = np.nan
    if subject.untrained is not None:
        before = pairs_of(subject, subject.untrained)
        untrained = rank_correlation(before["shared"].to_numpy(), before["interaction"].to_numpy())
    return Measurement(
        statistic=rank_correlation(shared, interaction),
        null=np.array(null),
        untrained=untrained,
        details={"pairs": float(len(pairs)), "median interaction": float(np.median(interaction))},
        tables={"pairs": pairs},
    )


def pairs_of(subject: Subject, model: Transformer) -> pl.DataFrame:
    """Pairs of labels that stand together: first, second, shared (neurons), interaction (of what the MLP writes)."""
    assert subject.rows is not None
    layer = model.config.n_layers - 1
    features = features_of(subject)
    neurons = activations_at(model, subject.rows, layer, "post").double()
    written = activations_at(model, subject.rows, layer, "mlp_out").double()
    half = (torch.arange(len(written)) // (subject.rows.shape[1] - 1)) % 2 == 0  # whole rows: neighbours are alike
    firing = Sums(neurons, features.where, torch.ones_like(half))
    writing = [Sums(written, features.where, part) for part in (half, ~half)]
    found = []
    for i, j in combinations(range(len(features.names)), 2):
        joint = torch.nonzero(features.where[i] & features.where[j])[:, 0]
        cases = [sums.cases(i, j, joint) for sums in writing]
        if min(float(n) for _, counts in cases for n in counts) < LEAST_JOINT // 2:
            continue
        _, first, second, none = (each / n for each, n in zip(*firing.cases(i, j, joint), strict=True))
        shared = float(torch.cosine_similarity((first - none).abs(), (second - none).abs(), dim=0))
        means = [tuple(each / n for each, n in zip(*case, strict=True)) for case in cases]
        found.append((features.names[i], features.names[j], shared, _interaction(means)))
    schema = {"first": pl.String, "second": pl.String, "shared": pl.Float64, "interaction": pl.Float64}
    return pl.DataFrame(found, schema, orient="row")


class Sums:
    """Sums of values over the tokens of a part where a feature stands; of two features, by those where both do.

    Where both stand is few tokens. Sums over the rest follow from sums over one feature and over all, so that no pair
    reads all tokens again.
    """

    def __init__(self, values: Float[Tensor, "t d"], where: Bool[Tensor, "f t"], part: Bool[Tensor, " t"]) -> None:
        self.values, self.part = values, part
        inside = (where & part).double()
        self.total, self.n = values[part].sum(0), float(part.sum())
        self.of_one, self.n_of_one = inside @ values, inside.sum(1)

    def cases(
        self, i: int, j: int, joint: Int[Tensor, " n"]
    ) -> tuple[tuple[Float[Tensor, " d"], ...], tuple[float, ...]]:
        """Sums and numbers of tokens with both, with i alone, with j alone and with neither."""
        joint = joint[self.part[joint]]
        both, n = self.values[joint].sum(0), float(len(joint))
        one, other = self.of_one[i] - both, self.of_one[j] - both
        n_one, n_other = float(self.n_of_one[i]) - n, float(self.n_of_one[j]) - n
        none, n_none = self.total - both - one - other, self.n - n - n_one - n_other
        return (both, one, other, none), (n, n_one, n_other, n_none)


def _interaction(halves: Sequence[tuple[Float[Tensor, " d"], ...]]) -> float:
    """|f(AB) - f(A) - f(B) + f(0)| over |f(A) - f(0)| + |f(B) - f(0)|, squares taken between halves of the rows.

    The product of two halves' estimates is free of the noise of each, which would look like an interaction where few
    tokens bear both; it may fall below 0 by chance.
    """
    parts = [(both - first - second + none, first - none, second - none) for both, first, second, none in halves]
    (i1, a1, b1), (i2, a2, b2) = parts
    size = _root(a1 @ a2) + _root(b1 @ b2)
    return float(_root(i1 @ i2) / size) if size > 0 else 0.0


def _root(square: Tensor) -> float:
    return float(square.clamp(min=0).sqrt())


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Interaction against shared neurons, a dot a pair."""
    caption = (
        "A dot a pair of labels that stand together at 50 tokens or more. 0: what the last MLP writes where both stand "
        "is the sum of what it writes for each. Model corrections and plain saturation both lie above 0."
    )
    return dots(
        ("interference", "interaction against shared neurons", caption),
        measured,
        "shared",
        "interaction",
        xlabel="neurons shared (cosine of |contrasts|)",
        ylabel="interaction, relative",
    )


def planted(seed: int) -> Subject:
    """Neurons that fire more than the sum where two of their features stand; others that one feature drives."""
    return _made_up(seed, shares=True)


def null(seed: int) -> Subject:
    """The same text read by an untrained model, beside another one."""
    return _made_up(seed, shares=False)


def _made_up(seed: int, shares: bool) -> Subject:
    rng = np.random.default_rng(seed)
    config = ModelConfig(n_layers=1, d_model=48, n_heads=2, n_ctx=64, d_vocab=512, act="relu", widths=(64,))
    model = Transformer(config, seed).requires_grad_(False)
    held = rng.random((512, 20)) < 0.15
    rows = torch.from_numpy(rng.integers(0, 512, (120, 65)))
    labels = {f"feature {i}": torch.from_numpy(held[:, i])[rows[:, :-1]] for i in range(20)}
    block = model.block(0)
    directions = np.linalg.qr(rng.standard_normal((48, 48)))[0][:20]
    model.tok_embed.weight.copy_(torch.from_numpy(held @ directions + 0.05 * rng.standard_normal((512, 48))).float())
    model.pos.weight.zero_()
    block.attn.o.weight.zero_()
    if shares:
        drive = np.zeros((64, 20))
        for neuron in range(64):
            if neuron % 2:
                drive[neuron, rng.choice(10, 3, replace=False)] = 1.0  # the first ten features share neurons
            else:
                drive[neuron, 10 + neuron // 2 % 10] = 1.0
        block.mlp.fc_in.weight.copy_(torch.from_numpy(drive @ directions).float())
        shared = torch.arange(64) % 2 == 1
        block.mlp.fc_in.bias.copy_(torch.where(shared, -4.0, 0.0))  # two features at once are more than their sum
    name = "planted" if shares else "untrained"
    before = Transformer(config, seed + 1000).requires_grad_(False)
    before.tok_embed.weight.copy_(model.tok_embed.weight)
    before.pos.weight.zero_()
    return Subject(name, name, seed, model, before, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.28",
    measure=measure,
    rule=Rule(
        says="yes if, over pairs of labels that stand together, the rank correlation of shared neurons and interaction "
        "exceeds that of permuted pairs and of the untrained model by .2, beyond 95 % of the permutations in every "
        "seed, and the whole interval over seeds lies there; no if it lies below .2",
        least=0.2,
    ),
    statistic="Spearman correlation, over pairs of labels, of neurons shared and of how far they are from adding up",
    null="500 permutations of the pairs' shared neurons",
    minutes=0.3,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="neurons that need two of three features at once; untrained models"),
    doubts=(
        "An interaction need not be a correction: a neuron that saturates makes one too.",
        "Labels that stand together may share a cause that is neither of them.",
    ),
)
