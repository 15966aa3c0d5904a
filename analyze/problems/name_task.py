"""Sentences in which two are named and one gives: what turns the answer to the other name: a leaf.

The task of Wang et al. 2022 (arXiv 2211.00593). A sentence and the same with the other name given twice have answers
that change places; what of their difference has to be put in, at one place, to turn the answer?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.interventions import Change, changed, read_site
from analyze.problems.base import Measurement
from analyze.problems.components import Components, first_with, rotations
from train.data.name_sentences import NamePrompts, NameSentences
from train.data.tokenizer import BOS_ID
from train.model import Transformer

LEAST_RIGHT = 0.75
"""Share of prompts after which the indirect object must be likelier than the subject, or there is no circuit."""
LEAST_TURNED = 0.5
"""Share of the logit difference that the whole residual stream of the other sentence must turn, at the one place."""
LEAST_HELD = 0.8
"""Share of that which the dimensions of half the sentences must turn in the other half, or there were too few."""
VARIANCE = 0.99
"""Of the differences between two sentences, which defines the dimensions they lie in."""
SHARE = 0.9
PLACE = {"again": "where the subject is named again", "end": "where the answer is predicted"}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    wordings: int = 4
    prompts: int = 64
    """Of each wording; half find the dimensions, half are measured."""
    draws: int = 20
    steps: int = 64
    """Numbers of dimensions that are tried, at most."""

    @property
    def fit(self) -> slice:
        """Prompts that find the dimensions."""
        return slice(0, self.prompts // 2)

    @property
    def test(self) -> slice:
        """Prompts that are measured."""
        return slice(self.prompts // 2, self.prompts)


@dataclass(frozen=True)
class Shift:
    """Something added to the residual stream before a layer, at one position."""

    layer: int
    place: int
    added: Float[Tensor, "prompt d"]


@runtime_checkable
class NameModel(Protocol):
    """What is asked of a model; ids are those of the data that the sentences are spelled in."""

    @property
    def d_model(self) -> int:
        """Dimensions of the residual stream."""
        ...

    def residual(self, tokens: Int[Tensor, "prompt pos"], layer: int) -> Float[Tensor, "prompt pos d"]:
        """The residual stream before a layer."""
        ...

    def last_logits(self, tokens: Int[Tensor, "prompt pos"], shift: Shift | None = None) -> Float[Tensor, "prompt id"]:
        """Logits at the last position."""
        ...


@dataclass(frozen=True)
class OwnModel:
    """A model of polysem's architecture."""

    model: Transformer

    @property
    def d_model(self) -> int:
        """Dimensions of the residual stream."""
        return self.model.config.d_model

    def residual(self, tokens: Int[Tensor, "prompt pos"], layer: int) -> Float[Tensor, "prompt pos d"]:
        """The residual stream before a layer."""
        return read_site(self.model, tokens, layer, "resid_pre")

    def last_logits(self, tokens: Int[Tensor, "prompt pos"], shift: Shift | None = None) -> Float[Tensor, "prompt id"]:
        """Logits at the last position."""
        changes = [] if shift is None else [Change(shift.layer, "resid_pre", lambda values: shifted(values, shift))]
        with changed(self.model, changes):
            return self.model.head(self.model.final_residual(tokens)[:, -1])


def shifted(values: Float[Tensor, "prompt pos d"], shift: Shift) -> Float[Tensor, "prompt pos d"]:
    """With something added at one position."""
    added = torch.zeros_like(values)
    added[:, shift.place] = shift.added
    return values + added


