"""4.39: do SoLU models pass features through neurons that are small before the LayerNorm and large after it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.interventions import Change, changed, frozen_scale, losses, read_site
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LOW = 0.1
"""A neuron is low at a token where it is below this share of its own 99.9th percentile before the LayerNorm."""
TOP = 0.999
DRAWS = 20
MOST_ROWS = 64
MOST_VALUES = 2**24
KEPT = (1, 4, 16, 64)
BAND = (0.1, 0.3)
"""Of a neuron's maximum: the low band whose purity is compared before and after the LayerNorm."""
LEAST_IN_BAND = 20
LARGE_EFFECT = 0.9
ONE_NEURON = 0.1


@dataclass(frozen=True)
class Layer:
    """The neurons of the last MLP at every token, with what they add to the logit of the token that comes."""

    mid: Float[Tensor, "token neuron"]
    post: Float[Tensor, "token neuron"]
    scale: Float[Tensor, " token"]
    """1 / sqrt(variance + eps) of the LayerNorm."""
    variance: Float[Tensor, " token"]
    centre: Float[Tensor, " token"]
    towards: Float[Tensor, "token neuron"]
    """What one unit of each neuron after the LayerNorm adds to the coming token's logit over the mean logit, by the
    direct path, at the scale of the last LayerNorm."""
    tokens: Int[Tensor, " token"]

    @property
    def low(self) -> Bool[Tensor, "token neuron"]:
        """Where each neuron is small before the LayerNorm."""
        sizes = self.mid.abs()
        return sizes < LOW * _top(sizes)


def measure(subject: Subject) -> Measurement:
    """Share of what neurons add to the coming token's logit that comes from neurons low before the LayerNorm."""
    model = subject.model
    assert subject.rows is not None
    rows = _spread(subject.rows, model.config.widths[-1])
    layer = layer_of(model, rows)
    low = layer.low
    rng = np.random.default_rng(0)
    null = [low_share(layer, low, mixed_scales(model, layer, rng)) for _ in range(DRAWS)]
    control = next(
        (o for o in subject.others if o.config.act == "gelu_ln" and o.seed == subject.seed and o.from_scratch), None
    )
    reference, beside = nan, {}
    if control is not None:
        twin = control.model()
        theirs = layer_of(twin, rows)
        reference = low_share(theirs, theirs.low, theirs.post)
        beside = _details(twin, rows, theirs)
    untrained = nan
    if subject.untrained is not None:
        before = layer_of(subject.untrained, rows)
        untrained = low_share(before, before.low, before.post)
    own = _details(model, rows, layer)
    return Measurement(
        statistic=low_share(layer, low, layer.post),
        null=np.array(null),
        untrained=untrained,
        reference=reference,
        details={**own, **{f"{name} (gelu_ln)": value for name, value in beside.items()}},
        tables={
            "scales": pl.DataFrame({"scale": layer.scale.numpy(), "low share": _by_token(layer, low).numpy()}),
            "kept": pl.DataFrame(
                {"neurons": list(KEPT), "rise": [own[f"loss kept by {k} strongest a token"] for k in KEPT]}
            ),
        },
        doubts=() if control is not None else ("No gelu_ln model of the same seed stood beside.",),
    )


