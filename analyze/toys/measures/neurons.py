"""Measures of neurons: what they answer to, what they compute, in which motifs."""

from collections.abc import Callable

import numpy as np

from analyze.toys.measures.base import PerReplica, add, mean_where, register
from analyze.toys.neurons import CONNECTED, MONO, Motif
from analyze.toys.reading import Reading


@register
def share_monosemantic_90(of: Reading) -> PerReplica:
    """Share of live neurons of whose responses one feature makes up more than 0.9; NaN where all are dead."""
    return _share_above(of, MONO[0])


@register
def share_monosemantic_999(of: Reading) -> PerReplica:
    """Share of live neurons of whose responses one feature makes up more than 0.999; NaN where all are dead."""
    return _share_above(of, MONO[1])


def _share_above(of: Reading, least: float) -> PerReplica:
    return mean_where((of.share > least).numpy(), ~of.dead.numpy())


@register
def mean_share(of: Reading) -> PerReplica:
    """Mean over live neurons of the largest feature's share of the neuron's responses, 1 / n_features to 1."""
    return mean_where(of.share.numpy(), ~of.dead.numpy())


@register
def n_polysemantic(of: Reading) -> PerReplica:
    """Live neurons of whose responses no feature makes up more than 0.9; a count."""
    return (of.share <= MONO[0]).sum(-1).numpy()


@register
def share_dead_neurons(of: Reading) -> PerReplica:
    """Share of hidden neurons through which next to nothing passes (analyze.toys.neurons.dead)."""
    return of.dead.double().mean(-1).numpy()


@register
def features_computed(of: Reading) -> PerReplica:
    """Outputs whose loss is below 0.25 of their best constant's; a count."""
    return of.computed.sum(-1)


@register
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
    add(f"n_{_name}", f"{_what} (analyze.toys.neurons.motifs); a count.", _motif(*_motifs))


@register
def output_weights_positive(of: Reading) -> PerReplica:
    """Share of the output weights W2[o, j] with max_i |W1[j, i]| |W2[o, j]| > 0.1 that are positive; NaN for none."""
    first, last = (layer.weight for layer in of.run.model.layers)
    matters = first.abs().amax(-1)[..., None, :] * last.abs() > CONNECTED
    positive = (last > 0).flatten(-2).numpy()
    return mean_where(positive, matters.flatten(-2).numpy())
