"""Cases for rules about computation: hidden layers that are built by hand, with exact or least-squares readouts."""

import numpy as np
import torch
from torch import Tensor

from analyze.toys.interference import final_samples
from analyze.toys.trials.built import Weights, built, normal, stack, trials_of, with_network, with_readout
from train.toys.baseline import Naive, naive_loss
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun
from train.toys.targets import Target

Rng = np.random.Generator

STEEP = 30.0
"""Factor of weights that makes a GELU a ReLU."""


def own_neurons(config: ToyConfig, group: tuple[int, ...]) -> list[tuple[Tensor, float, float]]:
    """Input weights, hidden bias and output weight of the ReLUs that compute an output alone (OR but for the 1)."""
    unit = torch.eye(config.features.n)
    i, j = group[0], group[-1]
    match config.target.function:
        case "abs":
            return [(unit[i], 0.0, 1.0), (-unit[i], 0.0, 1.0)]
        case "and":
            return [(unit[i] + unit[j], -1.0, 1.0)]
        case "or":
            return [(-unit[i] - unit[j], 1.0, -1.0)]
        case _:
            return [(unit[i] - unit[j], 0.0, 1.0), (unit[j], 0.0, 1.0)]


def computing(config: ToyConfig, n_outputs: int, rng: Rng, noise: float) -> Weights:
    """The first `n_outputs` outputs have neurons of their own, as many as they take; the others are constants."""
    groups = Target.of(config).groups
    rows = [(o, *each) for o, group in enumerate(groups[:n_outputs]) for each in own_neurons(config, group)]
    hidden = config.network.hidden[0]
    first, shift, last = torch.zeros(hidden, config.features.n), torch.zeros(hidden), torch.zeros(len(groups), hidden)
    scale = STEEP if config.network.activation == "gelu" else 1.0
    for neuron, (output, weight, bias, out) in enumerate(rows):
        first[neuron], shift[neuron], last[output, neuron] = scale * weight, scale * bias, out / scale
    constants = []
    for one in config.instances():
        wanted = Target.of(one)(torch.cat(list(final_samples(one))))
        exact = torch.full((n_outputs,), 1.0 if config.target.function == "or" else 0.0)
        constants.append(torch.cat([exact, wanted.mean(0)[n_outputs:]]))
    reps = config.fit.replicas
    weights = {
        "W1": stack(config, lambda one: first),
        "W2": stack(config, lambda one: last * (1 + noise * normal(rng, *last.shape))),
        "b": torch.stack(constants)[:, None].expand(-1, reps, -1).clone(),
    }
    return weights | ({"b1": stack(config, lambda one: shift)} if config.network.hidden_bias else {})


def all_of_them(config: ToyConfig, rng: Rng) -> ToyRun:
    """All outputs computed, with output weights a tenth off, by as many neurons as that takes; judged by the baseline
    of the config's own number of neurons."""
    groups = Target.of(config).groups
    needed = len(groups) * len(own_neurons(config, groups[0]))
    wide = with_network(config, hidden=(needed,))
    return built(wide, computing(wide, len(groups), rng, noise=0.1), naive_of(config))


def those_that_fit(config: ToyConfig, rng: Rng) -> ToyRun:
    """The naive baseline as a network: neurons of their own for as many outputs as they suffice for."""
    naive = naive_of(config)
    fewest = min(each.dedicated for each in naive)
    return built(config, computing(config, fewest, rng, noise=0.02), naive)


def naive_of(config: ToyConfig) -> list[Naive]:
    """The baseline of each instance."""
    return [naive_loss(one, torch.cat(list(final_samples(one)))) for one in config.instances()]


def in_pieces(config: ToyConfig, rng: Rng) -> ToyRun:
    """x^2 as a line in pieces: each feature's neurons have their kinks spread over [-1, 1]."""
    return built(config, with_readout(config, *_pieces(config, rng)))


def at_random(config: ToyConfig, rng: Rng) -> ToyRun:
    """Neurons that read all features at random, with random biases."""
    hidden, n = config.network.hidden[0], config.features.n

    def taking_part(one: ToyConfig) -> Tensor:
        drawn = torch.cat([normal(rng, hidden, n), 0.5 * normal(rng, hidden, 1)], dim=1)
        drawn[one.network.widths[0] :] = 0
        return drawn

    drawn = stack(config, taking_part)
    return built(config, with_readout(config, drawn[..., :n], drawn[..., n]))