def _spread(rows: Int[Tensor, "row pos"], width: int) -> Int[Tensor, "row pos"]:
    """Some of the rows, spread evenly; few of a wide layer."""
    n = max(1, min(MOST_ROWS, MOST_VALUES // (rows.shape[1] * width)))
    return rows[:: max(1, len(rows) // n)][:n]


def _top(values: Float[Tensor, "token neuron"]) -> Float[Tensor, " neuron"]:
    """The 99.9th percentile of each neuron."""
    return values.kthvalue(max(1, round(TOP * len(values))), dim=0).values


@torch.no_grad()
def layer_of(model: Transformer, rows: Int[Tensor, "row pos_and_one"]) -> Layer:
    """Read the last MLP on every token that the rows predict."""
    last = model.config.n_layers - 1
    mlp = model.mlp(last)
    assert mlp.ln is not None
    x = torch.cat([read_site(model, chunk, last, "mlp_input").flatten(0, 1) for chunk in rows[:, :-1].split(16)])
    final = torch.cat(
        [read_site(model, chunk, last + 1, "resid_final").flatten(0, 1) for chunk in rows[:, :-1].split(16)]
    )
    mid = mlp.neurons(x[None], "mid")[0]
    variance = mid.var(-1, unbiased=False)
    out_scale = (final.var(-1, unbiased=False) + model.ln_out.eps).rsqrt()
    unembed = model.head.weight - model.head.weight.mean(0)
    wanted = unembed[rows[:, 1:].flatten()] * model.ln_out.weight
    towards = ((wanted - wanted.mean(-1, keepdim=True)) @ mlp.fc_out.weight) * out_scale[:, None]
    return Layer(
        mid=mid,
        post=mlp.ln(mid),
        scale=(variance + mlp.ln.eps).rsqrt(),
        variance=variance,
        centre=mid.mean(-1),
        towards=towards,
        tokens=rows[:, :-1].flatten(),
    )


def mixed_scales(model: Transformer, layer: Layer, rng: np.random.Generator) -> Float[Tensor, "token neuron"]:
    """Neurons after the LayerNorm as they would be were each token's scale that of another token."""
    norm = model.mlp(model.config.n_layers - 1).ln
    assert norm is not None
    scale = layer.scale[torch.from_numpy(rng.permutation(len(layer.scale)))]
    return (layer.mid - layer.centre[:, None]) * scale[:, None] * norm.weight + norm.bias


def _parts(layer: Layer, post: Float[Tensor, "token neuron"]) -> Float[Tensor, "token neuron"]:
    """How much each neuron moves the coming token's logit at each token, away from its mean over tokens."""
    return ((post - post.mean(0)) * layer.towards).abs()


def low_share(layer: Layer, low: Bool[Tensor, "token neuron"], post: Float[Tensor, "token neuron"]) -> float:
    """Share of these movements, over all tokens and neurons, that comes from low neurons."""
    parts = _parts(layer, post)
    return float(torch.where(low, parts, 0.0).double().sum() / parts.double().sum())


def _by_token(layer: Layer, low: Bool[Tensor, "token neuron"]) -> Float[Tensor, " token"]:
    parts = _parts(layer, layer.post)
    return torch.where(low, parts, 0.0).sum(1) / parts.sum(1).clamp(min=1e-12)


def _details(model: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: Layer) -> dict[str, float]:
    """The further signs of smuggling."""
    last = model.config.n_layers - 1
    norm = model.mlp(last).ln
    assert norm is not None
    means = layer.post.mean(0)
    whole = losses(model, rows)
    without = losses(model, rows, [Change(last, "post", means.expand_as)])
    with frozen_scale(model, last, "mlp.ln", float(layer.scale.mean())):
        frozen = losses(model, rows)
    gain = float((without - whole).mean())
    strongest = _parts(layer, layer.post)
    effect = ((layer.post - means) * layer.towards).sum(1).abs()
    large = effect > effect.quantile(LARGE_EFFECT)
    spread = strongest.amax(1) < ONE_NEURON * strongest.sum(1)
    found = {
        "variation of the scale (sd / mean)": float(layer.scale.std() / layer.scale.mean()),
        "share of tokens where epsilon rules": float((layer.variance < norm.eps).float().mean()),
        "loss gained by the MLP": gain,
        "loss with the scale frozen": float((frozen - whole).mean()),
        "purity of low bands, mid": purity(layer.mid, layer.tokens),
        "purity of low bands, post": purity(layer.post, layer.tokens),
        "large effects without a large neuron": float(spread[large].float().mean()),
    }
    for k in KEPT:
        found[f"loss kept by {k} strongest a token"] = float((_keeping(model, rows, means, k) - whole).mean())
    return found


@torch.no_grad()
def _keeping(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], means: Float[Tensor, " neuron"], k: int
) -> Float[Tensor, "row pos"]:
    """Losses where all but the k strongest neurons before the LayerNorm, token by token, are at their mean after it."""
    last = model.config.n_layers - 1
    mlp, seen = model.mlp(last), []

    def note(values: Tensor) -> Tensor:
        seen[:] = [mlp.activation.function(values).abs()]
        return values

    def keep(values: Tensor) -> Tensor:
        top = seen[0].topk(min(k, values.shape[-1]), dim=-1).indices
        return means.expand_as(values).scatter(-1, top, values.gather(-1, top))

    with changed(model, [Change(last, "pre", note), Change(last, "post", keep)]):
        return losses(model, rows)


def purity(values: Float[Tensor, "token neuron"], tokens: Int[Tensor, " token"]) -> float:
    """Median over neurons of the commonest token's share where the neuron is at 10 to 30 % of its maximum."""
    top = _top(values)
    found = []
    for neuron in range(values.shape[1]):
        column = values[:, neuron]
        inside = tokens[(column > BAND[0] * top[neuron]) & (column < BAND[1] * top[neuron])]
        if len(inside) >= LEAST_IN_BAND:
            found.append(float(torch.bincount(inside).max()) / len(inside))
    return float(np.median(found)) if found else nan


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Share of low neurons against the scale of the LayerNorm, and the loss where few neurons are kept."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(8, 3.2), layout="constrained")
        left, right = canvas.subplots(1, 2)
        for i, each in enumerate(measured):
            table, colour = each.measurement.tables["scales"].sort("scale"), COLOURS[i % len(COLOURS)]
            parts = np.array_split(np.arange(len(table)), 12)
            scale, share = table["scale"].to_numpy(), table["low share"].to_numpy()
            left.plot([np.median(scale[p]) for p in parts], [share[p].mean() for p in parts], "o-", ms=3, color=colour)
            kept = each.measurement.tables["kept"]
            right.plot(kept["neurons"], kept["rise"], "o-", ms=3, color=colour, label=each.run)
            right.axhline(each.measurement.details["loss gained by the MLP"], color=FAINT, lw=0.8)
        left.set_xscale("log")
        left.set(xlabel="scale of the LayerNorm at a token", ylabel="share of effect from low neurons", ylim=(0, 1))
        right.set_xscale("log", base=2)
        right.set(xlabel="strongest neurons kept a token", ylabel="rise of the loss, nats", ylim=(0, None))
        if measured:
            right.legend(frameon=False, fontsize=8)
        svg = svg_of(canvas)
    caption = (
        "Left: where the LayerNorm multiplies by much (tokens at which all neurons are small), how much of the effect "
        "on the coming token comes from neurons below 10 % of their own maximum. Right: the rest of the neurons at "
        "their mean; grey: all of them."
    )
    return [Figure("smuggling", svg, "effect of neurons that are low before the LayerNorm", caption)]


def planted(seed: int) -> Subject:
    """Half of the tokens drive all neurons weakly, in a code that only the LayerNorm makes large."""
    return _made_up(seed, strength=0.12)


def null(seed: int) -> Subject:
    """Those tokens drive neurons as strongly as the others."""
    return _made_up(seed, strength=1.0)


def _made_up(seed: int, strength: float) -> Subject:
    n, d = 48, 64
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=32, d_vocab=48, act="solu_ln", widths=(n,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.bias):
        weight.zero_()
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0]
    model.tok_embed.weight.copy_(directions[:48])
    # Of each token the neurons that it drives: two, or all in a code; ln2 gives its direction length sqrt(d).
    drive = torch.zeros((n, 48))
    drive[torch.arange(n), torch.arange(n) % 24] = 6.0
    drive[:, 24:] = 6.0 * strength * torch.randn((n, 24), generator=generator)
    block.mlp.fc_in.weight.copy_(drive @ directions[:48] / d**0.5)
    block.mlp.fc_out.weight.copy_(torch.randn((d, n), generator=generator) / d**0.5)
    model.head.weight.copy_(torch.randn((48, d), generator=generator) / d**0.5)
    rows = torch.randint(0, 48, (64, 33), generator=generator)
    name = "planted" if strength < 1 else "driven alike"
    return Subject(name, name, seed, model, rows=rows)


PROBLEM = Problem(
    name="4.39",
    measure=measure,
    rule=Rule(
        says="yes if neurons below a tenth of their own maximum before the LayerNorm make up at least .1 more of what "
        "neurons add to the coming token's logit than with the scales of other tokens, than in the untrained model and "
        "than in the gelu_ln model of the same seed, beyond 95 % of the draws in every seed, and the whole interval "
        "over seeds lies there; no if the whole interval lies below",
        least=0.1,
    ),
    statistic="share of neurons' direct effect on the coming token's logit from neurons low before the LayerNorm",
    null="20 permutations of the LayerNorm's scales over tokens",
    reference="the gelu_ln model of the same seed, where it was named too",
    minutes=0.5,
    needs=Needs(attention_only=False, activations=("solu_ln",), others=True),
    figures=figures,
    trials=Trials(planted, null, says="half of the tokens read weakly, so that only the LayerNorm makes them large"),
    doubts=(
        "The direct path alone counts: what later layers read is not seen.",
        "The scale follows how common a token is, which alone makes neurons at common tokens low or high.",
    ),
    sources=("Elhage et al. 2022, Softmax Linear Units",),
)
