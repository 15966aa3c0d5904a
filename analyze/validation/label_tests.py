"""Missing labels and extra labels: does a figure of fit fall when the set that it judges gets worse?

After Oikarinen, Yan and Weng (ICML 2025, arXiv 2506.05774). If a figure does not fall when half of the true set is
left out, or when as many wrong tokens are added, it cannot tell a good explanation from a bad one.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze import metrics
from analyze.scores.validity import Labels
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, draw_neurons, generator, planted_activations

Figure = Callable[[Float[ndarray, "t"], Bool[ndarray, "t"]], float]
NOISE = 0.05
"""sd of the neurons' noise, so that a neuron responds to its true set. With the noise of the main case, most tokens
above the firing threshold of a neuron with a rare feature would be noise, and F1 and IoU would measure that."""
FALLS = 0.05
"""A figure falls when it loses more than this share of its value."""
REFERENCES: dict[str, tuple[Figure, bool]] = {
    "Pearson": (metrics.pearson, True),
    "cosine": (metrics.cosine, True),
    "AUPRC": (metrics.average_precision, True),
    "F1": (metrics.f1, True),
    "IoU": (metrics.iou, True),
    "recall": (metrics.recall, False),
    "AUC": (metrics.auroc, False),
}
"""Figures that are known to pass (True) or to fail the test: they test the test."""


@runtime_checkable
class RestsOnFit(Protocol):
    """A score that rests on how well one set of tokens fits a neuron."""

    def metric(self, y: Float[ndarray, "t"], covered: Bool[ndarray, "t"]) -> float:
        """The figure of fit that it uses."""
        ...


def worse_sets(true: Bool[ndarray, "t"], index: int) -> tuple[Bool[ndarray, "t"], Bool[ndarray, "t"]]:
    """The set without a random half of its tokens, and the set with as many random others added."""
    rng = generator("labels", index)
    inside, outside = np.flatnonzero(true), np.flatnonzero(~true)
    missing, extra = true.copy(), true.copy()
    missing[rng.choice(inside, len(inside) // 2, replace=False)] = False
    extra[rng.choice(outside, min(len(inside), len(outside)), replace=False)] = True
    return missing, extra


def label_tests(admitted: Admitted, figures: Mapping[str, Figure]) -> dict[str, Labels]:
    """Test each figure on the main case's neurons of one feature, whose true set is known."""
    neurons = [neuron for neuron in draw_neurons(MAIN, admitted) if neuron.k == 1]
    fell = {name: np.zeros((len(neurons), 2), bool) for name in figures}
    for index, neuron in enumerate(neurons):
        y = planted_activations(admitted.tokens, [neuron], NOISE, f"labels {index}")[:, 0]
        true = admitted.tokens[:, neuron.features[0]]
        worse = worse_sets(true, index)
        for name, figure in figures.items():
            bound = figure(y, true) * (1 - FALLS)
            fell[name][index] = [figure(y, covered) < bound for covered in worse]
    return {name: Labels(len(neurons), *map(float, rows.mean(axis=0))) for name, rows in fell.items()}
