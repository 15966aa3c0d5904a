"""4.30: by how few neurons of the next layer are two meanings of a polysemantic neuron told apart?"""

from collections.abc import Sequence

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.neuron_cases import figures_of_cases, measure_cases, planted_cases
from analyze.problems.subject import Subject


def measure(subject: Subject) -> Measurement:
    """Of neurons of the layer before the last, told apart by the last."""
    return measure_cases(subject, subject.model.config.n_layers - 2)


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """k90 of every neuron."""
    return figures_of_cases(
        measured,
        "A dot a neuron of the layer before the last: how many neurons of the last layer make 90 % of what it tells of "
        "the neuron's two meanings. Grey strokes: random neurons of like firing rates.",
    )


def planted(seed: int) -> Subject:
    """Two neurons of the second layer tell each label."""
    return planted_cases("planted", seed, 2, own_tellers=True)


def null(seed: int) -> Subject:
    """The same in a rotated basis."""
    return planted_cases("rotated", seed, 2, own_tellers=False)


PROBLEM = Problem(
    name="4.30",
    measure=measure,
    rule=Rule(
        says="yes (few neurons of the next layer tell) if the median over neurons of log2 k90 lies at least 2 below "
        "that of random neurons of like firing rates, a quarter as many, and below that of the untrained model, beyond "
        "95 % of the random orders in every seed, and the whole interval over seeds lies there; no if it lies above",
        least=2.0,
        higher=False,
    ),
    statistic="median over polysemantic neurons of log2 k90, the neurons of the next layer that make 90 % of what that "
    "layer tells of the two meanings",
    null="10 orders of neurons that changed places with others of like firing rates",
    minutes=0.3,
    needs=Needs(layers=2, attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="labels that two neurons each tell; the same circuit in a rotated basis"),
    doubts=(
        "What the next layer tells of two meanings it may read from the residual stream, not from the neuron.",
        "Two meanings are two of our labels; attention and the direct path tell them apart as well.",
    ),
)
