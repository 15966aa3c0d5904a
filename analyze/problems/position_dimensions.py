"""4.24: are some dimensions of the residual stream kept for positions, with little else written there?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.planted import small_model
from analyze.problems.subject import Subject
from train.model import Transformer

VARIANCE = 0.9
"""Share of the positions' variance that their dimensions hold."""
DRAWS = 200


def measure(subject: Subject) -> Measurement:
    """How much less of the token embeddings lies in the positions' dimensions than in as many random ones."""
    rng = np.random.default_rng(0)
    basis, spectrum = position_basis(subject.model)
    k, d = basis.shape[1], basis.shape[0] - 1  # LayerNorm drops the mean over d_model
    writers = {name: share_inside(rows, basis) for name, rows in written(subject.model).items()}
    tokens = _tokens(subject.model)
    draws = [_avoidance(share_inside(tokens, _random(d + 1, k, rng)), k, d) for _ in range(DRAWS)]
    untrained = np.nan
    if subject.untrained is not None:
        own, _ = position_basis(subject.untrained)
        untrained = _avoidance(share_inside(_tokens(subject.untrained), own), own.shape[1], d)
    return Measurement(
        statistic=_avoidance(writers["token embedding"], k, d),
        null=np.array(draws),
        untrained=float(untrained),
        details={
            "dimensions of positions": float(k),
            "of d_model": float(d + 1),
            **{f"share of {name} there, over chance": share * d / k for name, share in writers.items()},
        },
        tables={
            "spectrum": pl.DataFrame({"dimension": np.arange(1, len(spectrum) + 1), "share of variance": spectrum}),
            "writers": pl.DataFrame({"writer": list(writers), "share": list(writers.values()), "chance": k / d}),
        },
    )


def position_basis(model: Transformer) -> tuple[Float[Tensor, "d k"], Float[np.ndarray, " s"]]:
    """An orthonormal basis of what holds 90 % of the variance of W_pos, and the share of each of all s.

    Position 0 is left out, where only BOS stands, and so is the mean over d_model, which LayerNorm drops.
    """
    positions = _centred(model.pos.weight[1:])
    _, sizes, directions = torch.linalg.svd(positions, full_matrices=False)
    shares = (sizes**2 / (sizes**2).sum()).numpy()
    k = int(np.searchsorted(np.cumsum(shares), VARIANCE)) + 1
    return directions[:k].T, shares


def written(model: Transformer) -> dict[str, Float[Tensor, "n d"]]:
    """What writes into the residual stream, one row a vector, centred."""
    rows = {"token embedding": _tokens(model)}
    for layer in range(model.config.n_layers):
        rows[f"attention {layer}"] = _centred(model.block(layer).attn.o.weight.T)
        if model.config.has_mlp:
            rows[f"MLP {layer}"] = _centred(model.mlp(layer).fc_out.weight.T)
    return rows


def share_inside(rows: Float[Tensor, "n d"], basis: Float[Tensor, "d k"]) -> float:
    """Share of the rows' squared length that lies in a subspace."""
    return float((rows @ basis).square().sum() / rows.square().sum())


def _tokens(model: Transformer) -> Float[Tensor, "n d"]:
    return _centred(model.tok_embed.weight)


def _centred(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Less the mean over d_model, then less the mean row."""
    rows = rows.detach().double()
    rows = rows - rows.mean(1, keepdim=True)
    return rows - rows.mean(0)


def _avoidance(share: float, k: int, d: int) -> float:
    """0 at chance, 1 where nothing lies there."""
    return 1 - share * d / k


def _random(d: int, k: int, rng: np.random.Generator) -> Float[Tensor, "d k"]:
    """A random subspace orthogonal to the mean over d_model."""
    draw = torch.from_numpy(rng.standard_normal((d, k)))
    return torch.linalg.qr(draw - draw.mean(0))[0]


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Spectra of positions, and who writes into their dimensions."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(8, 3.2), layout="constrained")
        left, right = canvas.subplots(1, 2)
        variants = list(dict.fromkeys(each.variant for each in measured))
        colour = {variant: COLOURS[i % len(COLOURS)] for i, variant in enumerate(variants)}
        for each in measured:
            table = each.measurement.tables["spectrum"].head(24)
            left.plot(table["dimension"], table["share of variance"].cum_sum(), color=colour[each.variant], lw=1)
            writers = each.measurement.tables["writers"]
            right.plot(writers["share"] / writers["chance"], writers["writer"], "o", ms=4, color=colour[each.variant])
        left.axhline(VARIANCE, color=FAINT, lw=0.8)
        left.set(title="Variance of positions in their first dimensions", xlabel="dimensions", ylim=(0, 1))
        right.axvline(1, color=FAINT, lw=0.8)
        right.set(title="Share written there, over chance", xlim=(0, None))
        svg = svg_of(canvas)
    caption = (
        "Left: how much of W_pos (position 0 left out) lies in its first dimensions, a line a checkpoint; the grey "
        "line is the 90 % that defines the positions' dimensions. Right: share of what each part writes that falls "
        f"into them, over the share of a random subspace (1). Colours: {', '.join(variants)}."
    )
    return [Figure("positions", svg, "spectra of positions, and shares of each writer in their dimensions", caption)]


def planted(seed: int) -> Subject:
    """Positions in 4 dimensions that hold a tenth of what chance would put there of the tokens."""
    model = _small(seed)
    rng = np.random.default_rng(seed)
    basis = _random(model.config.d_model, 4, rng).float()
    model.pos.weight.copy_(torch.from_numpy(rng.standard_normal((model.config.n_ctx, 4))).float() @ basis.T)
    tokens = model.tok_embed.weight
    tokens.sub_(0.7 * tokens @ basis @ basis.T)
    return Subject("planted", "planted", seed, model)


def null(seed: int) -> Subject:
    """An untrained model."""
    return Subject("untrained", "untrained", seed, _small(seed))


def _small(seed: int) -> Transformer:
    return small_model(seed, n_ctx=128, d_vocab=512)


PROBLEM = Problem(
    name="4.24",
    measure=measure,
    rule=Rule(
        says="yes if the dimensions that hold 90 % of the variance of positions hold less than half of what as many "
        "random dimensions hold of the token embeddings, in every seed beyond its null, and the whole interval over "
        "seeds lies there; no if the whole interval lies on the other side",
        least=0.5,
    ),
    statistic="1 minus the share of token embeddings in the positions' dimensions over the share in random ones",
    null="200 random subspaces of the same dimension, orthogonal to the mean that LayerNorm drops",
    minutes=0.02,
    needs=Needs(text=False),
    figures=figures,
    trials=Trials(planted, null, says="positions in 4 of 64 dimensions that tokens mostly avoid; untrained models"),
    doubts=(
        "Positions are learned here, one vector each: models with rotary positions have no W_pos to ask about.",
        "A small share of what is written says nothing about what is read there.",
    ),
    sources=("Yedidia 2023, the helix of GPT-2's positional embeddings",),
)
