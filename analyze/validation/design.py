"""Which neurons are planted: one distribution from one seed, which a hash fixed before any score was tuned.

A planted neuron sums k features, each 1 (or its strength) on its tokens, a random offset at every token, and a bias:

    a = max(sum_i strength_i [feature_i] + noise - BIAS, 0),  noise ~ N(0, sd^2)

Features of one neuron differ: they have different roots, and any two share at most UNLIKE of the smaller one's tokens.

Features are drawn evenly from those admitted, so that neurons of one and of several features have features of the same
kinds. Neurons of more features then fire on more tokens: every AUROC comes with that of the firing rate alone.

A first draft (hash 745e9932) drew rarer features for larger k instead, so that densities were equal. Frequent features
are mostly of other kinds (places in a sentence, lengths of words) than rare ones (word lists), so k went with the kind
of feature, which is the worse fault. We gave the draft up after two scores had been measured on features of part
`tuning`, before any score was tuned and before anyone looked at `held`. It is one case now ("equal density"). A second
draft (5142686e) lacked the case "word lists alone" and is the same otherwise. Up to 197332ad two thirds of
features.toml were held; they have been looked at since, so all of it is for tuning and families of pool.toml judge.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.validation import admission
from analyze.validation.admission import Admitted
from analyze.validation.feature_kinds import LISTS
from analyze.validation.features import FEATURES, HELD
from train.files import canonical_json

SEED = 20260
BIAS = 0.3
UNLIKE = 0.2
N_CONTROLS = 40
"""Neurons in each control."""
WORDS_OF_A_SET = 20
"""Token ids in a random set of words."""
DENSITY = (0.006, 0.04)
"""In the case of equal density: the range of a neuron's density, the sum of its features' shares of the tokens. It is
drawn evenly on a logarithmic scale, the same for every k."""
NEAR = 0.25
"""How far from the drawn density, relatively, the sum may be."""
UNEQUAL = (7.0, 14.0)
"""How many times as frequent the first of unequal partners is as each other: about ten."""

_MAIN_K = (1,) * 120 + (2,) * 48 + (3,) * 36 + (4,) * 28 + (5,) * 20 + (6,) * 18 + (7,) * 15 + (8,) * 15
_SMALL_K = (1,) * 60 + (2,) * 24 + (3,) * 18 + (4,) * 14 + (5,) * 10 + (6,) * 9 + (7,) * 8 + (8,) * 7


@dataclass(frozen=True)
class Case:
    """A set of neurons that are planted in the same way."""

    name: str
    k: tuple[int, ...]
    """The number of features of each neuron."""
    noise: float = 0.2
    """sd of the offset at every token."""
    strong: float = 1.0
    """Strength of the first feature; the others have 1. Half of the neurons of one feature have this strength too."""
    rarest: float = 0.0
    """Features on at least this share of the tokens,"""
    commonest: float = 1.0
    """and at most this one."""
    density: tuple[float, float] | None = None
    """Range of the density of every neuron; None: density plays no part when features are drawn."""
    kinds: tuple[str, ...] = ()
    """Kinds of features to draw from; empty: all."""
    unequal: bool = False
    """The first feature is about ten times as frequent as each other one (a single one is as frequent as a first)."""
    symmetric: bool = False
    """Whether a headline score must do well on it."""


MAIN = Case("symmetric", _MAIN_K, symmetric=True)
CASES: tuple[Case, ...] = (
    MAIN,
    Case("equal density", _SMALL_K, density=DENSITY),
    Case("word lists alone", _SMALL_K, kinds=("word", "back")),
    Case("asymmetric", _SMALL_K, strong=2.0),
    Case("interference", _SMALL_K, noise=0.54),  # sd 0.5 on top of the 0.2 of the main case
    Case("unequal partners", tuple(min(k, 3) for k in _SMALL_K), unequal=True),
    Case("rare features", _SMALL_K, commonest=0.0015),
    Case("frequent features", _SMALL_K, rarest=0.01),
    Case("little noise", _SMALL_K, noise=0.05),
    Case("much noise", _SMALL_K, noise=0.4),
)
CONTROLS = ("broad", "random words", "random tokens", "single tokens")
"""Broad but coherent features; random sets of token ids; random sets of positions; single token ids."""
BROAD = (
    "digits",
    "a capitalised word",
    "a capitalised word after a space",
    "a symbol",
    "the continuation of a word",
    "white space",
    "in code",
    "inside brackets",
    "inside quotation marks",
    "letters with digits or underscores",
)
"""Token classes and context states of `analyze.text.vocabulary`: each is a single thing, and a broad one."""


@dataclass(frozen=True)
class Neuron:
    """Which of the admitted features a neuron sums (their indices), and how strong each is."""

    features: tuple[int, ...]
    strengths: tuple[float, ...]

    @property
    def k(self) -> int:
        """How many features."""
        return len(self.features)


def generator(*names: object) -> np.random.Generator:
    """A random generator of its own for each combination of names."""
    digest = sha256("/".join(map(str, (SEED, *names))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


class TooFewFeatures(ValueError):
    """A corpus admits too few features to plant the neurons of a case."""


def draw_neurons(case: Case, admitted: Admitted) -> list[Neuron]:
    """Draw the neurons of a case from the features of one part.

    Raises:
        TooFewFeatures: too few features that are unlike each other and of the right frequency.
    """
    rng = generator("case", case.name, admitted.features[0].part if admitted.features else "")
    share, alike = admitted.share, alike_features(admitted)
    usable = (share >= case.rarest) & (share <= case.commonest)
    if case.kinds:
        usable &= np.array([feature.kind in case.kinds for feature in admitted.features])
    if not usable.any():
        raise TooFewFeatures(f"{case.name}: no feature of such a share of the tokens")
    neurons = []
    for index, k in enumerate(case.k):
        density = float(np.exp(rng.uniform(*np.log(case.density)))) if case.density else None
        for _ in range(1000):
            if density:
                features = features_as_dense(k, density, share, alike, rng)
            else:
                features = unlike_features(k, usable, share, alike, case.unequal, rng)
            if features is not None:
                break
        else:
            raise TooFewFeatures(f"{case.name}: no {k} unlike features among {len(admitted.features)}")
        first = case.strong if k > 1 or index % 2 else 1.0
        neurons.append(Neuron(features, (first, *(1.0,) * (k - 1))))
    return neurons


def alike_features(admitted: Admitted) -> Bool[ndarray, "f f"]:
    """Which features may not meet in one neuron."""
    return alike_sets(admitted.tokens, [feature.root for feature in admitted.features])


def alike_sets(inside: Bool[ndarray, "t f"], families: list[str]) -> Bool[ndarray, "f f"]:
    """Which sets of tokens share a family, or more than UNLIKE of the smaller one's tokens."""
    tokens = inside.astype(np.float32)
    both, count = tokens.T @ tokens, tokens.sum(axis=0)
    roots = np.array(families)
    return (both > UNLIKE * np.minimum(count[:, None], count)) | (roots[:, None] == roots)


