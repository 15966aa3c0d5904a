"""Jumps in a learning curve: steep falls of the loss after stretches in which little happens."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

STEEP = 3.0
"""How many times steeper a jump is than the plateau before it, and than the one that ends it."""
FLAT = 0.01
"""Fall of ln loss in one interval up to which a plateau is flat; flatter ones count as this."""
PLATEAU = 2
"""Intervals that a plateau lasts at least."""
FALL = 0.1
"""Part of the loss before it by which a jump takes the loss down at least; and 1 % of the loss at the start."""


def jumps(losses: Float[ndarray, "points"]) -> int:
    """Counts the jumps in a curve of losses at equal distances, all taken on the same samples.

    Steepness is the fall of ln loss in one interval. After a plateau, whose least steep interval has the steepness s
    (or `FLAT`, if that is more), a jump starts where the curve gets steeper than `STEEP` x s; it ends where the curve
    gets `STEEP` times less steep than the jump was at its steepest. The descent that a curve starts with
    is no jump, however steep: no plateau comes before it. An even descent has no jumps either.
    """
    steepness = -np.diff(np.log(np.maximum(losses, np.finfo(np.float64).tiny)))
    count, start, peak = 0, None, 0.0
    flattest, rested = np.inf, PLATEAU
    for i, now in enumerate([*steepness, -np.inf]):
        if start is None:
            if rested >= PLATEAU and now > STEEP * max(flattest, FLAT):
                start, peak = i, now
                continue
            flattest, rested = min(flattest, now), rested + 1
        elif now < peak / STEEP:
            if i + 1 < len(steepness) and steepness[i + 1] >= peak / STEEP:
                continue  # one slow interval is no plateau
            fall = losses[start] - losses[i]
            count += bool(fall > FALL * losses[start] and fall > 0.01 * losses[0])
            start, flattest, rested = None, now, 1
        else:
            peak = max(peak, now)
    return count