def _pieces(config: ToyConfig, rng: Rng) -> tuple[Tensor, Tensor]:
    n, hidden, reps = config.features.n, config.network.hidden[0], config.fit.replicas
    instances = config.instances()
    first, bias = torch.zeros(len(instances), reps, hidden, n), torch.zeros(len(instances), reps, hidden)
    for i, one in enumerate(instances):
        each = one.network.widths[0] // n
        # Kinks -1, ..., 1 without the last, so that the first neuron is a line; both signs of slope.
        kinks = torch.linspace(-1, 1, each + 1)[:-1]
        for neuron in range(each * n):
            feature, piece = divmod(neuron, each)
            first[i, :, neuron, feature] = 1.0
            bias[i, :, neuron] = -kinks[piece] + 0.05 * normal(rng, reps)
    return first, bias


def pieces_and_random(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """Lines in pieces, against random input weights."""
    return in_pieces(config, rng), at_random(config, rng)


def random_and_random(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """Random input weights in both."""
    return at_random(config, rng), at_random(config, rng)


def small_gelus(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """GELU neurons of small weights, against ReLU neurons that read the same."""
    return _reading(config, rng, "gelu", 0.2), _reading(config, rng, "relu", 0.2)


def steep_gelus(config: ToyConfig, rng: Rng) -> tuple[ToyRun, ToyRun]:
    """GELU neurons of large weights, which are ReLUs, against ReLU neurons that read the same."""
    return _reading(config, rng, "gelu", STEEP), _reading(config, rng, "relu", STEEP)


def _reading(config: ToyConfig, rng: Rng, activation: str, scale: float) -> ToyRun:
    """Two neurons a square, of either sign; four a product, of sum and difference of the pair."""
    config = with_network(config, activation=activation)
    rows = []
    unit = torch.eye(config.features.n)
    for group in Target.of(config).groups:
        a, b = unit[group[0]], unit[group[-1]]
        rows += [a, -a] if len(group) == 1 else [a + b, -a - b, a - b, b - a]
    first = stack(config, lambda one: scale * (torch.stack(rows) + 0.02 * normal(rng, len(rows), config.features.n)))
    return built(config, with_readout(config, first, torch.zeros(*first.shape[:3])))


def differences(config: ToyConfig, rng: Rng) -> ToyRun:
    """Every neuron reads the difference of a pair, and a little of everything."""
    hidden, n = config.network.hidden[0], config.features.n

    def weight(one: ToyConfig) -> Tensor:
        pair = 2 * torch.from_numpy(rng.integers(n // 2, size=hidden))
        rows = torch.nn.functional.one_hot(pair, n) - torch.nn.functional.one_hot(pair + 1, n)
        return rows + 0.15 * normal(rng, hidden, n)

    return built(config, with_readout(config, stack(config, weight), None))


def anything(config: ToyConfig, rng: Rng) -> ToyRun:
    """Every neuron reads all features at random."""
    hidden, n = config.network.hidden[0], config.features.n
    return built(config, with_readout(config, stack(config, lambda one: normal(rng, hidden, n)), None))


def absolutes_first(config: ToyConfig, rng: Rng) -> ToyRun:
    """A first layer with two neurons, of either sign, for each of the first six features, and a little noise."""
    return _layers(config, rng, torch.cat([torch.eye(6, 8), -torch.eye(6, 8)]) + 0.05 * normal(rng, 12, 8))


def untouched(config: ToyConfig, rng: Rng) -> ToyRun:
    """A first layer that is drawn as at the start, anew for each replica."""
    return _layers(config, rng, None)


def _layers(config: ToyConfig, rng: Rng, first: Tensor | None) -> ToyRun:
    def weight(one: ToyConfig) -> Tensor:
        return (6 / 8) ** 0.5 * (2 * torch.from_numpy(rng.random((12, 8))).float() - 1) if first is None else first

    w1 = stack(config, weight)
    w2, w3 = stack(config, lambda one: normal(rng, 6, 12)), stack(config, lambda one: normal(rng, 4, 6))
    return built(config, {"W1": w1, "W2": w2, "W3": w3, "b": torch.zeros(*w1.shape[:2], 4)})


_SIMPLE = "all outputs computed, a tenth off; the naive baseline as a network"

TRIALS = (
    *(
        trials_of(name, _SIMPLE, all_of_them, those_that_fit)
        for name in (
            "abs-independent",
            "abs-correlated",
            "abs-anticorrelated",
            "and-pairs",
            "or-pairs",
            "gelu-abs-20-20",
            "maxima-of-all-pairs",
        )
    ),
    trials_of(
        "square-neurons", "lines in pieces against random neurons; random in both", pieces_and_random, random_and_random
    ),
    *(
        trials_of(name, "small GELUs against ReLUs; steep GELUs against ReLUs", small_gelus, steep_gelus)
        for name in ("gelu-square", "gelu-product")
    ),
    trials_of("max-pairs", "neurons that read differences; neurons that read at random", differences, anything),
    trials_of("two-layers", "absolute values of six features; a first layer as drawn", absolutes_first, untouched),
)
