"""What in a toy's numbers should make a reader doubt them, one sentence each."""

from collections.abc import Sequence

import numpy as np

from analyze.toys.verdicts import Verdict
from analyze.toys.view import View

FEW_REPLICAS = 5
STILL_FALLING = 0.05
"""Part of its loss that the best replica may still lose in the last tenth of training and count as settled."""
NEXT_TO_NOTHING = 1e-4
"""Part of the constants' loss below which a loss is not asked whether it settled."""
SOLITARY = 0.25
"""Share of replicas near the best below which replicas are said to disagree."""


def doubts(view: View, verdicts: Sequence[Verdict]) -> list[str]:
    """Sentences on superposition that was not gained, few or quarrelling replicas, and training that did not settle."""
    run = view.run
    found = []
    enough = [i for i in range(run.n_inst) if run.naive[i].loss == 0]
    if enough:
        found.append(
            f"There is nothing that superposition could gain in {_which(view, enough)}: neurons of their own "
            "suffice for every output, so that the naive baseline is 0."
        )
    above = [i for i in range(run.n_inst) if 0 < run.naive[i].loss <= run.best_losses[i]]
    if above:
        found.append(
            f"The lowest loss is not below the naive baseline in {_which(view, above)}: whatever the weights look "
            "like, superposition has gained nothing there."
        )
    if run.n_rep < FEW_REPLICAS:
        found.append(
            f"{run.n_rep} replica{'s' * (run.n_rep > 1)} of each instance: another initialisation may end in a lower "
            "loss and another solution."
        )
    near = run.good.mean(axis=1)
    if run.n_rep > 1 and (apart := [i for i in range(run.n_inst) if near[i] < SOLITARY]):
        found.append(
            f"Replicas disagree in {_which(view, apart)}: fewer than {100 * SOLITARY:.0f} % of them end as "
            "well as the leading one, so that it may not be the best there is."
        )
    if unsettled := _unsettled(view):
        found.append(
            f"Training had not settled in {_which(view, unsettled)}: the leading replica lost more than "
            f"{100 * STILL_FALLING:.0f} % of its loss in the last tenth of the steps."
        )
    alone = [each for each in verdicts if each.word == "held" and each.good.sum() == 1]
    if alone and run.n_rep > 1:
        found.append(
            f"{len(alone)} of {len(verdicts)} expectations held by a single replica: no other one ends as well."
        )
    return found


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
    matters = run.best_losses > NEXT_TO_NOTHING * np.array([each.constant_loss for each in run.naive])
    return [int(i) for i in np.flatnonzero((fall > STILL_FALLING) & matters)]
