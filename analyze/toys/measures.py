"""MEASURES: one number a replica, by name, for [[expect]] and tables; each with its formula, its unit and its scope."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Num
from numpy import ndarray

from analyze.toys import geometry
from analyze.toys.dynamics import jumps
from analyze.toys.geometry import PLATEAUS, cosines, dimensionality, interference, plateau_of, represented
from analyze.toys.neurons import CONNECTED, MONO, Motif
from analyze.toys.phase import has_phase_diagram, observed_strategy, predicted_strategies
from analyze.toys.reading import Reading
from train.errors import BadInput, did_you_mean
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun

PerReplica: TypeAlias = Num[ndarray, "inst rep"]


@dataclass(frozen=True)
class Scope:
    """The toys that a measure applies to."""

    says: str
    holds: Callable[[ToyConfig], bool]


ANY = Scope("every toy", lambda config: True)
TIED = Scope("bottleneck and neuron models", lambda config: config.network.is_tied)
NEURONS = Scope("neuron and computation models", lambda config: config.network.kind != "bottleneck")
SQUARED = Scope("toys with loss = 'mse'", lambda config: config.fit.loss == "mse")
CLASSIFIES = Scope("toys with loss = 'cross_entropy'", lambda config: config.fit.loss == "cross_entropy")
CLASSES = Scope(
    "bottleneck and neuron models with features.classes", lambda c: c.network.is_tied and bool(c.features.classes)
)
PAIRS = Scope(
    "bottleneck and neuron models of an even number of features", lambda c: c.network.is_tied and c.features.n % 2 == 0
)
PHASES = Scope(
    "bottlenecks of n features in n - 1 dimensions with ReLU and bias, independent uniform features in [0, 1] of one "
    "probability, all but the last of importance 1",
    lambda config: all(has_phase_diagram(each) for each in config.instances()),
)
MOTIFS = Scope(
    "computations with one hidden layer and one output a feature",
    lambda c: (
        not c.network.is_tied
        and len(c.network.hidden) == 1
        and c.target.function in ("identity", "abs", "square", "relu")
    ),
)


@dataclass(frozen=True)
class Measure:
    """A number for every replica of every instance."""

    name: str
    says: str
    """Formula and unit."""
    scope: Scope
    function: Callable[[Reading], PerReplica]

    def __call__(self, run: ToyRun | Reading) -> Float[ndarray, "inst rep"]:
        """Its values, float64; NaN throughout for a toy that it does not apply to."""
        reading = run if isinstance(run, Reading) else Reading(run)
        if not self.scope.holds(reading.run.config):
            return np.full((reading.run.n_inst, reading.run.n_rep), nan)
        return np.asarray(self.function(reading), dtype=np.float64)


MEASURES: dict[str, Measure] = {}


def measure_named(name: str) -> Measure:
    """The measure of this name.

    Raises:
        BadInput: there is none; names the nearest.
    """
    if name not in MEASURES:
        raise BadInput(f"measure {name!r} is not known{did_you_mean(name, list(MEASURES))}")
    return MEASURES[name]


def _add(name: str, says: str, scope: Scope, function: Callable[[Reading], PerReplica]) -> None:
    MEASURES[name] = Measure(name, " ".join(says.split()), scope, function)


def _measure(scope: Scope) -> Callable[[Callable[[Reading], PerReplica]], Callable[[Reading], PerReplica]]:
    """Registers a function under its own name; its docstring says what it measures."""

    def register(function: Callable[[Reading], PerReplica]) -> Callable[[Reading], PerReplica]:
        _add(function.__name__, function.__doc__ or "", scope, function)
        return function

    return register


def _mean(values: ndarray, where: ndarray) -> PerReplica:
    """Mean over the last axis of the marked values; NaN where none is marked."""
    counts = where.sum(-1)
    return np.where(where, values, 0).sum(-1) / np.where(counts, counts, nan)


def _over(losses: PerReplica, baseline: Float[ndarray, "inst"]) -> PerReplica:
    return losses / np.where(baseline > 0, baseline, nan)[:, None]


# Losses.


@_measure(ANY)
def loss(of: Reading) -> PerReplica:
    """Final loss on held-out samples: importance x squared error, mean over samples and outputs; nats for
    cross-entropy."""
    return of.run.losses


@_measure(ANY)
def loss_over_naive(of: Reading) -> PerReplica:
    """Loss over that of the naive baseline, which gives as many outputs as it can neurons of their own and a
    constant to the rest; a ratio, below 1 only with superposition. NaN where the baseline's loss is 0."""
    return _over(of.run.losses, of.run.naive_losses)


