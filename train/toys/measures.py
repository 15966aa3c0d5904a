"""The names of measures that [[expect]] and [verdict] may ask of a toy, and the toys that each applies to.

What each computes stands in `analyze/toys/measures`, where it is registered under its name here: so a wrong name is
found when a TOY.toml is read, not after it has trained.
"""

from collections.abc import Callable
from dataclasses import dataclass

from train.toys.config import ToyConfig


@dataclass(frozen=True)
class Scope:
    """The toys that a measure applies to."""

    says: str
    holds: Callable[[ToyConfig], bool]


def has_phase_diagram(config: ToyConfig) -> bool:
    """Whether the theory of `analyze.toys.phase` applies to an instance: n features in n - 1 dimensions, all alike but
    the last's importance, as that module's docstring says."""
    features, network = config.features, config.network
    return (
        network.kind == "bottleneck"
        and network.hidden == (features.n - 1,)
        and network.output == "relu"
        and network.bias
        and features.pairs == "independent"
        and features.active is None
        and features.values.kind == "uniform"
        and (features.values.low, features.values.high) == (0.0, 1.0)
        and len(set(features.probabilities())) == 1
        and set(features.importances()[:-1]) == {1.0}
    )


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
ABSOLUTES = Scope(
    "computations with loss = 'mse' and features of both signs",
    lambda c: not c.network.is_tied and c.fit.loss == "mse" and c.features.values.low < 0,
)

_NAMES: tuple[tuple[Scope, str], ...] = (
    (ANY, "loss loss_over_naive loss_over_constant log_loss n_jumps share_antipodal cosine_spread"),
    (CLASSIFIES, "accuracy"),
    (
        SQUARED,
        "loss_of_one_active loss_of_two_active loss_of_two_over_one loss_over_simple features_computed "
        "features_computed_beyond_naive",
    ),
    (
        TIED,
        "features_represented sum_of_dimensionality largest_dimensionality mean_dimensionality dimensionality_star "
        "mean_interference basis_alignment share_on_one share_on_three_quarters share_on_two_thirds share_on_half "
        "share_on_two_fifths share_on_three_eighths count_dedicated count_antipodal_pairs count_triangles "
        "count_tetrahedra count_pentagons count_square_antiprisms count_nameless largest_geometry_error pentagon_error",
    ),
    (CLASSES, "features_represented_first_class features_represented_last_class interference_within_last_class"),
    (PAIRS, "pair_cosine_within pair_cosine_between"),
    (PHASES, "strategy agrees_with_phase phase_agreement"),
    (
        NEURONS,
        "share_monosemantic_90 share_monosemantic_999 mean_share n_polysemantic share_dead_neurons "
        "pair_difference_alignment",
    ),
    (MOTIFS, "n_mono_pairs n_antipodal_motifs n_pairs n_asymmetric_motifs n_inhibitors output_weights_positive"),
    (ABSOLUTES, "absolutes_in_first_layer"),
)

SCOPES: dict[str, Scope] = {name: scope for scope, names in _NAMES for name in names.split()}
"""Name of a measure -> the toys that it applies to."""

OF_TRAINING = frozenset(
    (
        *("loss", "loss_over_naive", "loss_over_constant", "loss_over_simple", "log_loss", "n_jumps"),
        *("features_computed", "features_computed_beyond_naive"),
    )
)
"""Measures of losses that training recorded: other weights (untrained, rotated, permuted) do not change them."""
