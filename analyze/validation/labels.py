"""Missing labels and extra labels: whether a figure of fit falls when the set it judges is made worse.

After Oikarinen, Yan and Weng (ICML 2025, arXiv 2506.05774): a figure that does not fall when half of the true
set is left out, or when as many wrong tokens are put in, cannot tell a good explanation from a bad one.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze import metrics as fit_metrics
from analyze.scores.validity import Labels
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, drawn, generator, planted

Figure = Callable[[Float[ndarray, "t"], Bool[ndarray, "t"]], float]
NOISE = 0.05
"""sd of the neurons' noise: the true set has to be what they answer to. At the noise of the main case most tokens
above the firing threshold of a neuron with a rare feature are noise, and F1 and IoU tell of these instead."""
FALLS = 0.05
"""A figure has fallen where it lost more than this share of its value."""
REFERENCES: dict[str, tuple[Figure, bool]] = {
    "Pearson": (fit_metrics.pearson, True),
    "cosine": (fit_metrics.cosine, True),
    "AUPRC": (fit_metrics.average_precision, True),
    "F1": (fit_metrics.f1, True),
    "IoU": (fit_metrics.iou, True),
    "recall": (fit_metrics.recall, False),
    "AUC": (fit_metrics.auroc, False),
}
"""Figures and whether they are known to pass: the test itself is tested on them."""


def worse_sets(true: Bool[ndarray, "t"], index: int) -> tuple[Bool[ndarray, "t"], Bool[ndarray, "t"]]:
    """The set without a random half of its tokens, and with as many random others as it has."""
    rng = generator("labels", index)
    inside, outside = np.flatnonzero(true), np.flatnonzero(~true)
    missing, extra = true.copy(), true.copy()
    missing[rng.choice(inside, len(inside) // 2, replace=False)] = False
    extra[rng.choice(outside, min(len(inside), len(outside)), replace=False)] = True
    return missing, extra


def label_tests(bank: Admitted, figures: Mapping[str, Figure]) -> dict[str, Labels]:
    """Each figure on the main case's neurons of one feature, whose true set is known."""
    neurons = [one for one in drawn(MAIN, bank) if one.k == 1]
    fell = {name: np.zeros((len(neurons), 2), bool) for name in figures}
    for index, one in enumerate(neurons):
        y = planted(bank.tokens, [one], NOISE, f"labels {index}")[:, 0]
        true = bank.tokens[:, one.features[0]]
        worse = worse_sets(true, index)
        for name, figure in figures.items():
            bound = figure(y, true) * (1 - FALLS)
            fell[name][index] = [figure(y, covered) < bound for covered in worse]
    return {name: Labels(len(neurons), *(float(share) for share in held.mean(axis=0))) for name, held in fell.items()}
