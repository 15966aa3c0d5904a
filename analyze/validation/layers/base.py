"""What planted truth is: neurons on the tokens of a corpus, and for each what it answers to."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.validation.plant import PlantedSet

Layer = Literal[1, 2, 3]
"""1: unions of features that we wrote, with noise. 2: a trained model's neurons along the directions of features.
3: unions of features that others annotated."""
LAYERS: dict[Layer, str] = {1: "unions of our features", 2: "directions in a trained model", 3: "annotation of others"}
Half = Literal["tuning", "held"]
"""Features of `tuning` may be looked at, and fitted on; those of `held` judge and do nothing else."""
HALVES: tuple[Half, ...] = ("tuning", "held")
Design = Literal["density matched", "symmetric"]
"""`density matched`: neurons of one and of several features fire as often, and k is two or three mostly. `symmetric`:
features are drawn alike for every k, so that neurons of several features fire more often."""
DESIGNS: tuple[Design, ...] = ("density matched", "symmetric")


@dataclass(frozen=True)
class PlantedFeature:
    """One thing that neurons are made to answer to."""

    name: str
    family: str
    """What it is about; two features of one family never meet in a neuron, and both are in the same half."""
    kind: str
    """How it is defined ("word", "pair", "genre", "node of the syntax tree"), for tables."""
    half: Half


@dataclass(frozen=True)
class Features:
    """Planted features and the tokens of a corpus that have each."""

    features: tuple[PlantedFeature, ...]
    tokens: Bool[ndarray, "t f"]

    def of(self, half: Half) -> "Features":
        """The features of one half."""
        return self.chosen(np.array([feature.half == half for feature in self.features], bool))

    def chosen(self, which: Bool[ndarray, "f"]) -> "Features":
        """The features that a mask chooses."""
        kept = np.flatnonzero(which)
        return Features(tuple(self.features[index] for index in kept.tolist()), self.tokens[:, kept])

    @property
    def share(self) -> Float[ndarray, " f"]:
        """The share of the tokens that have each feature."""
        return self.tokens.mean(axis=0)

    @property
    def kinds(self) -> list[str]:
        """The kind of each feature."""
        return [feature.kind for feature in self.features]

    @property
    def families(self) -> list[str]:
        """The family of each feature."""
        return [feature.family for feature in self.features]


@dataclass(frozen=True)
class TruthSet(PlantedSet):
    """Neurons planted together. Scores read `acts` as they read real neurons; `k` and `members` say the truth."""

    features: tuple[PlantedFeature, ...]
    """What the columns of `members` stand for."""
    layer: Layer
    corpus: str
    design: Design
    half: Half
    act: str
    """Activation function: "relu" in layers 1 and 3, that of the model in layer 2."""

    @property
    def single(self) -> Bool[ndarray, "n"]:
        """Whether each neuron answers to one feature."""
        return self.k == 1

    @property
    def firing_rate(self) -> Float[ndarray, "n"]:
        """The share of the tokens on which each neuron fires."""
        return self.acts.moments.firing_rate

    def features_of(self, neuron: int) -> tuple[PlantedFeature, ...]:
        """What a neuron answers to."""
        return tuple(self.features[index] for index in np.flatnonzero(self.members[neuron]).tolist())

    def kind_of(self) -> list[str]:
        """The kind of each neuron's feature, or its kinds joined by " + "."""
        return [
            " + ".join(sorted({feature.kind for feature in self.features_of(neuron)})) for neuron in range(len(self.k))
        ]

    def table(self) -> pl.DataFrame:
        """A row a neuron: set, layer, corpus, design, half, act, neuron, k, features, families, kinds, firing_rate."""
        own = [self.features_of(neuron) for neuron in range(len(self.k))]
        same = {"set": self.name, "layer": self.layer, "corpus": self.corpus, "design": self.design}
        columns: dict[str, list[object] | Int[ndarray, "n"] | Float[ndarray, "n"]] = {
            "neuron": np.arange(len(own)),
            "k": self.k,
            "features": [[feature.name for feature in features] for features in own],
            "families": [[feature.family for feature in features] for features in own],
            "kinds": [[feature.kind for feature in features] for features in own],
            "firing_rate": self.firing_rate,
        }
        constant = [pl.lit(value).alias(name) for name, value in (same | {"half": self.half, "act": self.act}).items()]
        return pl.DataFrame(columns).select(*constant, pl.all())