def unlike_features(
    k: int,
    usable: Bool[ndarray, "f"],
    share: Float[ndarray, "f"],
    alike: Bool[ndarray, "f f"],
    unequal: bool,
    rng: np.random.Generator,
) -> tuple[int, ...] | None:
    chosen = [int(rng.choice(np.flatnonzero(usable)))]
    free = usable & ~alike[chosen[0]]
    if unequal:
        ratio = share[chosen[0]] / share
        free &= (ratio >= UNEQUAL[0]) & (ratio <= UNEQUAL[1])
        if not free.any():
            return None
    while len(chosen) < k:
        if not free.any():
            return None
        chosen.append(int(rng.choice(np.flatnonzero(free))))
        free = free & ~alike[chosen[-1]]
    return tuple(chosen)


def features_as_dense(
    k: int, density: float, share: Float[ndarray, "f"], alike: Bool[ndarray, "f f"], rng: np.random.Generator
) -> tuple[int, ...] | None:
    """k unlike features whose shares sum to about `density`; a share near density / k is likeliest."""
    weight = np.exp(-(np.log(share * k / density) ** 2))
    chosen: list[int] = []
    while len(chosen) < k:
        free = weight * ~alike[chosen].any(axis=0)
        if free.sum() <= 0:
            return None
        chosen.append(int(rng.choice(len(share), p=free / free.sum())))
    return tuple(chosen) if abs(share[chosen].sum() - density) <= NEAR * density else None


