"""4.22: through how few dimensions does the previous-token head pass the token to the induction head's key?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyze.figures import FAINT, Figure
from analyze.interventions import Change, changed, read_site
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.components import Components, first_with, overlap, rotations
from analyze.problems.drawing import curves
from analyze.problems.heads import Head, Repeated, gain_of, heads_of, repeated_rows, weights_of
from analyze.problems.planted_induction import FEW, induction_subject
from analyze.problems.position_dimensions import position_basis
from analyze.problems.subject import Subject
from train.model import Transformer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWS = 20
LEAST_FALL = 0.1
"""Nats a token by which the gain from repetition must fall without what the previous-token head passes on."""


def measure(subject: Subject) -> Measurement:
    """Share of the whole fall of the gain from repetition that a quarter of the dimensions passed on make."""
    assert subject.rows is not None
    repeated = repeated_rows(subject.rows)
    if not repeated:
        return Measurement.impossible("held-out rows have too few distinct tokens to repeat")
    heads = heads_of(subject.model, repeated)
    if why := heads.why_no_induction() or heads.why_no_previous():
        return Measurement.impossible(why, **{"gain, nats": heads.gain})
    pair = Pair(subject.model, heads.best_previous, heads.best_induction)
    found = {
        "gain, nats": heads.gain,
        "previous-token score": pair.previous.score,
        "induction score": pair.induction.score,
    }
    components = pair.components(repeated[0])
    d_head = len(components.sizes)
    whole = heads.gain - pair.gain_without(repeated, torch.eye(d_head, dtype=torch.float64))
    found["gain lost with all of them, share"] = whole / heads.gain
    if whole < LEAST_FALL:
        return Measurement.impossible(
            f"head {pair.previous.name} passes nothing to the key of {pair.induction.name} that the gain from "
            f"repetition needs ({whole:.2f} nats; needs {LEAST_FALL})",
            **found,
        )

    def fall(k: int, rotation: Tensor | None = None) -> float:
        return (heads.gain - pair.gain_without(repeated, components.keeping(k, rotation))) / whole

    few = max(1, d_head // 4)
    curve = np.array([fall(k) for k in range(1, d_head + 1)])
    written = pair.written(components, few)
    model, centred_embedding = subject.model, subject.model.tok_embed.weight.double()
    centred_embedding = centred_embedding - centred_embedding.mean(0)
    tokens = torch.linalg.svd(centred_embedding, full_matrices=False)[2][:few].T
    positions, _ = position_basis(model)
    return Measurement(
        statistic=float(curve[few - 1]),
        null=np.array([fall(few, turn) for turn in rotations(d_head, DRAWS)]),
        details={
            **found,
            "dimensions removed": float(few),
            "dimensions for 50 % of the fall": float(first_with(curve, 0.5)),
            "dimensions for 90 % of the fall": float(first_with(curve, 0.9)),
            "d_head": float(d_head),
            "overlap with the first token dimensions": overlap(written, tokens),
            "overlap with positions": overlap(written, positions),
            "overlap with what the induction head copies": overlap(written, pair.copied_from()),
            "overlap by chance with positions": positions.shape[1] / model.config.d_model,
            "overlap by chance with what is copied": d_head / model.config.d_model,
        },
        tables={"curve": pl.DataFrame({"k": np.arange(1, d_head + 1), "fall": curve})},
    )


@dataclass(frozen=True)
class Pair:
    """A previous-token head and an induction head above it, in one model."""

    model: Transformer
    previous: Head
    induction: Head

    def components(self, each: Repeated) -> Components:
        """Of the scores between queries of the induction head and what the previous-token head gathers."""
        tokens = each.rows[:, :-1]
        gathered = read_site(self.model, tokens, self.previous.layer, "z")[:, each.first, self.previous.index]
        q, _, _ = self._parts(read_site(self.model, tokens, self.induction.layer, "attn_input"))
        return Components.of(gathered.flatten(0, 1), (q[:, each.again].double() @ self._composed()).flatten(0, 1))

    def written(self, components: Components, k: int) -> Float[Tensor, "d_model k"]:
        """What the first components write into the residual stream."""
        return _slice(self.model, self.previous) @ components.written(k).T

    def copied_from(self) -> Float[Tensor, "d_model d_head"]:
        """Directions that the induction head's value reads."""
        d = self.model.config.d_head
        block = self.model.block(self.induction.layer)
        value = block.attn.v.weight[self.induction.index * d : (self.induction.index + 1) * d].double()
        return (value * block.ln1.weight.double()).T

    def gain_without(self, repeated: Sequence[Repeated], removed: Float[Tensor, "d_head d_head"]) -> float:
        """The gain from repetition where the induction head's key lacks a part of what the other head wrote.

        Only that key changes: queries, values, and whatever else reads the previous-token head stay. The part is what
        `removed` leaves of what the head gathers, less its mean.
        """
        return float(np.mean([self._gain_without(each, removed) for each in repeated]))

    def _gain_without(self, each: Repeated, removed: Float[Tensor, "d_head d_head"]) -> float:
        tokens, layer, index = each.rows[:, :-1], self.induction.layer, self.induction.index

        def edit(z: Tensor) -> Tensor:
            z, own = z.clone(), z[:, :, self.previous.index]
            z[:, :, self.previous.index] = own - (own - own.mean((0, 1))) @ removed.to(own)
            return z

        with torch.no_grad():
            q, _, v = self._parts(read_site(self.model, tokens, layer, "attn_input"))
            with changed(self.model, [Change(self.previous.layer, "z", edit)]):
                _, k, _ = self._parts(read_site(self.model, tokens, layer, "attn_input"))
            gathered = weights_of(q, k) @ v

        def put(z: Tensor) -> Tensor:
            z = z.clone()
            z[:, :, index] = gathered
            return z

        return gain_of(self.model, [each], [Change(layer, "z", put)])

    @torch.no_grad()
    def _parts(
        self, read: Float[Tensor, "row pos d_model"]
    ) -> tuple[Float[Tensor, "row pos d_head"], Float[Tensor, "row pos d_head"], Float[Tensor, "row pos d_head"]]:
        """Query, key and value of the induction head."""
        attention = self.model.block(self.induction.layer).attn
        q, k, v = (
            rearrange(part(read), "r p (h d) -> h r p d", h=attention.n_heads)[self.induction.index]
            for part in (attention.q, attention.k, attention.v)
        )
        return q, k, v

    def _composed(self) -> Float[Tensor, "d_head d_head"]:
        """From what the previous-token head gathers to the induction head's key, LayerNorm's scale apart."""
        d, block = self.model.config.d_head, self.model.block(self.induction.layer)
        reads = block.attn.k.weight[self.induction.index * d : (self.induction.index + 1) * d].double()
        writes = _slice(self.model, self.previous)
        return (reads * block.ln1.weight.double()) @ (writes - writes.mean(0))


