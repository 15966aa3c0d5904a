"""Every planted set of a corpus: three layers, two halves, two designs.

corpus = TruthCorpus.of(Path("data/brown"), checkpoints=(), annotations=Annotations(brown=Path("brown/package")))
for planted in truth_sets(corpus, halves=("tuning",)):
    score_planted(SCORES["k_eff"], planted.acts).value     # beside planted.k, planted.members, planted.features
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from analyze.validation.admission import FEWEST_TOKENS, Admitted
from analyze.validation.admitting import admit_on
from analyze.validation.design import TooFewFeatures
from analyze.validation.layers.annotated import Annotations, annotated_features
from analyze.validation.layers.base import (
    DESIGNS,
    HALVES,
    LAYERS,
    Design,
    Features,
    Half,
    Layer,
    PlantedFeature,
    TruthSet,
)
from analyze.validation.layers.draw import N_NEURONS
from analyze.validation.layers.model import Inputs, inputs_of, open_model, planted_directions
from analyze.validation.layers.rare import rare_line
from analyze.validation.layers.unions import planted_unions
from analyze.validation.plant import Corpus
from train.data.tokens import TokenFile

MOST_TOKENS = 200_000
"""Of a larger corpus, so many tokens are taken."""


def _silent(line: str) -> None:
    """For callers that want no progress."""


@dataclass(frozen=True)
class TruthCorpus:
    """A corpus, and what more truth it can carry."""

    name: str
    corpus: Corpus
    checkpoints: tuple[Path, ...]
    """Models of layer 2, each trained with this corpus' vocabulary."""
    annotations: Annotations
    model_layer: int | None = None
    say: Callable[[str], None] = _silent

    @classmethod
    def of(
        cls,
        data: Path,
        checkpoints: tuple[Path, ...] = (),
        annotations: Annotations | None = None,
        name: str = "",
        say: Callable[[str], None] = _silent,
        most_tokens: int = MOST_TOKENS,
        model_layer: int | None = None,
    ) -> "TruthCorpus":
        """Open the held-out text of a data directory.

        Raises:
            BadInput: no prepared data there.
        """
        corpus = Corpus.of(TokenFile.open(data, split="eval")).at_most(most_tokens)
        return cls(name or data.resolve().name, corpus, checkpoints, annotations or Annotations(), model_layer, say)

    @cached_property
    def admitted(self) -> Admitted:
        """Our features that no score reads here."""
        return admit_on(self.corpus)

    @cached_property
    def ours(self) -> Features:
        """The same, for layer 1."""
        admitted = self.admitted
        counts = {refusal.feature: refusal.n_tokens for refusal in admitted.refused}
        counts |= dict(zip(admitted.features, admitted.tokens.sum(axis=0).tolist()))
        for kind, half in product(sorted({feature.kind for feature in counts}), HALVES):
            mine = {feature.name: n for feature, n in counts.items() if (feature.kind, feature.part) == (kind, half)}
            n_kept = sum(feature.name in mine for feature in admitted.features)
            if mine:
                self.say(f"{self.name}: {rare_line(kind, half, n_kept, mine, len(self.corpus.tokens), FEWEST_TOKENS)}")
        named = tuple(
            PlantedFeature(feature.name, feature.root, feature.kind, feature.part) for feature in admitted.features
        )
        return Features(named, admitted.tokens)

    @cached_property
    def annotated(self) -> Features:
        """What others annotated here, for layer 3."""
        return annotated_features(self.corpus, self.annotations, lambda line: self.say(f"{self.name}: {line}"))

    @cached_property
    def everything(self) -> Features:
        """Both, for layer 2."""
        return Features(
            (*self.ours.features, *self.annotated.features), np.hstack([self.ours.tokens, self.annotated.tokens])
        )


def truth_sets(
    corpus: TruthCorpus,
    layers: tuple[Layer, ...] = tuple(LAYERS),
    halves: tuple[Half, ...] = HALVES,
    designs: tuple[Design, ...] = DESIGNS,
    n: int = N_NEURONS,
) -> Iterator[TruthSet]:
    """The planted sets of a corpus, one after another: a set is in memory only while it is looked at.

    Where a corpus has too few features for a set, `corpus.say` takes a line that says so, and the set is left out.

    Args:
        n: neurons of one feature in a set, and as many of several.
    """
    for layer in layers:
        for make in _makers(corpus, layer):
            for half in halves:
                for design in designs:
                    try:
                        yield make(half, design, n)
                    except TooFewFeatures as few:
                        corpus.say(_too_small(corpus, layer, half, design, str(few)))


Maker = Callable[[Half, Design, int], TruthSet]


def _makers(corpus: TruthCorpus, layer: Layer) -> Iterator[Maker]:
    def unions(half: Half, design: Design, n: int) -> TruthSet:
        features = (corpus.ours if layer == 1 else corpus.annotated).of(half)
        return planted_unions(corpus.corpus, corpus.name, layer, features, design, n)

    if layer != 2:
        yield unions
        return
    for path in corpus.checkpoints:
        inputs: Inputs = inputs_of(open_model(path, corpus.corpus.data), corpus.corpus, corpus.model_layer)

        def directions(half: Half, design: Design, n: int, inputs: Inputs = inputs) -> TruthSet:
            return planted_directions(corpus.corpus, corpus.name, inputs, corpus.everything.of(half), design, n)

        yield directions


def _too_small(corpus: TruthCorpus, layer: Layer, half: Half, design: Design, why: str) -> str:
    return (
        f"{corpus.name}: layer {layer} ({LAYERS[layer]}), {half}, {design}: left out ({why}); "
        f"it has {len(corpus.corpus.tokens):,} tokens, a corpus of {MOST_TOKENS:,} or with more annotation may do"
    )