def planted_activations(
    tokens: Bool[ndarray, "t f"], neurons: list[Neuron], noise: float, name: str
) -> Float[ndarray, "t n"]:
    """The neurons' activations, float32, rounded to 1/1024 so that adding an offset or scaling rounds nothing.

    Args:
        tokens: which tokens have each feature.
        noise: sd.
        name: of the case; it seeds the noise, with the neuron's place.
    """
    activations = np.empty((len(tokens), len(neurons)), np.float32)
    for index, neuron in enumerate(neurons):
        strengths = np.array(neuron.strengths, np.float32)
        total = tokens[:, list(neuron.features)].astype(np.float32) @ strengths
        offset = generator("noise", name, index).standard_normal(len(tokens), np.float32)
        total += np.float32(noise) * offset - np.float32(BIAS)
        activations[:, index] = np.round(np.maximum(total, 0) * 1024) / 1024
    return activations


def random_words(ids: Int[ndarray, "t"], index: int) -> Bool[ndarray, " t"]:
    """The tokens of WORDS_OF_A_SET random ids, each on at least 20 tokens and at most one token in 500."""
    count = np.bincount(ids)
    usable = np.flatnonzero((count >= 20) & (count <= len(ids) / 500))
    rng = generator("random words", index)
    return np.isin(ids, rng.choice(usable, min(WORDS_OF_A_SET, len(usable)), replace=False))


def random_tokens(n: int, admitted: Admitted, index: int) -> Bool[ndarray, " t"]:
    """Random positions, about as many as a random feature has."""
    rng = generator("random tokens", index)
    return rng.random(n) < admitted.share[int(rng.integers(len(admitted.features)))]


def single_token(ids: Int[ndarray, "t"], index: int) -> Bool[ndarray, " t"]:
    """The tokens of a random id, on at least FEWEST_TOKENS tokens and at most LARGEST_SHARE of them."""
    count = np.bincount(ids)
    usable = (count >= admission.FEWEST_TOKENS) & (count <= admission.LARGEST_SHARE * len(ids))
    return ids == generator("single tokens", index).choice(np.flatnonzero(usable))


def planted_hash() -> str:
    """sha256 of everything that decides what is planted: definitions, admission, distribution."""
    thresholds = ("SAME", "INSIDE", "HALF", "WIDER", "FEWEST_TOKENS", "FEWEST_DOCUMENTS", "LARGEST_SHARE")
    return sha256(
        canonical_json(
            {
                "features": [asdict(feature) for feature in FEATURES],
                "lists": LISTS,
                "held": sorted(HELD),
                "admission": {name: getattr(admission, name) for name in thresholds},
                "cases": [asdict(case) for case in CASES],
                "controls": [CONTROLS, BROAD, N_CONTROLS, WORDS_OF_A_SET],
                "seed": SEED,
                "bias": BIAS,
                "unlike": UNLIKE,
                "unequal": UNEQUAL,
                "near": NEAR,
                "grid": 1024,
            }
        )
    ).hexdigest()


PLANTED_HASH = "e5342f6937ddf2afc2f4c1d3d9922609e7236c03fb086bdd16260c222345494e"
"""What was fixed before the first score was measured. After a change, no published validity holds any more."""
