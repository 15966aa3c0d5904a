"""How polysemantic a toy's hidden neurons are, which outputs are computed, and which motifs appear.

An exposure says how much a neuron has to do with a feature, as a table [neuron feat] of values >= 0; measures use the
neuron's known responses (`train.toys.truth.Truth`). Motifs are those of Elhage et al., "Toy Models of Superposition"
(2022), "Computation in Superposition".
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MONO = (0.9, 0.999)
"""Shares of a neuron's exposure above which it counts as monosemantic: mostly, and strictly."""
DEAD = 0.01
"""A neuron is dead where what passes through it is below this times the largest of its model's neurons."""
COMPUTED = 0.25
"""An output counts as computed where its loss is below this times the loss of its best constant."""
OPPOSITE = -0.9
"""Cosine of two neurons' input weights below which they count as opposite."""
UNEVEN = 2.0
"""How many times larger a weight of an asymmetric neuron is than its other one."""
CONNECTED = 0.1
"""A path feature -> neuron -> output counts where |W1 W2| exceeds this; |x| takes a path of 1 a side."""

Motif = Literal["mono pair", "antipodal", "asymmetric", "inhibitor"]


def largest_share(exposure: Float[Tensor, "*stack neuron feat"]) -> Float[Tensor, "*stack neuron"]:
    """A neuron's largest exposure over the sum of all: 1 for one feature alone, 1 / n for n alike; NaN for none."""
    return exposure.amax(-1) / exposure.sum(-1)


def dead(
    exposure: Float[Tensor, "*stack neuron feat"], outgoing: Float[Tensor, "*stack out neuron"]
) -> Bool[Tensor, "*stack neuron"]:
    """Neurons through which next to nothing passes.

    What passes through a neuron is its largest exposure times its largest outgoing |weight|; it is dead where
    that is below `DEAD` times the largest of its model's neurons.
    """
    passing = exposure.amax(-1) * outgoing.abs().amax(-2)
    return passing <= DEAD * passing.amax(-1, keepdim=True)


def computed(
    losses: Float[Tensor, "*stack out"], constant_losses: Float[Tensor, "*#stack out"], threshold: float = COMPUTED
) -> Bool[Tensor, "*stack out"]:
    """Whether each output's squared error is below `threshold` times that of its best constant (its variance)."""
    return losses < threshold * constant_losses


@dataclass(frozen=True)
class MotifOccurrence:
    """One occurrence of a motif: its neurons and its features.

    mono pair: (neuron that fires for x > 0, for x < 0), (feature,).
    antipodal: two neurons, the features that they share.
    asymmetric: (neuron, an inhibitor of it, ...), (feature of the large input weight, of the small one).
    inhibitor: (neuron,), the features that it fires on.
    """

    motif: Motif
    neurons: tuple[int, ...]
    features: tuple[int, ...]


def motifs(first: Float[Tensor, "neuron feat"], last: Float[Tensor, "feat neuron"]) -> list[MotifOccurrence]:
    """The motifs of a computation with one hidden layer and one output a feature, W1 and W2 of one model.

    The path from feature i through neuron j to output o is W1[j, i] W2[o, j]: what an x_i of the right sign adds to
    the output, which for |x_i| itself is to be 1 on either side. (Paths do not change where a ReLU's input weights
    are scaled up and its output weights down.) A neuron serves the features i whose path to their own output exceeds
    `CONNECTED`. Then:

    mono pair: two neurons that serve the same feature from either side, and no other feature: its share of their
        |W1| is above 0.9.
    antipodal: two neurons whose input weights point in opposite directions (cosine below `OPPOSITE`), neither of
        them monosemantic, that serve two or more features in common.
    inhibitor: a neuron whose largest path is to a negative output weight.
    asymmetric: a neuron that serves two features, with input weights that differ by more than a factor `UNEVEN`
        and output weights that differ by more than that the other way round; and at least one inhibitor that takes
        away what the first feature leaves on the second's output: it fires on the same side of the first
        feature and has a negative output weight to the second.

    Pairs are made greedily, most opposite first, so that each neuron is in at most one.
    """
    serves = first.abs() * last.T > CONNECTED
    inhibits = _inhibitors(first, last)
    occurrences = [*_opposite_pairs(first, serves), *_asymmetric(first, last, serves, inhibits)]
    for neuron in inhibits.nonzero()[:, 0].tolist():
        fires_on = (first[neuron].abs() > first[neuron].abs().max() / UNEVEN).nonzero()[:, 0]
        occurrences.append(MotifOccurrence("inhibitor", (neuron,), tuple(fires_on.tolist())))
    return occurrences


def count_motifs(first: Float[Tensor, "neuron feat"], last: Float[Tensor, "feat neuron"]) -> Counter[Motif]:
    """How often each motif occurs."""
    return Counter(each.motif for each in motifs(first, last))


def _opposite_pairs(first: Float[Tensor, "neuron feat"], serves: Bool[Tensor, "neuron feat"]) -> list[MotifOccurrence]:
    units = torch.nn.functional.normalize(first, dim=-1, eps=1e-12)
    cosine = (units @ units.T).tril(-1)
    mono = largest_share(first.abs()) > MONO[0]
    order = cosine.flatten().argsort(stable=True)
    taken: set[int] = set()
    occurrences = []
    for pair in zip(*torch.unravel_index(order[: int((cosine < OPPOSITE).sum())], cosine.shape), strict=True):
        a, b = map(int, pair)
        shared = (serves[a] & serves[b]).nonzero()[:, 0].tolist()
        if taken & {a, b} or not shared:
            continue
        if mono[a] and mono[b] and len(shared) == 1:
            positive = (a, b) if first[a, shared[0]] > 0 else (b, a)
            occurrences.append(MotifOccurrence("mono pair", positive, tuple(shared)))
        elif not mono[a] and not mono[b] and len(shared) > 1:
            occurrences.append(MotifOccurrence("antipodal", (a, b), tuple(shared)))
        else:
            continue
        taken |= {a, b}
    return occurrences


def _inhibitors(first: Float[Tensor, "neuron feat"], last: Float[Tensor, "feat neuron"]) -> Bool[Tensor, "neuron"]:
    """Neurons whose strongest path exceeds `CONNECTED` and ends in a negative output weight."""
    strongest = last.abs().argmax(0)
    weight = last.gather(0, strongest[None])[0]
    return (weight < 0) & (first.abs().amax(-1) * weight.abs() > CONNECTED)


def _asymmetric(
    first: Float[Tensor, "neuron feat"],
    last: Float[Tensor, "feat neuron"],
    serves: Bool[Tensor, "neuron feat"],
    inhibits: Bool[Tensor, "neuron"],
) -> list[MotifOccurrence]:
    occurrences = []
    for neuron in range(len(first)):
        for large in serves[neuron].nonzero()[:, 0].tolist():
            for small in serves[neuron].nonzero()[:, 0].tolist():
                into, out = first[neuron], last[:, neuron]
                if not (into[large].abs() > UNEVEN * into[small].abs() and out[small] > UNEVEN * out[large]):
                    continue
                same_side = first[:, large] * into[large].sign()
                takes_away = inhibits & (same_side * -last[small] > CONNECTED)
                if helpers := takes_away.nonzero()[:, 0].tolist():
                    occurrences.append(MotifOccurrence("asymmetric", (neuron, *helpers), (large, small)))
    return occurrences
