"""Which features each planted neuron has: two designs, the same for every layer.

`symmetric` draws features evenly, whatever k; a neuron of more features then fires more often, and firing rate and
kurtosis tell one feature from several by that alone.

`density matched` takes that away. A neuron of k features gets features of about 1 / k of its density; frequent features
are mostly of other kinds than rare ones, so kinds are weighed until neurons of one and of several features have alike
shares of them; then neurons of one and of several features are paired by the rate at which they fire, and those that
find no partner are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.validation.design import Neuron, TooFewFeatures, alike_sets, unlike_features
from analyze.validation.layers.base import Design, Features

N_NEURONS = 300
"""Neurons of one feature, and as many of several, in each set."""
MATCHED_K = {2: 0.44, 3: 0.30, 4: 0.11, 5: 0.06, 6: 0.04, 7: 0.03, 8: 0.02}
SYMMETRIC_K = {2: 48.0, 3: 36.0, 4: 28.0, 5: 20.0, 6: 18.0, 7: 15.0, 8: 15.0}
"""How neurons of several features are spread over k; shares, or numbers that stand for them."""
DENSITY = (0.004, 0.04)
"""The range of the sum of the shares of a neuron's features, drawn evenly on a logarithmic scale."""
NEAR = 0.25
"""How far from the drawn density, relatively, the sum may be."""
SPARE = 2.0
"""Candidates for each neuron that is kept, so that pairs of equal firing rate can be found."""
CALIPER = 0.05
"""Largest |ln| of the ratio of firing rates in a pair."""
ROUNDS = 4
TRIES = 400
SMALLEST_SET = 40
"""Fewer neurons of one feature than this are not a set."""

Rates = Callable[[list[Neuron]], Float[ndarray, " n"]]
"""Gives the firing rate that each neuron would have, in order."""


@dataclass(frozen=True)
class Drawn:
    """The neurons of a set, and the index of each among the candidates, which seeds its noise."""

    neurons: list[Neuron]
    index: Int[ndarray, "n"]


def numbers_of_features(weights: dict[int, float], n: int) -> list[int]:
    """How many features each of n neurons has, in proportion to weights, ascending."""
    share = np.cumsum(list(weights.values())) / sum(weights.values())
    return [list(weights)[int(np.searchsorted(share, (index + 0.5) / n))] for index in range(n)]


def draw(
    design: Design,
    features: Features,
    rates: Rates,
    rng: np.random.Generator,
    n: int = N_NEURONS,
    most_features: int = 8,
) -> Drawn:
    """Draw n neurons of one feature and n of several.

    Args:
        rates: the firing rates of candidates; only the density matched design asks for them.
        most_features: k is at most this.

    Raises:
        TooFewFeatures: fewer than SMALLEST_SET neurons of each can be had.
    """
    alike = alike_sets(features.tokens, features.families)
    weights = SYMMETRIC_K if design == "symmetric" else MATCHED_K
    weights = {k: weight for k, weight in weights.items() if k <= most_features}
    if len(features.features) < 4 or alike.all():
        raise TooFewFeatures(f"{len(features.features)} features, none unlike the others")
    if design == "symmetric":
        neurons = _evenly([1] * n + numbers_of_features(weights, n), features, alike, rng)
        return Drawn(neurons, np.arange(len(neurons)))
    candidates = round(SPARE * n)
    ks = [1] * candidates + numbers_of_features(weights, candidates)
    neurons = _balanced(ks, features, alike, rng)
    rate = rates(neurons)
    single = np.array([neuron.k == 1 for neuron in neurons])
    one, several = pairs(rate[single], rate[~single])
    kinds = _kind_shares(neurons, features)
    apart = np.log(rate[single][one] / rate[~single][several])[:, None] / CALIPER
    kept = alike_pairs(np.hstack([kinds[single][one] - kinds[~single][several], apart]), n)
    one, several = one[kept], several[kept]
    if len(one) < SMALLEST_SET:
        raise TooFewFeatures(f"{len(one)} pairs of equal firing rate")
    chosen = np.concatenate([np.flatnonzero(single)[one], np.flatnonzero(~single)[several]])
    return Drawn([neurons[index] for index in chosen.tolist()], chosen)


