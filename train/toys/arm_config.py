"""The `[arms.NAME]` tables of a TOY.toml: what happens to its trained networks afterwards."""

from typing import Literal

from pydantic import Field, model_validator

from train.config import WidenPlan


class ArmConfig(WidenPlan):
    """One arm: the trained networks, widened as in a `[widen]` table, and trained on; or wide ones from scratch.

    Factor 1 is the narrow network trained on. Every arm trains the same parameters (W1, W2 and biases) on the same
    samples for the same number of steps; a network from scratch also takes the steps that trained the others' start.
    """

    layers: Literal["all"] | tuple[int, ...] = "all"
    """There is one hidden layer."""
    factor: int = Field(default=1, ge=1, le=100)
    scratch: bool = False
    """A network of `factor` times the neurons from fresh initial weights, trained at the same rates and on the same
    samples as the narrow network and then its continuation."""
    l1: float = Field(default=0.0, ge=0)
    """Weight of the mean over samples of the sum of |hidden activations|: from the first step from scratch, else from
    the widening on."""
    widened_rates: Literal["tied", "full"] = "tied"
    """`tied`: W2 at lr / factor, so that a step of all copies together moves the function as a step of the narrow
    network would, and equal copies follow its path (epsilon and decay to match, `train.optim`); from scratch as well,
    where one rate for all grows too large with the width (Yang et al. 2022, "Tensor Programs V", table 3). `full`: one
    rate for all. Fresh neurons, which have no siblings, take one rate."""
    expectation: str = ""
    """Written before the run; it does not change what is computed."""

    @model_validator(mode="after")
    def _scratch_copies_nothing(self) -> "ArmConfig":
        if self.scratch:
            fields = type(self).model_fields
            for name in ("layers", "copies", "split", "concentration", "noise", "sigma", "exact"):
                if getattr(self, name) != fields[name].default:
                    raise ValueError(f"{name}: a network from scratch has no parents; leave it out")
        return self

    @property
    def copies_neurons(self) -> bool:
        """Whether neurons have siblings."""
        return self.factor > 1 and self.copies == "tiled" and not self.scratch

    @property
    def is_noiseless_copy(self) -> bool:
        """The control for noise: equal copies, which stay together, and no L1."""
        return self.copies_neurons and self.split == "equal" and self.l1 == 0 and not self.is_noisy

    @property
    def is_noisy(self) -> bool:
        """Whether noise is added to copies."""
        return self.copies_neurons and self.noise != "none" and self.sigma > 0
