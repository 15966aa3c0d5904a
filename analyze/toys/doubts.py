"""Reasons to doubt a toy's numbers, one sentence each."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from analyze.toys.expectations import Verdict
from analyze.toys.settled import STILL_FALLING, settled
from analyze.toys.view import View

FEW_REPLICAS = 5
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
    run = view.run
    return _where(~settled(run)[np.arange(run.n_inst), run.best])
