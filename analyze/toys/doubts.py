"""Reasons to doubt a toy's numbers, one sentence each."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from analyze.toys.verdicts import Verdict
from analyze.toys.view import View

FEW_REPLICAS = 5
STILL_FALLING = 0.05
"""A replica counts as settled if it loses at most this part of its loss in the last tenth of training."""
NEXT_TO_NOTHING = 1e-4
"""Whether a loss settled is not asked below this part of the constants' loss."""
SOLITARY = 0.25
"""Replicas disagree where fewer than this share end near the best."""


def doubts(view: View, verdicts: Sequence[Verdict]) -> list[str]:
    """Sentences on superposition that was not gained, few or quarrelling replicas, and training that did not settle."""
    run, n_rep = view.run, view.run.n_rep
    sentences = []
    if enough := _where(run.naive_losses == 0):
        sentences.append(
            f"There is nothing that superposition could gain in {_which(view, enough)}: neurons of their own "
            "suffice for every output, so that the naive baseline is 0."
        )
    if above := _where((run.naive_losses > 0) & (run.naive_losses <= run.best_losses)):
        sentences.append(
            f"The lowest loss is not below the naive baseline in {_which(view, above)}: whatever the weights look "
            "like, superposition has gained nothing there."
        )
    if n_rep < FEW_REPLICAS:
        sentences.append(
            f"{n_rep} replica{'s' * (n_rep > 1)} of each instance: another initialisation may end in a lower "
            "loss and another solution."
        )
    if n_rep > 1 and (apart := _where(run.good.mean(axis=1) < SOLITARY)):
        sentences.append(
            f"Replicas disagree in {_which(view, apart)}: fewer than {100 * SOLITARY:.0f} % of them end as "
            "well as the leading one, so that it may not be the best there is."
        )
    if unsettled := _unsettled(view):
        sentences.append(
            f"Training had not settled in {_which(view, unsettled)}: the leading replica lost more than "
            f"{100 * STILL_FALLING:.0f} % of its loss in the last tenth of the steps."
        )
    alone = [each for each in verdicts if each.word == "held" and each.good.sum() == 1]
    if alone and n_rep > 1:
        sentences.append(
            f"{len(alone)} of {len(verdicts)} expectations held by a single replica: no other one ends as well."
        )
    return sentences


def _where(marked: Bool[np.ndarray, "inst"]) -> list[int]:
    return [int(i) for i in np.flatnonzero(marked)]


def _which(view: View, instances: Sequence[int]) -> str:
    """Instances in words; many as a number with the first few."""
    n = view.run.n_inst
    if n == 1:
        return "the one instance"
    named = "; ".join(view.title(i) for i in instances[:6])
    rest = "; ..." if len(instances) > 6 else ""
    return f"{len(instances)} of {n} instances ({named}{rest})"


def _unsettled(view: View) -> list[int]:
    curves, run = view.run.curves, view.run
    # The mean of a few points on either side: one point of a constant rate wavers.
    late = curves.steps >= 0.95 * curves.steps[-1]
    before = (curves.steps >= 0.85 * curves.steps[-1]) & (curves.steps < 0.9 * curves.steps[-1])
    if not before.any():
        return []
    own = curves.losses[:, np.arange(run.n_inst), run.best]
    fall = 1 - own[late].mean(axis=0) / np.maximum(own[before].mean(axis=0), np.finfo(np.float64).tiny)
    # A loss of next to nothing has nowhere to settle.
    matters = run.best_losses > NEXT_TO_NOTHING * run.constant_losses
    return _where((fall > STILL_FALLING) & matters)