@dataclass(frozen=True)
class Pairs:
    """Sentences of one wording, and the same with the other name given twice, so that the answers change places."""

    prompts: NamePrompts
    tokens: Int[Tensor, "prompt pos"]
    turned: Int[Tensor, "prompt pos"]

    @classmethod
    def of(cls, prompts: NamePrompts) -> "Pairs":
        """With BOS before each."""
        tokens = torch.from_numpy(np.pad(prompts.tokens, ((0, 0), (1, 0)), constant_values=BOS_ID))
        turned = tokens.clone()
        turned[:, prompts.again + 1] = torch.from_numpy(prompts.indirect)
        return cls(prompts, tokens, turned)

    def place(self, name: str) -> int:
        """Position of a place of `PLACE`."""
        return self.prompts.again + 1 if name == "again" else self.tokens.shape[1] - 1

    def difference(
        self, model: NameModel, shift: Shift | None = None, part: slice = slice(None)
    ) -> Float[Tensor, " prompt"]:
        """Logit of the indirect object less that of the subject, where the answer is predicted."""
        logits = model.last_logits(self.tokens[part], shift)
        rows = torch.arange(len(logits))
        indirect, subject = (torch.from_numpy(each)[part] for each in (self.prompts.indirect, self.prompts.subject))
        return logits[rows, indirect] - logits[rows, subject]


def measure_names(model: NameModel, sentences: NameSentences, layers: Sequence[int], size: Size) -> Measurement:
    """Share of the dimensions in which two sentences differ that turns 90 % of the logit difference.

    Args:
        layers: before which the residual stream is looked at, in order. The last of them at which the place of the
            second mention turns half of the answer is taken; where there is none, the first at which the end does.
    """
    rng = np.random.default_rng(0)
    wordings = [Pairs.of(sentences.prompts(size.prompts, rng)) for _ in range(size.wordings)]
    with torch.no_grad():
        clean = [each.difference(model) for each in wordings]
    right = float((torch.stack(clean) > 0).double().mean())
    found = {"indirect object likelier, share": right, "logit difference": float(torch.stack(clean).mean())}
    if right < LEAST_RIGHT:
        return Measurement.impossible(
            f"after {right:.0%} of sentences the indirect object is likelier than the subject; needs "
            f"{LEAST_RIGHT:.0%}: the circuit is lacking",
            **found,
        )
    offsets = [each for layer in layers for each in Offsets.before(model, wordings, clean, layer, size)]
    turned = {(each.name, each.layer): each.turned_by(None) for each in offsets}
    best = {name: max(turned[name, layer] for layer in layers) for name in PLACE}
    found |= {f"turned {PLACE[name]}": best[name] for name in PLACE}
    able = [each for each in offsets if turned[each.name, each.layer] >= LEAST_TURNED]
    again, end = ([each for each in able if each.name == name] for name in ("again", "end"))
    if not able:
        return Measurement.impossible(
            f"before the last layer no one place turns half of the logit difference (most: {max(best.values()):.0%})",
            **found,
        )
    site = Site.of(again[-1] if again else end[0])
    d = site.basis.shape[1]
    ks = np.unique(np.geomspace(1, d, size.steps).round().astype(int))
    curve = site.curve(ks, None)
    whole = turned[site.offsets.name, site.offsets.layer]
    if curve[-1] < LEAST_HELD * whole:
        return Measurement.impossible(
            f"the dimensions of half the sentences turn {curve[-1]:.0%} in the other half, the whole difference "
            f"{whole:.0%}: too few sentences for {len(sentences.names)} names",
            **found,
        )
    random = np.array([site.curve(ks, turn) for turn in rotations(d, size.draws)])
    return Measurement(
        statistic=ks[first_with(curve, SHARE) - 1] / d,
        null=np.array([ks[first_with(each, SHARE) - 1] / d for each in random]),
        details={
            **found,
            "layer": float(site.offsets.layer),
            "at the end": float(site.offsets.name == "end"),
            "dimensions for 90 %": float(ks[first_with(curve, SHARE) - 1]),
            "dimensions of the differences": float(d),
            "d_model": float(model.d_model),
            "turned by the order of names alone": site.offsets.turned_by_order(),
            "names": float(len(sentences.names)),
        },
        tables={"curve": pl.DataFrame({"k": ks, "largest": curve, "random": random.mean(0)})},
    )


