"""The [verdict] table of a TOY.toml: the rule by which the toy answers its problem, written before the run."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from train.section import Section

NullKind = Literal["number", "instance", "toy", "untrained", "rotation", "permutation"]


class VerdictConfig(Section):
    """A statistic of every replica, its null, and the smallest effect that means yes. Replicas are the unit.

    The effect is the statistic less its null (or null less statistic, with `higher = false`). **yes** where the whole
    95 % t interval over replicas lies above `least` and each replica lies beyond its null's draws; **no** where
    the interval lies below; else **unclear**, as with fewer than 8 replicas or where training had not come to rest.
    """

    says: str
    """The rule in words, with its threshold: "yes if ..., no if ..."."""
    measure: str
    """A name of `train.toys.measures.SCOPES`."""
    where: dict[str, float] = Field(default_factory=dict)
    """Swept values of the instances that answer, each on its own; left out: all instances do."""
    over: str = ""
    """A swept key: the statistic is then the slope of log(measure) against log(key) over the instances that differ in
    it alone, instead of the measure."""
    replicas: Literal["all", "good"] = "all"
    """Which replicas answer; `good`: those that end as well as the leading one (docs/toys.md)."""
    null: NullKind
    """number: `by_chance`. instance: the same replica with the values of `minus`. toy: the same replica of the same
    instance of the toy `against`. untrained: the replica before training. rotation: its hidden space turned at random.
    permutation: the features of each neuron in random order (of a bottleneck: its features relabelled)."""
    by_chance: float | None = None
    """`number`: what there is without the effect."""
    minus: dict[str, float] | None = None
    """`instance`: swept values, over those of the instance that answers."""
    against: str = ""
    """`toy`: the name of another config, whose directory lies beside this toy's."""
    draws: int = Field(default=100, ge=20, le=10_000)
    """`rotation`, `permutation`: how many."""
    least: float
    """The smallest effect that means yes."""
    higher: bool = True
    """Whether yes means a statistic above the null."""
    doubts: tuple[str, ...] = ()
    """What always holds against the answer, a sentence each."""
    no_trial: str = ""
    """Why the rule cannot be tried on cases of known truth; "" where it is (`polysem toy-trial`)."""

    @field_validator("where", "minus", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        try:
            return {key: float(v) if type(v) is int else v for key, v in value.items()}
        except OverflowError:
            raise ValueError(f"{value}: holds a number that is too large") from None

    @field_validator("doubts", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _null_is_whole(self) -> "VerdictConfig":
        needed = {"number": "by_chance", "instance": "minus", "toy": "against"}
        for kind, key in needed.items():
            given = getattr(self, key) not in (None, "")
            if (self.null == kind) != given:
                raise ValueError(f"{key}: needed by null = {kind!r}, and by no other null")
        return self