def _slice(model: Transformer, head: Head) -> Float[Tensor, "d_model d_head"]:
    """W_O of one head."""
    d = model.config.d_head
    return model.block(head.layer).attn.o.weight[:, head.index * d : (head.index + 1) * d].double()


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Fall of the gain against dimensions removed, with random ones."""

    def chance(axes: "Axes", each: Measured) -> None:
        few = each.measurement.details["dimensions removed"]
        axes.plot(np.full(DRAWS, few), each.measurement.null, ".", ms=3, color=FAINT)

    caption = (
        "How far the gain from repetition falls when the induction head's key lacks the largest components of what the "
        "previous-token head passes on. A line a checkpoint. Grey dots: a random quarter of its directions."
    )
    return curves(
        ("fall", "fall of the gain against dimensions that the key loses", caption),
        measured,
        "fall",
        xlabel="dimensions that the key loses",
        ylabel="share of the whole fall",
        chance=chance,
        whole=1,
    )


def planted(seed: int) -> Subject:
    """A hand-built pair whose key compares 4 of the 16 dimensions that are passed on."""
    return induction_subject("planted", seed, matched=FEW)


def null(seed: int) -> Subject:
    """One whose key compares all 16 alike."""
    return induction_subject("all dimensions", seed)


PROBLEM = Problem(
    name="4.22",
    measure=measure,
    rule=Rule(
        says="yes (few dimensions) if the largest quarter of the dimensions through which the previous-token head "
        "reaches the induction head's key makes at least .25 more of the whole fall of the gain from repetition than "
        "a random quarter, more than 95 % of the draws in every seed, and the whole interval over seeds lies there; no "
        "if the whole interval lies below",
        least=0.25,
        against_untrained=False,
    ),
    statistic="share of the whole fall of the gain from repetition that a quarter of the previous-token head's "
    "dimensions makes when the induction head's key loses them",
    null="20 draws of a random quarter of the same dimensions",
    minutes=0.5,
    needs=Needs(layers=2),
    figures=figures,
    trials=Trials(planted, null, says="hand-built heads whose key compares 4 of 16 dimensions; ones that compare all"),
    doubts=(
        "The shipped study's heads formed on made-up rows, nine in ten: text alone may make others.",
        "One previous-token head and one induction head are looked at: others may pass the token too.",
        "A head may find the place by position as well: the share of the gain that is lost says how much is left.",
    ),
    sources=("Elhage et al. 2021, K-composition", "Merullo et al. 2024, arXiv 2406.09519"),
)
