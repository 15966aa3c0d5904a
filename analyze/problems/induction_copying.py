"""4.21: in how few dimensions of an induction head's value does the identity of the copied token lie?"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyze.figures import Figure
from analyze.interventions import Change, read_site
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.components import Components, first_with, rotations
from analyze.problems.drawing import curves
from analyze.problems.heads import Head, Repeated, gain_of, heads_of, repeated_rows
from analyze.problems.planted_induction import FEW, induction_subject
from analyze.problems.subject import Subject
from train.model import Transformer

DRAWS = 50
SHARE = 0.9
LEAST_ACCURACY = 5.0
"""Times chance: a head that copies less well does not copy."""


def measure(subject: Subject) -> Measurement:
    """Share of the head's dimensions that give 90 % of the accuracy with which its value tells the token."""
    assert subject.rows is not None
    repeated = repeated_rows(subject.rows)
    if not repeated:
        return Measurement.impossible("held-out rows have too few distinct tokens to repeat")
    heads = heads_of(subject.model, repeated)
    head = heads.best_induction
    place = {"layer": float(head.layer), "head": float(head.index)}
    found = {"gain, nats": heads.gain, "induction score": head.score, **place}
    if why := heads.why_no_induction():
        return Measurement.impossible(why, **found)
    model, longer = subject.model, repeated[0]
    values, tokens = values_of(model, longer, head), longer.rows[:, longer.first]
    readers = readers_of(model, head)
    components = Components.of(values.flatten(0, 1), readers[tokens.unique()])
    d_head, chance = values.shape[-1], 1 / longer.length
    curve = accuracies(values, readers[tokens], components, None)
    if curve[-1] < LEAST_ACCURACY * chance:
        return Measurement.impossible(
            f"head {head.name} attends as an induction head but its value tells {curve[-1]:.0%} of tokens "
            f"({chance:.0%} by chance)",
            **found,
        )
    random = np.array([accuracies(values, readers[tokens], components, each) for each in rotations(d_head, DRAWS)])
    k90 = first_with(curve, SHARE)
    return Measurement(
        statistic=k90 / d_head,
        null=np.array([first_with(each, SHARE) / d_head for each in random]),
        details={
            **found,
            "tokens told apart, all dimensions": float(curve[-1]),
            "tokens told apart, by chance": chance,
            "dimensions for 90 %": float(k90),
            "d_head": float(d_head),
            "gain kept with these": _gain_kept(model, repeated, head, components, k90, heads.gain),
            "copying eigenvalues, positive share": copying_share(values, readers[tokens]),
            "tokens told apart, untrained": _untrained(subject.untrained, longer),
        },
        tables={"curve": pl.DataFrame({"k": np.arange(1, d_head + 1), "largest": curve, "random": random.mean(0)})},
    )


@torch.no_grad()
def values_of(model: Transformer, each: Repeated, head: Head) -> Float[Tensor, "row pos d_head"]:
    """What a head would gather from each token of the first occurrence, less the mean over tokens."""
    attention = model.block(head.layer).attn
    read = read_site(model, each.rows[:, :-1], head.layer, "attn_input")[:, each.first]
    values = rearrange(attention.v(read), "r p (h d) -> h r p d", h=attention.n_heads)[head.index].double()
    return values - values.mean((0, 1))


@torch.no_grad()
def readers_of(model: Transformer, head: Head) -> Float[Tensor, "token d_head"]:
    """How a head's value moves the logit of every token directly, through W_O, the last LayerNorm's weights and W_U."""
    d_head = model.config.d_head
    writes = model.block(head.layer).attn.o.weight[:, head.index * d_head : (head.index + 1) * d_head].double()
    unembedding = model.head.weight.double() * model.ln_out.weight.double()
    return unembedding @ (writes - writes.mean(0))


def accuracies(
    values: Float[Tensor, "row pos d_head"],
    readers: Float[Tensor, "row pos d_head"],
    components: Components,
    rotation: Float[Tensor, "d_head d_head"] | None,
) -> Float[np.ndarray, " k"]:
    """With 1, 2, ... components: how often a token's own logit rises most among the tokens of its segment."""
    d_head = values.shape[-1]
    right = torch.arange(values.shape[1])
    found = []
    for k in range(1, d_head + 1):
        scores = values @ components.keeping(k, rotation) @ readers.mT
        found.append(float((scores.argmax(-1) == right).double().mean()))
    return np.array(found)


