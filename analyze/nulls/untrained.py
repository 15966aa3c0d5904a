"""The untrained network: step 0 of the run of the root variant, which training keeps, collected and scored like any."""

from analyze.nulls.base import Null, NullStyle

NULL = Null(
    name="untrained",
    title="untrained",
    phrase="the untrained network",
    meaning="the same variant at step 0",
    style=NullStyle("#AA8800", (0, (1.5, 1.5)), "x", "cross"),
    order=0,
    shown=True,
    make=None,
)
