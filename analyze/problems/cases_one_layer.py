"""4.29: by how few other neurons of its own layer are two meanings of a polysemantic neuron told apart?"""

from collections.abc import Sequence

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.neuron_cases import figures_of_cases, measure_cases, planted_cases
from analyze.problems.subject import Subject


def measure(subject: Subject) -> Measurement:
    """Of neurons of the last layer, behind which nothing reads but the unembedding."""
    return measure_cases(subject, subject.model.config.n_layers - 1)


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """k90 of every neuron."""
    return figures_of_cases(
        measured,
        "A dot a neuron of the last layer: how many other neurons of that layer make 90 % of what they all tell of its "
        "two meanings. Grey strokes: random neurons of like firing rates.",
    )


def planted(seed: int) -> Subject:
    """Two neurons of its own tell each label."""
    return planted_cases("planted", seed, 1, own_tellers=True)


def null(seed: int) -> Subject:
    """The same in a rotated basis: half the layer tells every label."""
    return planted_cases("rotated", seed, 1, own_tellers=False)


PROBLEM = Problem(
    name="4.29",
    measure=measure,
    rule=Rule(
        says="yes (few neurons tell) if the median over neurons of log2 k90 lies at least 2 below that of random "
        "neurons of like firing rates, a quarter as many, and below that of the untrained model, beyond 95 % of the "
        "random orders in every seed, and the whole interval over seeds lies there; no if it lies above",
        least=2.0,
        higher=False,
    ),
    statistic="median over polysemantic neurons of log2 k90, the other neurons that make 90 % of what their layer "
    "tells of the two meanings",
    null="10 orders of neurons that changed places with others of like firing rates",
    minutes=0.3,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="labels that two neurons each tell; the same circuit in a rotated basis"),
    doubts=(
        "Of a model of several layers the last one is asked about: nothing but the unembedding reads it.",
        "Two meanings are two of our labels; the residual stream tells them apart as well, past the MLP.",
    ),
)
