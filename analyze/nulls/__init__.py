"""What chance looks like: networks and neurons that have no features, which every score takes for a layer.

NULLS names what can be made from collected activations, in memory, of at most MOST neurons:

- `rotated`: a Haar rotation after the activation.
- `w_in_rotated`: W_in rotated, biases refitted to the same firing rates, the layer run again.
- `shifted`: each neuron's activations moved along the corpus.
- `random_sets`: each neuron's values on a random set of token ids.

How hard they are to beat, measured on models of 256 neurons and 3 M training tokens, as the share that K_eff (in
brackets: rule share) calls monosemantic. No shifted row reaches enough for K_eff to judge it.

                  relu        gelu_new    solu_ln mid  solu_ln post
    the neurons   .42 (.57)   .19 (.32)   .29 (.65)    .37 (.60)
    rotated       .07 (.52)   .05 (.27)   .07 (.59)    .03 (.39)
    w_in_rotated  .13 (.21)   .12 (.23)   .12 (.22)    .10 (.21)
    random_sets   .13 (.00)   .13 (.01)   .11 (.01)    .09 (.00)
    shifted        -  (.00)    -  (.00)

So for K_eff a rotation after the activation is the easiest of them, and for rule share the hardest.

One more null is no function of trained activations: `untrained`, the same network at step 0. It is collected and
scored like any step (training keeps it), and comparisons find it beside the run of the root variant.
"""

from collections.abc import Callable, Iterable

from analyze.activations.store import Activations
from analyze.nulls.held import MOST as MOST_ROTATED
from analyze.nulls.matching import FEWEST, NEAREST, Matched, match
from analyze.nulls.rotation import can_rotate, haar, rotated
from analyze.nulls.text_free import random_sets, shifted
from analyze.nulls.w_in import w_in_rotated
from train.errors import BadInput, did_you_mean

Null = Callable[[Activations, int], Activations | None]
"""Of some activations and a seed, on which alone it depends; None where they do not allow it."""


def _rotated_or_none(acts: Activations, seed: int) -> Activations | None:
    return rotated(acts, seed) if can_rotate(acts) else None


NULLS: dict[str, Null] = {
    "rotated": _rotated_or_none,
    "w_in_rotated": w_in_rotated,
    "shifted": shifted,
    "random_sets": random_sets,
}
DEFAULT_NULLS = ("w_in_rotated", "rotated")
"""z is taken against the first that the activations allow. Directions of `w_in_rotated` fire as often as the neurons
do; those of `rotated` 5 to 10 times as often (medians, quickstart models), so that its rows are no match in rate."""


def checked_nulls(nulls: Iterable[str]) -> list[str]:
    """`nulls`, each once, as given.

    Raises:
        BadInput: no such null.
    """
    nulls = list(dict.fromkeys(nulls))
    for null in nulls:
        if null not in NULLS:
            note = "; it is the run's step 0, collected and scored like any step" if null == "untrained" else ""
            raise BadInput(f"null {null!r} is not known{note or did_you_mean(null, list(NULLS))}")
    return nulls


__all__ = [
    "DEFAULT_NULLS",
    "FEWEST",
    "MOST_ROTATED",
    "NEAREST",
    "NULLS",
    "Matched",
    "Null",
    "can_rotate",
    "checked_nulls",
    "haar",
    "match",
    "random_sets",
    "rotated",
    "shifted",
    "w_in_rotated",
]