@dataclass(frozen=True)
class Offsets:
    """What turned sentences have more in the residual stream before a layer, at one place of every wording."""

    model: NameModel
    wordings: Sequence[Pairs]
    clean: Sequence[Float[Tensor, " prompt"]]
    """Logit differences of the plain sentences."""
    layer: int
    name: str
    values: Sequence[Float[Tensor, "prompt d"]]
    size: Size

    @staticmethod
    @torch.no_grad()
    def before(
        model: NameModel, wordings: Sequence[Pairs], clean: Sequence[Float[Tensor, " prompt"]], layer: int, size: Size
    ) -> "tuple[Offsets, Offsets]":
        """Before one layer: where the subject is named again, and where the answer is predicted."""
        whole = [model.residual(each.turned, layer) - model.residual(each.tokens, layer) for each in wordings]
        again, end = (
            [values[:, pairs.place(name)] for values, pairs in zip(whole, wordings, strict=True)]
            for name in ("again", "end")
        )
        return (
            Offsets(model, wordings, clean, layer, "again", again, size),
            Offsets(model, wordings, clean, layer, "end", end, size),
        )

    def turned_by(self, matrix: Float[Tensor, "d d"] | None) -> float:
        """Share of twice the logit difference that is lost, on the second half of the prompts: 1 where it changes sign.

        Args:
            matrix: the offsets times this are put in; None: as they are.
        """
        return self._turned([each if matrix is None else (each.double() @ matrix).to(each) for each in self.values])

    def turned_by_order(self) -> float:
        """Share that is turned where all that is put in is which of the names comes again, the first or the second.

        It is the mean offset of sentences of that order: what the model keeps of the name itself is averaged away.
        """
        fit = self.size.fit
        values = torch.cat([each[fit] for each in self.values])
        orders = [torch.from_numpy(each.prompts.subject_first) for each in self.wordings]
        first = torch.cat([each[fit] for each in orders])
        means = torch.stack([values[~first].mean(0), values[first].mean(0)])
        return self._turned([means[each.long()] for each in orders])

    @torch.no_grad()
    def _turned(self, added: Sequence[Float[Tensor, "prompt d"]]) -> float:
        lost, whole, test = 0.0, 0.0, self.size.test
        for pairs, before, part in zip(self.wordings, self.clean, added, strict=True):
            after = pairs.difference(self.model, Shift(self.layer, pairs.place(self.name), part[test]), test)
            lost += float((before[test] - after).sum())
            whole += 2 * float(before[test].sum())
        return lost / whole

    def gradients(self) -> Float[Tensor, "prompt d"]:
        """Of the logit difference by what is added at the place, on the first half of the prompts."""
        found = []
        for pairs, values in zip(self.wordings, self.values, strict=True):
            added = torch.zeros_like(values[self.size.fit], requires_grad=True)
            shift = Shift(self.layer, pairs.place(self.name), added)
            found.append(torch.autograd.grad(pairs.difference(self.model, shift, self.size.fit).sum(), added)[0])
        return torch.cat(found)


@dataclass(frozen=True)
class Site:
    """Offsets and their components."""

    offsets: Offsets
    basis: Float[Tensor, "d r"]
    """Orthonormal: of the dimensions that hold 99 % of the offsets' squared length."""
    components: Components
    """Of the offsets and the gradients of the logit difference, in that basis."""

    @classmethod
    def of(cls, offsets: Offsets) -> "Site":
        """Dimensions are found on the first half of each wording's prompts."""
        of_fit = torch.cat([each[offsets.size.fit] for each in offsets.values]).double()
        _, sizes, directions = torch.linalg.svd(of_fit, full_matrices=False)
        shares = (sizes**2).cumsum(0) / (sizes**2).sum()
        basis = directions[: int((shares < VARIANCE).sum()) + 1].T
        return cls(offsets, basis, Components.of(of_fit @ basis, offsets.gradients().double() @ basis))

    def curve(self, ks: Int[np.ndarray, " step"], rotation: Float[Tensor, "r r"] | None) -> Float[np.ndarray, " step"]:
        """Share of the logit difference that the first components of the offset turn, by how many they are."""
        kept = (self.components.keeping(int(k), rotation) for k in ks)
        return np.array([self.offsets.turned_by(self.basis @ each @ self.basis.T) for each in kept])