@_measure(ANY)
def loss_over_constant(of: Reading) -> PerReplica:
    """Loss over that of the best constant for every output (the variance, importance-weighted); a ratio, 1 for a
    model that has learned nothing."""
    return _over(of.run.losses, of.run.constant_losses)


@_measure(CLASSIFIES)
def accuracy(of: Reading) -> PerReplica:
    """Share of held-out samples and groups of outputs whose largest logit is the right class's, 0 to 1."""
    return of.accuracy


@_measure(SQUARED)
def loss_of_one_active(of: Reading) -> PerReplica:
    """Loss on the samples with exactly one active feature: alternating interference. NaN with under 30 of them."""
    return _of_active(of, 1)


@_measure(SQUARED)
def loss_of_two_active(of: Reading) -> PerReplica:
    """Loss on the samples with exactly two active features: simultaneous interference comes in."""
    return _of_active(of, 2)


@_measure(SQUARED)
def loss_of_two_over_one(of: Reading) -> PerReplica:
    """Loss on samples of two active features over twice that on samples of one; a ratio: 1 where each feature
    adds its own error, above 1 where features that are active together make it worse."""
    single = _of_active(of, 1)
    return _of_active(of, 2) / (2 * np.where(single > 0, single, nan))


def _of_active(of: Reading, n: int) -> PerReplica:
    split = of.split.loss
    return split[:, :, n] if n < split.shape[-1] else np.full(split.shape[:2], nan)


@_measure(ANY)
def n_jumps(of: Reading) -> PerReplica:
    """Abrupt falls of the loss between plateaus of the learning curve; a count (analyze.toys.dynamics.jumps)."""
    return np.apply_along_axis(jumps, 0, of.run.curves.losses)


# Where features lie.


def _marked(of: Reading) -> ndarray:
    return represented(of.weight).numpy()


@_measure(TIED)
def features_represented(of: Reading) -> PerReplica:
    """Features with |W_i| > 0.5; a count."""
    return _marked(of).sum(-1)


@_measure(CLASSES)
def features_represented_first_class(of: Reading) -> PerReplica:
    """Features of the first class with |W_i| > 0.5; a count."""
    return _marked(of)[..., of.classes[0]].sum(-1)


@_measure(CLASSES)
def features_represented_last_class(of: Reading) -> PerReplica:
    """Features of the last class with |W_i| > 0.5; a count."""
    return _marked(of)[..., of.classes[-1]].sum(-1)


@_measure(TIED)
def sum_of_dimensionality(of: Reading) -> PerReplica:
    """Sum of D_i = |W_i|^2 / sum_j (W_i^ . W_j)^2 over features, in dimensions: at most the hidden size."""
    return dimensionality(of.weight).sum(-1).numpy()


@_measure(TIED)
def largest_dimensionality(of: Reading) -> PerReplica:
    """The largest D_i, in dimensions, 0 to 1."""
    return dimensionality(of.weight).amax(-1).numpy()


@_measure(TIED)
def mean_dimensionality(of: Reading) -> PerReplica:
    """Mean D_i of the features with |W_i| > 0.5, in dimensions; NaN where there are none."""
    return _mean(dimensionality(of.weight).numpy(), _marked(of))


@_measure(TIED)
def dimensionality_star(of: Reading) -> PerReplica:
    """D* = m / |W|_F^2: hidden dimensions per feature represented."""
    return geometry.dimensionality_star(of.weight).numpy()