def copying_share(values: Float[Tensor, "row pos d_head"], readers: Float[Tensor, "row pos d_head"]) -> float:
    """Sum of the eigenvalues of values' effect on their own tokens over the sum of their sizes (Elhage et al. 2021)."""
    centred = readers - readers.mean((0, 1))
    eigenvalues = torch.linalg.eigvals(torch.einsum("rpi,rpj->ij", values, centred))
    return float(eigenvalues.real.sum() / eigenvalues.abs().sum())


def _gain_kept(
    model: Transformer, repeated: Sequence[Repeated], head: Head, components: Components, k: int, gain: float
) -> float:
    """Share of what the head adds to the gain from repetition that is left when its value keeps k components."""
    kept, without = (
        gain_of(model, repeated, [_projected(head, matrix)])
        for matrix in (components.keeping(k), torch.zeros_like(components.forward))
    )
    return float((kept - without) / (gain - without)) if gain != without else float("nan")


def _projected(head: Head, matrix: Float[Tensor, "d_head d_head"]) -> Change:
    """What the head gathers keeps its mean, and of the rest what the matrix leaves."""

    def edit(z: Tensor) -> Tensor:
        z, own = z.clone(), z[:, :, head.index]
        mean = own.mean((0, 1))
        z[:, :, head.index] = mean + (own - mean) @ matrix.to(own)
        return z

    return Change(head.layer, "z", edit)


def _untrained(untrained: Transformer | None, longer: Repeated) -> float:
    """The same accuracy of the best head of the model before training."""
    if untrained is None:
        return float("nan")
    tokens, right = longer.rows[:, longer.first], torch.arange(longer.length)
    found = []
    for layer in range(untrained.config.n_layers):
        for index in range(untrained.config.n_heads):
            head = Head(layer, index, 0.0)
            scores = values_of(untrained, longer, head) @ readers_of(untrained, head)[tokens].mT
            found.append(float((scores.argmax(-1) == right).double().mean()))
    return max(found)


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Accuracy against dimensions kept, with random ones."""
    caption = (
        "How often the copied token's own logit rises most among the tokens of its segment, when the value of the best "
        "induction head keeps its largest components (lines, one a checkpoint) or as many random directions (dotted)."
    )
    return curves(
        ("dimensions", "tokens told apart against dimensions of the head's value", caption),
        measured,
        "largest",
        xlabel="dimensions of the head's value that are kept",
        ylabel="tokens told apart",
        ylim=(0, 1),
    )


def planted(seed: int) -> Subject:
    """A hand-built induction head that copies 4 of 16 dimensions of a token's code."""
    return induction_subject("planted", seed, copied=FEW)


def null(seed: int) -> Subject:
    """One that copies all 16 alike."""
    return induction_subject("all dimensions", seed)


PROBLEM = Problem(
    name="4.21",
    measure=measure,
    rule=Rule(
        says="yes (few dimensions) if the share of the head's dimensions that gives 90 % of the accuracy lies at least "
        ".25 below that of random directions, below 95 % of their draws in every seed, and the whole interval over "
        "seeds lies there; no if the whole interval lies above",
        least=0.25,
        higher=False,
        against_untrained=False,
    ),
    statistic="share of an induction head's dimensions for 90 % of the accuracy with which its value tells the token",
    null="50 draws of random directions of what the same head gathers, made white first",
    minutes=0.1,
    needs=Needs(layers=2),
    figures=figures,
    trials=Trials(planted, null, says="hand-built heads that copy 4 of 16 dimensions of a code; ones that copy all"),
    doubts=(
        "The shipped study's heads formed on made-up rows, nine in ten: text alone may make others.",
        "Accuracy is that of the direct path to the logits: what later layers make of the head's output is left out.",
        "A token is told from the others of its segment, not from the whole vocabulary.",
    ),
    sources=(
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
        "Olsson et al. 2022, arXiv 2209.11895",
    ),
)
