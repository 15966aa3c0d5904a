"""What chance looks like: networks and neurons that have no features, which every score takes for a layer.

One file a null, found by NULLS. All but one are made from collected activations, in memory, of at most
`making.MOST` neurons; docs/scores.md says how hard each is to beat. The one is `untrained`, the same network at step 0.
"""

from collections.abc import Iterable

from analyze.nulls.base import Null
from analyze.registry import Registry
from train.errors import BadInput, did_you_mean

NULLS: Registry[Null] = Registry(__name__, "NULL", order=lambda null: (null.order, null.name))
"""Every null by name: the NULL of each module of this package."""
DEFAULT_NULLS = ("w_in_rotated", "rotated")
"""z is taken against the first that the activations allow. Directions of `w_in_rotated` fire as often as the neurons
do; those of `rotated` 5 to 10 times as often (medians, quickstart models), so that its rows are no match in rate."""


def made_nulls() -> list[str]:
    """The nulls that are made from activations, by name."""
    return [name for name, null in NULLS.items() if null.make is not None]


def shown_nulls() -> list[Null]:
    """The nulls that comparisons and reports show, in their order."""
    return [null for null in NULLS.values() if null.shown]


def checked_nulls(nulls: Iterable[str]) -> list[str]:
    """`nulls`, each once, as given.

    Raises:
        BadInput: no such null, or one that is not made from activations.
    """
    nulls = list(dict.fromkeys(nulls))
    for null in nulls:
        if null not in made_nulls():
            note = "; it is the run's step 0, collected and scored like any step" if null == "untrained" else ""
            raise BadInput(f"null {null!r} is not known{note or did_you_mean(null, made_nulls())}")
    return nulls