@_measure(TIED)
def mean_interference(of: Reading) -> PerReplica:
    """Mean over features with |W_i| > 0.5 of sum over j != i of (W_i^ . W_j)^2; 1 for an antipodal pair of norm 1."""
    return _mean(interference(of.weight).numpy(), _marked(of))


def _share_on(plateau: str) -> Callable[[Reading], PerReplica]:
    index = list(PLATEAUS).index(plateau)
    return lambda of: _mean(plateau_of(dimensionality(of.weight).numpy()) == index, _marked(of))


for _name, _plateau, _value in (
    ("one", "dedicated", "1"),
    ("three_quarters", "tetrahedron", "3/4"),
    ("two_thirds", "triangle", "2/3"),
    ("half", "antipodal", "1/2"),
    ("two_fifths", "pentagon", "2/5"),
    ("three_eighths", "square_antiprism", "3/8"),
):
    _says = f"""Share of the features with |W_i| > 0.5 whose D_i lies within 0.03 of {_value}, nearer than to another
    plateau ({_plateau.replace("_", " ")})."""
    _add(f"share_on_{_name}", _says, TIED, _share_on(_plateau))


def _count(structure: str) -> Callable[[Reading], PerReplica]:
    return lambda of: np.array([[groups.count(structure) for groups in replicas] for replicas in of.geometries])


for _name, _structure in (
    ("dedicated", "dedicated"),
    ("antipodal_pairs", "antipodal pair"),
    ("triangles", "triangle"),
    ("tetrahedra", "tetrahedron"),
    ("pentagons", "pentagon"),
    ("square_antiprisms", "square antiprism"),
    ("nameless", "none"),
):
    _says = f"""Groups of features named {_structure!r} by analyze.toys.geometry.geometry; a count of groups."""
    _add(f"count_{_name}", _says, TIED, _count(_structure))


def _over_structures(of: Reading, take: Callable[[list[float]], float], name: str | None = None) -> PerReplica:
    """What `take` makes of the errors of each network's structures, or of those of one name."""

    def errors(network: geometry.Geometry) -> list[float]:
        return [each.error for each in network.structures if name in (None, each.name)]

    return np.array([[take(errors(network)) for network in replicas] for replicas in of.geometries])


@_measure(TIED)
def largest_geometry_error(of: Reading) -> PerReplica:
    """Largest error of a group's geometry: relative distance of its Gram matrix from the ideal, 0 to 1."""
    return _over_structures(of, lambda errors: max(errors, default=nan))


@_measure(TIED)
def pentagon_error(of: Reading) -> PerReplica:
    """Error of the most regular pentagon, 0 to 1 (relative distance of Gram matrices); 1 where there is none."""
    return _over_structures(of, lambda errors: min(errors, default=1.0), "pentagon")


@_measure(PAIRS)
def pair_cosine_within(of: Reading) -> PerReplica:
    """Mean cosine between W_2i and W_2i+1 over the pairs of which both have a norm above 0.5; NaN without such."""
    marked = _marked(of)
    within = cosines(of.weight).numpy()[..., ::2, 1::2].diagonal(axis1=-2, axis2=-1)
    return _mean(within, marked[..., ::2] & marked[..., 1::2])


@_measure(PAIRS)
def pair_cosine_between(of: Reading) -> PerReplica:
    """Mean |cosine| between features with |W_i| > 0.5 that are of different pairs; NaN without such."""
    marked, pair = _marked(of), np.arange(of.run.config.features.n) // 2
    both = marked[..., :, None] & marked[..., None, :] & (pair[:, None] != pair)
    cosine = cosines(of.weight).abs().numpy()
    return _mean(cosine.reshape(*cosine.shape[:2], -1), both.reshape(*both.shape[:2], -1))


# Phases.


@_measure(PHASES)
def strategy(of: Reading) -> PerReplica:
    """What became of the last feature: 0 ignored, 1 dedicated, 2 antipodal, 3 dedicated with two others
    antipodal; NaN for something else."""
    return np.array([[observed_strategy(weight) for weight in replicas] for replicas in of.weight], dtype=np.float64)


