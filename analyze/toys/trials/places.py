"""Cases for rules about where features lie: columns of W that are laid out by hand."""

import numpy as np
import torch
from torch import Tensor

from analyze.toys.trials.built import built, normal, stack, trials_of
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun

Rng = np.random.Generator


def polygon(rng: Rng, n: int, held: int) -> Tensor:
    """`held` of n features on a circle, turned at random, the others near 0; a little noise on all: [2 n]."""
    angles = 2 * np.pi * (np.arange(held) / held + rng.random())
    weight = 0.03 * normal(rng, 2, n)
    weight[:, rng.permutation(n)[:held]] += torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)])).float()
    return weight


def paired(rng: Rng, n: int, hidden: int, held: int) -> Tensor:
    """`held` features on orthogonal axes, turned at random, in opposite pairs where there are more than dimensions."""
    axes = torch.eye(hidden).repeat(1, 2)[:, :held] * torch.tensor([1.0] * hidden + [-1.0] * hidden)[:held]
    weight = 0.03 * normal(rng, hidden, n)
    weight[:, rng.permutation(n)[:held]] += axes
    return torch.linalg.qr(normal(rng, hidden, hidden))[0] @ weight


def polygons(config: ToyConfig, rng: Rng, most: int) -> ToyRun:
    """Polygons of `most` features or one or two fewer, by replica."""
    w = stack(config, lambda one: polygon(rng, 8, most - int(rng.integers(3))))
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], 8)})


def more_held(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """Six to eight features, against three to five."""
    return polygons(config, rng, 8), polygons(config, rng, 5)


def as_many_held(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """Three to five features in both."""
    return polygons(config, rng, 5), polygons(config, rng, 5)


def by_instance(config: ToyConfig, rng: Rng, numbers: dict[str, int]) -> ToyRun:
    """Features in pairs on axes, as many (or one more) as `numbers` says of the swept value."""
    n, hidden = config.features.n, config.network.hidden[0]
    held = [numbers[f"{next(iter(row.values())):g}"] for row in config.sweep.rows()]
    replicas = range(config.fit.replicas)
    drawn = [[paired(rng, n, hidden, least + int(rng.integers(2))) for _ in replicas] for least in held]
    w = torch.stack([torch.stack(each) for each in drawn])
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], n)})


def on_axes(config: ToyConfig, rng: Rng) -> ToyRun:
    """Every feature near an axis of the hidden space."""
    n, hidden = config.features.n, config.network.hidden[0]

    def weight(one: ToyConfig) -> Tensor:
        chosen = torch.from_numpy(rng.integers(hidden, size=n))
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], size=n)).float()
        return torch.nn.functional.one_hot(chosen, hidden).T * signs + 0.15 * normal(rng, hidden, n)

    w = stack(config, weight)
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], n)})


def anywhere(config: ToyConfig, rng: Rng) -> ToyRun:
    """Every feature in a random direction."""
    n, hidden = config.features.n, config.network.hidden[0]
    w = stack(config, lambda one: torch.nn.functional.normalize(normal(rng, hidden, n), dim=0))
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], n)})


def apart(config: ToyConfig, rng: Rng) -> ToyRun:
    """Frequent features in four dimensions, rare ones in the four others, with a little of each in the other."""

    def weight(one: ToyConfig) -> Tensor:
        w = 0.1 * normal(rng, 8, 40)
        w[:4, :10] += torch.nn.functional.normalize(normal(rng, 4, 10), dim=0)
        w[4:, 10:] += torch.nn.functional.normalize(normal(rng, 4, 30), dim=0)
        return w

    w = stack(config, weight)
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], 40)})


def opposites(config: ToyConfig, rng: Rng) -> ToyRun:
    """Eight classes on four axes, in opposite pairs, and the readout that goes with them."""
    w = stack(config, lambda one: paired(rng, 8, 4, 8))
    return built(config, {"W1": w, "W2": 5 * w.mT.contiguous(), "b": torch.zeros(*w.shape[:2], 8)})


def scattered(config: ToyConfig, rng: Rng) -> ToyRun:
    """Eight classes in random directions of four dimensions."""
    w = stack(config, lambda one: normal(rng, 4, 8))
    return built(config, {"W1": w, "W2": w.mT.contiguous(), "b": torch.zeros(*w.shape[:2], 8)})


def one_feature_each(config: ToyConfig, rng: Rng) -> ToyRun:
    """Neurons of one feature each when dense, of all features when sparse."""
    n, hidden = config.features.n, config.network.hidden[0]

    def weight(one: ToyConfig) -> Tensor:
        if one.features.probabilities()[0] == 1:
            return torch.eye(hidden, n)[:, torch.from_numpy(rng.permutation(n))] + 0.001 * normal(rng, hidden, n)
        return normal(rng, hidden, n)

    w = stack(config, weight)
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], n)})


def several_features_each(config: ToyConfig, rng: Rng) -> ToyRun:
    """Neurons of all features at every sparsity."""
    n, hidden = config.features.n, config.network.hidden[0]
    w = stack(config, lambda one: normal(rng, hidden, n))
    return built(config, {"W": w, "b": torch.zeros(*w.shape[:2], n)})


SPARSE = {"1": 5, "0.1": 7, "0.01": 9}
TOGETHER = {"1": 9, "2": 8, "4": 7, "8": 5}

TRIALS = (
    *(
        trials_of(name, "6 to 8 features on a circle against 3 to 5; 3 to 5 in both", more_held, as_many_held)
        for name in ("values-one", "values-three", "values-half")
    ),
    *(
        trials_of(name, "features near axes; features in random directions", on_axes, anywhere)
        for name in ("dropout-20-5", "dropout-20-5-sgd")
    ),
    trials_of("two-classes", "classes in dimensions of their own; random directions", apart, anywhere),
    trials_of(
        "gelu-output-20-5",
        "5 features or 6 when dense and 9 or 10 when sparse; 5 or 6 throughout",
        lambda config, rng: by_instance(config, rng, SPARSE),
        lambda config, rng: by_instance(config, rng, dict.fromkeys(SPARSE, 5)),
    ),
    trials_of(
        "gelu-hidden-10-5",
        "neurons of one feature when dense and of all when sparse; of all throughout",
        one_feature_each,
        several_features_each,
    ),
    trials_of("classify-8-4", "classes in opposite pairs on axes; in random directions", opposites, scattered),
    trials_of(
        "co-occurrence-20-5",
        "9 features or 10 with one active and 5 or 6 with eight; 5 or 6 throughout",
        lambda config, rng: by_instance(config, rng, TOGETHER),
        lambda config, rng: by_instance(config, rng, dict.fromkeys(TOGETHER, 5)),
    ),
)
