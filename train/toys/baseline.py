"""The loss that a network reaches without superposition, which a trained one has to beat."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.room import EVAL_BLOCK, eval_blocks
from train.toys.targets import TRUE_ABOVE, Target

_ELEMENTS = 2**18
"""Samples x groups of outputs that are computed together."""
_ROUNDING = 1e-12
"""A loss below this times a constant's counts as 0."""

_HALVINGS = 40
"""Of the interval that holds a best constant."""

NAIVE_NUMBERS = 2**26
"""Values of features that the naive baseline is measured on at most (256 MB)."""

Classes = Float[Tensor, "group class batch"]
Errors = tuple[Float[Tensor, "group class"], Float[Tensor, "group class"]]
"""Of the outputs of some groups, not weighted: with neurons of their own, and as constants."""


@dataclass(frozen=True)
class Naive:
    """The naive baseline of one instance; losses as in training: importance x error, mean over samples and outputs."""

    loss: float
    per_output: list[float]
    """Importance x error of each output; their mean is the loss."""
    dedicated: int
    """Outputs that have neurons of their own; the others are constants."""
    constant_loss: float
    """Where every output is a constant."""


def naive_on_final_samples(config: ToyConfig, at_most: int = NAIVE_NUMBERS) -> Naive:
    """The naive baseline of one instance, on the samples of its final loss.

    On fewer, but at least one block, where these hold more than `at_most` values of features.
    """
    n = min(config.fit.eval_samples, max(EVAL_BLOCK, at_most // config.features.n))
    sampler = Sampler.of([config])
    blocks = [sampler.sample(size, config.fit.seed, stream) for stream, size in eval_blocks(n)]
    return naive_loss(config, torch.cat(blocks, dim=2))


def naive_loss(config: ToyConfig, samples: Float[Tensor, "*lead feat"]) -> Naive:
    """The loss without superposition: neurons of their own for as many outputs as there are neurons, constants else.

    Each output takes the fewest neurons that compute it alone, in one hidden layer (`_own_neurons`); further layers
    carry it on, by one neuron where it is never negative, by two where it is. The outputs that lose most as constants
    (importance x variance) come first; levels of one feature, and both sides of an argmax, share neurons. GELU counts
    for what large weights make of it (ReLU) or small ones (x^2). No finite number of ReLUs computes a square, a
    product or a threshold: there it is the least-squares fit of the output on its neurons, cut off at 0 by a ReLU
    output. Cross-entropy: a constant reaches the entropy of the classes' frequencies (without a bias, that of equal
    chances), neurons of its own reach 0 as weights grow; without a bias no neuron tells the levels of a feature apart,
    and the sides of a pair only where they differ; which of all features is largest takes a neuron each.

    With another `loss_power` constants are the best for it, and fits remain those of least squares. Noise that is mixed
    in (`target.mixing`) is left to constants: neurons of an output's own do not read other features. GELU and SoLU as
    output count as a linear one, SoLU neurons as ReLUs.

    For |x| of 20 features in [-1, 1] by 20 neurons: (p / 3 - p^2 / 4) / 2.

    Args:
        config: of one instance.
        samples: of the instance, such as those of its final loss.
    """
    target = Target.of(config)
    of_groups = zip(*_errors(config, samples.flatten(0, -2)), strict=True)
    dedicated, constant = (torch.cat(parts) for parts in of_groups)
    importances = torch.tensor(target.importances(config.features.importances()), dtype=torch.float64)
    weights = importances.view(len(target.groups), target.n_classes)
    constant, dedicated = weights * constant, weights * dedicated
    gains = (constant - dedicated).sum(1)
    worthwhile = int((gains > _ROUNDING * constant.sum(1)).sum())
    count = min(_capacity(config), worthwhile)
    chosen = gains.argsort(descending=True, stable=True)[:count]
    losses = constant.clone()
    losses[chosen] = dedicated[chosen]
    return Naive(
        loss=float(losses.mean()),
        per_output=losses.flatten().tolist(),
        dedicated=count * target.n_classes,
        constant_loss=float(constant.mean()),
    )


def _errors(config: ToyConfig, x: Float[Tensor, "batch feat"]) -> Iterator[Errors]:
    """The errors of some groups of outputs at a time."""
    of = _of_cross_entropy if config.fit.loss == "cross_entropy" else _of_squares
    target, first = Target.of(config), 0
    groups = torch.tensor(target.groups)
    alone = Target(config.target.model_copy(update={"pairs": "adjacent"}), groups.shape[1])
    columns = x.T.contiguous()
    for some in groups.split(max(1, _ELEMENTS // len(x))):
        reads = columns[some]
        # The answers in the samples' own precision: levels are compared exactly, before the move to fp64.
        wanted = alone(reads.mT).mT.double()
        if target.mixings:
            wanted = wanted + target.mixed(x).T.double().view(len(groups), 1, -1)[first : first + len(some)]
        first += len(some)
        yield of(config, wanted, reads.movedim(0, 1).double())


def _capacity(config: ToyConfig) -> int:
    """Groups of outputs that can have neurons of their own."""
    neurons = (
        _logit_neurons(config) if config.fit.loss == "cross_entropy" else _own_neurons(config, torch.zeros(2, 1, 1))[0]
    )
    if neurons is None:
        return 0
    low, _ = _bounds(config)
    negative = config.target.function in ("identity", "max", "product") and low < 0
    carried = 2 if config.network.output == "linear" and negative else 1
    first, *rest = config.network.widths
    return min([first // neurons, *(width // carried for width in rest)])


def _bounds(config: ToyConfig) -> tuple[float, float]:
    """The lowest and highest value of an active feature."""
    values = config.features.values
    return (min(values.choices), max(values.choices)) if values.choices else (values.low, values.high)


def _own_neurons(config: ToyConfig, x: Float[Tensor, "reads group batch"]) -> tuple[int, list[Tensor]]:
    """How many neurons compute an output alone, and the functions (with the output's ReLU, if any) that they give it.

    max(x, y) = relu(x - y) + y; max(|x|, |y|) = (|x + y| + |x - y|) / 2; of true = c and false = 0:
    x and y = relu(x + y - c) / c = (x - relu(x - y)) / c, x or y = max(x, y) / c = 1 - relu(c - x - y) / c,
    x xor y = |x - y| / c. GELU: x = gelu(x) - gelu(-x), and gelu(b + e x) / e^2 is a parabola for small e, from
    one neuron at the b of lowest gelu, from two of opposite sign at b = 0; 4 x y = (x + y)^2 - (x - y)^2.
    """
    network, values, function = config.network, config.features.values, config.target.function
    low, high = _bounds(config)
    a, b = x[0], x[-1]
    if network.is_tied:
        both_signs = network.output == "linear" and low < 0 < high
        two = network.kind == "neuron" and (network.activation == "gelu" or both_signs)
        return 2 if two else 1, [a.relu() if network.output == "relu" else a]
    if network.activation == "linear":
        return len(x), [*x]
    either = [a.relu()] if low >= 0 else [(-a).relu()] if high <= 0 else [a.relu(), (-a).relu()]
    parabola = 1 if network.hidden_bias and network.bias else 2
    binary = values.kind == "choice" and len(set(values.choices)) == 1 and high > TRUE_ABOVE
    match function:
        case "identity" if network.output == "relu":
            own = [a.relu()]
        case "relu":
            own = [a.relu()]
        case "which":
            return config.features.n, [each.relu() for each in x]
        case "square" if network.activation == "gelu":
            return parabola, [a.square()]
        case "product" if network.activation == "gelu":
            return 2 * parabola, [a * b]
        case "identity" | "abs" | "square" | "one_hot":
            own = either
        case "and" if binary and (network.hidden_bias or (network.output == "relu" and network.bias)):
            own = [(a + b - high).relu()]
        case "or" if binary and network.hidden_bias and network.bias:
            own = [(high - a - b).relu()]
        case "argmax" | "xor" if binary or function == "argmax":
            own = [(a - b).relu(), (b - a).relu()]
        case "and" if binary:
            own = [a.relu(), (a - b).relu()]
        case "or" if binary:
            own = [(a - b).relu(), b.relu()]
        case "max" | "max_abs" if low >= 0:
            own = [(a - b).relu(), b.relu()]
        case "max":
            own = [(a - b).relu(), b.relu(), (-b).relu()]
        case _ if low >= 0:
            own = [(a - b).relu(), a.relu(), b.relu()]
        case _:
            own = [(a + b).relu(), (-a - b).relu(), (a - b).relu(), (b - a).relu()]
    return len(own), own


def _logit_neurons(config: ToyConfig) -> int | None:
    """Neurons whose scaled-up outputs are the logits of the right class; None where there are none.

    argmax: relu(y - x) against a bias, or against relu(x - y). one_hot: l x - l^2 / 2 is largest for the level l = x.
    """
    if config.target.function == "which":
        return config.features.n
    if config.target.function == "argmax":
        return 1 if config.network.bias else 2
    if not config.network.bias:
        return None
    low, high = _bounds(config)
    return 2 if low < 0 < high else 1


def _of_squares(config: ToyConfig, wanted: Classes, x: Float[Tensor, "reads group batch"]) -> Errors:
    network, n = config.network, x.shape[-1]
    own = torch.stack(_own_neurons(config, x)[1], dim=1)
    if network.bias:
        own = torch.cat([own, torch.ones_like(own[:, :1])], dim=1)
    cut = torch.relu if network.output == "relu" else torch.clone
    inverse = torch.linalg.pinv(own @ own.mT, hermitian=True)
    # With a ReLU output neither aim is always the better one: the answer, or what the ReLU leaves of it.
    aims = [wanted, cut(wanted)] if network.output == "relu" and bool((wanted < 0).any()) else [wanted]
    fits = [inverse @ (own @ aim.mT) for aim in aims]
    power = config.fit.loss_power
    tries = [_to(cut(fit.mT @ own) - wanted, power).sum(-1) / n for fit in fits]
    of_own = torch.stack(tries).amin(0)
    constant = cut(best_constant(wanted, power)) if network.bias else torch.zeros(())
    of_constant = _to(constant - wanted, power).sum(-1) / n
    # The rounding of an exact answer is no loss.
    exact = of_own.sum(1, keepdim=True) < _ROUNDING * of_constant.sum(1, keepdim=True)
    return of_own.masked_fill(exact, 0.0), of_constant


def best_constant(wanted: Float[Tensor, "*lead batch"], power: float = 2.0) -> Float[Tensor, "*lead 1"]:
    """The constant of the smallest mean |error|^power: the mean for squares, else by bisection of the slope."""
    if power == 2:
        return wanted.mean(-1, keepdim=True)
    low, high = wanted.amin(-1, keepdim=True), wanted.amax(-1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        error = middle - wanted
        too_high = error.abs().pow(power - 1).copysign(error).sum(-1, keepdim=True) > 0
        low, high = torch.where(too_high, low, middle), torch.where(too_high, middle, high)
    return (low + high) / 2


def _to(errors: Tensor, power: float) -> Tensor:
    """|errors|^power."""
    return errors.square() if power == 2 else errors.abs().pow(power)


def _of_cross_entropy(config: ToyConfig, wanted: Classes, x: Float[Tensor, "reads group batch"]) -> Errors:
    shares = wanted.mean(-1)
    any_class = shares.sum(1, keepdim=True)
    of_constant = -torch.xlogy(shares, shares / any_class.clamp(min=1e-300)).sum(1, keepdim=True)
    of_own = torch.zeros_like(of_constant)
    if not config.network.bias:
        of_constant = any_class * math.log(wanted.shape[1])
        # Without a bias both sides of a tie have the logit 0.
        of_own = (x[0] == x[-1]).double().mean(-1, keepdim=True) * math.log(2)
    return of_own.expand_as(shares), of_constant.expand_as(shares)