def pairs(one: Float[ndarray, "a"], several: Float[ndarray, "b"]) -> tuple[Int[ndarray, "p"], Int[ndarray, "p"]]:
    """Pairs of like firing rate (CALIPER), each neuron in one at most, as indices (one, several)."""
    from scipy.optimize import linear_sum_assignment

    apart = np.abs(np.log(np.maximum(one, 1e-6))[:, None] - np.log(np.maximum(several, 1e-6)))
    rows, columns = linear_sum_assignment(np.minimum(apart, 2 * CALIPER))
    near = apart[rows, columns] <= CALIPER
    return rows[near], columns[near]


def alike_pairs(apart: Float[ndarray, "p kinds"], n: int) -> Int[ndarray, "q"]:
    """At most n pairs, over which kinds and rates are spread alike: one after another leaves, whichever helps most.

    Args:
        apart: of each pair, what the one neuron has less what the other has: the share of each kind, the log rate.
    """
    kept = np.ones(len(apart), bool)
    total = apart.sum(axis=0)
    for _ in range(len(apart) - n):
        without = ((total - apart) ** 2).sum(axis=1)
        worst = int(np.argmin(np.where(kept, without, np.inf)))
        kept[worst] = False
        total = total - apart[worst]
    return np.flatnonzero(kept)


def _kind_shares(neurons: list[Neuron], features: Features) -> Float[ndarray, "n kinds"]:
    """The share of each kind among each neuron's features."""
    kinds, kind_of = np.unique(features.kinds, return_inverse=True)
    rows = [np.bincount(kind_of[list(neuron.features)], minlength=len(kinds)) / neuron.k for neuron in neurons]
    return np.stack(rows)


def _evenly(ks: list[int], features: Features, alike: Bool[ndarray, "f f"], rng: np.random.Generator) -> list[Neuron]:
    share, usable = features.share, np.ones(len(features.features), bool)
    neurons = []
    for k in ks:
        for _ in range(TRIES):
            chosen = unlike_features(k, usable, share, alike, False, rng)
            if chosen is not None:
                neurons.append(Neuron(chosen, (1.0,) * k))
                break
        else:
            raise TooFewFeatures(f"no {k} unlike features among {len(usable)}")
    return neurons


def _balanced(ks: list[int], features: Features, alike: Bool[ndarray, "f f"], rng: np.random.Generator) -> list[Neuron]:
    """Neurons of like density for every k, whose features are of alike kinds for one and for several."""
    kinds, kind_of = np.unique(features.kinds, return_inverse=True)
    count = np.bincount(kind_of)
    weight = np.ones((2, len(kinds)))
    share = features.share
    neurons: list[Neuron] = []
    for _ in range(ROUNDS):
        neurons, used = [], np.zeros((2, len(kinds)))
        for k in ks:
            several = int(k > 1)
            favour = (weight[several] / count)[kind_of]
            for _ in range(TRIES):
                density = float(np.exp(rng.uniform(*np.log(DENSITY))))
                chosen = _of_density(k, density, share, favour, alike, rng)
                if chosen is not None:
                    neurons.append(Neuron(chosen, (1.0,) * k))
                    used[several] += np.bincount(kind_of[list(chosen)], minlength=len(kinds)) / k
                    break
        if not (used.sum(axis=1) >= SMALLEST_SET).all():
            raise TooFewFeatures(f"{int(used.sum(axis=1).min())} neurons of like density")
        used /= used.sum(axis=1, keepdims=True)
        wanted = np.sqrt(used[0] * used[1])
        weight *= np.clip((wanted + 1e-3) / (used + 1e-3), 0.2, 5)
    return neurons


def _of_density(
    k: int,
    density: float,
    share: Float[ndarray, "f"],
    favour: Float[ndarray, "f"],
    alike: Bool[ndarray, "f f"],
    rng: np.random.Generator,
) -> tuple[int, ...] | None:
    """k unlike features whose shares sum to about `density`; a share near density / k is likeliest."""
    weight = favour * np.exp(-4 * np.log(np.maximum(share, 1e-9) * k / density) ** 2)
    chosen: list[int] = []
    while len(chosen) < k:
        free = weight * ~alike[chosen].any(axis=0)
        total = free.sum()
        if total <= 1e-12:
            return None
        chosen.append(int(rng.choice(len(share), p=free / total)))
    return tuple(chosen) if abs(share[chosen].sum() - density) <= NEAR * density else None