@_measure(PHASES)
def agrees_with_phase(of: Reading) -> PerReplica:
    """1 where the strategy is the one of lowest loss in theory (analyze.toys.phase), else 0."""
    predicted = [predicted_strategies(config) for config in of.configs]
    agrees = [np.isin(observed, cheapest) for observed, cheapest in zip(strategy(of), predicted, strict=True)]
    return np.array(agrees, dtype=np.float64)


@_measure(PHASES)
def phase_agreement(of: Reading) -> PerReplica:
    """Share of all instances whose best replica has the strategy of lowest loss in theory; one number for the run."""
    agrees = agrees_with_phase(of)[np.arange(of.run.n_inst), of.run.best]
    return np.full((of.run.n_inst, of.run.n_rep), agrees.mean())


# Neurons.


@_measure(NEURONS)
def share_monosemantic_90(of: Reading) -> PerReplica:
    """Share of live neurons of whose responses one feature makes up more than 0.9; NaN where all are dead."""
    return _share_above(of, MONO[0])


@_measure(NEURONS)
def share_monosemantic_999(of: Reading) -> PerReplica:
    """Share of live neurons of whose responses one feature makes up more than 0.999; NaN where all are dead."""
    return _share_above(of, MONO[1])


def _share_above(of: Reading, least: float) -> PerReplica:
    return _mean((of.share > least).numpy(), ~of.dead.numpy())


@_measure(NEURONS)
def mean_share(of: Reading) -> PerReplica:
    """Mean over live neurons of the largest feature's share of the neuron's responses, 1 / n_features to 1."""
    return _mean(of.share.numpy(), ~of.dead.numpy())


@_measure(NEURONS)
def n_polysemantic(of: Reading) -> PerReplica:
    """Live neurons of whose responses no feature makes up more than 0.9; a count."""
    return (of.share <= MONO[0]).sum(-1).numpy()


@_measure(NEURONS)
def share_dead_neurons(of: Reading) -> PerReplica:
    """Share of hidden neurons through which next to nothing passes (analyze.toys.neurons.dead)."""
    return of.dead.double().mean(-1).numpy()


@_measure(SQUARED)
def features_computed(of: Reading) -> PerReplica:
    """Outputs whose loss is below 0.25 of their best constant's; a count."""
    return of.computed.sum(-1)


@_measure(SQUARED)
def features_computed_beyond_naive(of: Reading) -> PerReplica:
    """Outputs computed, less those that neurons of their own would compute exactly; a count, may be negative."""
    return of.computed.sum(-1) - np.array([each.dedicated for each in of.run.naive])[:, None]


def _motif(*names: Motif) -> Callable[[Reading], PerReplica]:
    return lambda of: np.array([[sum(counts[n] for n in names) for counts in replicas] for replicas in of.motif_counts])


_MOTIF_COUNTS: tuple[tuple[str, tuple[Motif, ...], str], ...] = (
    ("mono_pairs", ("mono pair",), "Pairs of monosemantic neurons that serve one feature, one for either sign"),
    ("antipodal_motifs", ("antipodal",), "Pairs of polysemantic neurons with opposite input weights"),
    ("pairs", ("mono pair", "antipodal"), "Pairs of neurons with opposite input weights, mono or antipodal"),
    ("asymmetric_motifs", ("asymmetric",), "Asymmetric neurons that have an inhibitor"),
    ("inhibitors", ("inhibitor",), "Neurons whose strongest path ends in a negative output weight"),
)
for _name, _motifs, _what in _MOTIF_COUNTS:
    _add(f"n_{_name}", f"{_what} (analyze.toys.neurons.motifs); a count.", MOTIFS, _motif(*_motifs))


@_measure(MOTIFS)
def output_weights_positive(of: Reading) -> PerReplica:
    """Share of the output weights W2[o, j] with max_i |W1[j, i]| |W2[o, j]| > 0.1 that are positive; NaN for none."""
    first, last = (layer.weight for layer in of.run.model.layers)
    matters = first.abs().amax(-1)[..., None, :] * last.abs() > CONNECTED
    positive = (last > 0).flatten(-2).numpy()
    return _mean(positive, matters.flatten(-2).numpy())
