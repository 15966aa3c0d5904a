"""The [fit] and [fine_tune] tables of a TOY.toml: how networks are trained."""

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from train.section import Section, Several
from train.toys.settled import LEAST_POINTS

MAX_REPLICAS = 100_000


class FitConfig(Section):
    """How it is trained: on fresh samples at every step."""

    steps: int = Field(ge=1, le=100_000_000)
    """Where `converged` is given, at most so many."""
    converged: float | None = Field(default=None, gt=0, le=0.5)
    """Training stops where no network's loss has fallen by more than this part of itself in the last tenth of the
    steps so far (seen at the points of the curve); left out, it takes all `steps`."""
    batch: int = Field(default=1024, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """From the first step's `lr` to 0 at the last (cosine, linear), or not."""
    warmup_steps: int = Field(default=0, ge=0)
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Of sgd."""
    betas: Annotated[tuple[float, float], Strict(False)] = (0.9, 0.999)
    """Of Adam."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of weights and not of biases."""
    loss: Literal["mse", "cross_entropy"] = "mse"
    """mse: importance x squared error, mean over samples and outputs. cross_entropy: over all outputs, or
    over the levels of each feature for a one_hot target."""
    loss_power: float = Field(default=2.0, ge=1, le=16)
    """mse: the power of the error in place of its square, such as 4."""
    frozen: Several[str] = ()
    """Parameters that stay as they begin, such as "W1"."""
    l1: float = Field(default=0.0, ge=0)
    """Weight of the mean over samples of the sum of |hidden activations|; no reported loss includes it."""
    seed: int = Field(default=0, ge=0)
    replicas: int = Field(default=8, ge=1, le=MAX_REPLICAS)
    """Initialisations of every instance; all are trained and kept, and the one of lowest loss leads."""
    data: Literal["shared", "own"] = "shared"
    """Whether replicas see the same samples (faster; they differ in their initial weights alone) or their own."""
    eval_samples: int = Field(default=65_536, ge=1)
    """Samples of the final loss, the same ones for every replica; no replica trains on them."""
    curve_points: int = Field(default=100, ge=2)
    """Evaluations of all replicas during training, on 4,096 of those samples."""
    snapshots: int = Field(default=0, ge=0)
    """Weights of replica 0 kept during training, in equal steps, for the figures of learning dynamics."""

    @model_validator(mode="after")
    def _betas_fit(self) -> "FitConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} must lie in [0, 1)")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum: is sgd's; Adam has betas")
        if self.loss_power != 2 and self.loss != "mse":
            raise ValueError("loss_power: is of the errors that loss = 'mse' weighs; cross_entropy has none")
        if self.converged is not None and self.schedule != "constant":
            raise ValueError(f"converged: a {self.schedule} schedule ends at `steps`; write schedule = 'constant'")
        if self.converged is not None and self.curve_points < LEAST_POINTS:
            raise ValueError(f"converged: is seen at points of the curve; give at least {LEAST_POINTS} curve_points")
        return self


class FineTuneConfig(Section):
    """The second training, of every arm; a key that is left out is as in [fit]."""

    steps: int | None = Field(default=None, ge=1, le=100_000_000)
    lr: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine", "linear"] | None = None
    warmup_steps: int | None = Field(default=None, ge=0)
