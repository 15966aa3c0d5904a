"""The [features] table of a TOY.toml: the features of the world and their values."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from train.section import Section, Several

MAX_FEATURES = 10_000

Probability = Annotated[float, Field(ge=0, le=1)]
Importance = Annotated[float, Field(ge=0)]


class ValuesConfig(Section):
    """The value of a feature that is active."""

    kind: Literal["uniform", "choice"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    """`uniform`: drawn from [low, high]."""
    choices: Several[float] = ()
    """`choice`: one of these, equally likely."""

    @model_validator(mode="after")
    def _values_fit(self) -> "ValuesConfig":
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError("choices: needed by kind = 'choice', and by no other kind")
        if self.kind == "uniform" and not self.low < self.high:
            raise ValueError(f"low: {self.low} must lie below high = {self.high}")
        return self


class ClassConfig(Section):
    """Features that share a probability and an importance."""

    count: int = Field(ge=1, le=MAX_FEATURES)
    probability: Probability
    importance: Importance = 1.0


class FeaturesConfig(Section):
    """The features of the world: how many, how often they are active, how much they matter, their values."""

    n: int = Field(ge=1, le=MAX_FEATURES)
    probability: Probability | Several[Probability] = 1.0
    """That a feature is active (1 - sparsity): one for all, or one a feature."""
    probability_last: Probability | None = None
    """Probability of the last feature, over the others'."""
    importance: Importance | Several[Importance] = 1.0
    """Weight of a feature's error: one for all, or one a feature."""
    importance_decay: float | None = Field(default=None, gt=0, le=1)
    """Importance of feature i is this to the power of i, instead of `importance`."""
    importance_last: Importance | None = None
    """Importance of the last feature, over the others' (the axis of a phase diagram)."""
    classes: Several[ClassConfig] = ()
    """Features in classes, in order, instead of `probability` and `importance`."""
    values: ValuesConfig = ValuesConfig()
    pairs: Literal["independent", "correlated", "anticorrelated"] = "independent"
    """Features 2i and 2i + 1: independent, active together or not at all, or never together."""
    active: int | None = Field(default=None, ge=0)
    """Exactly so many features are active in every sample, instead of `probability`."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> "FeaturesConfig":
        for name in ("probability", "importance"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) != self.n:
                raise ValueError(f"{name}: {len(given)} values for {self.n} features")
        if self.classes:
            if (self.probability, self.importance, self.importance_decay) != (1.0, 1.0, None):
                raise ValueError("classes: give classes or probability and importance, not both")
            if (count := sum(each.count for each in self.classes)) != self.n:
                raise ValueError(f"classes: {count} features in classes, n says {self.n}")
        if self.importance_decay is not None and self.importance != 1.0:
            raise ValueError("importance_decay: give importance or importance_decay, not both")
        if self.active is not None:
            if self.active > self.n:
                raise ValueError(f"active: {self.active} of {self.n} features")
            if self.classes or self.pairs != "independent" or (self.probability, self.probability_last) != (1.0, None):
                raise ValueError("active: stands instead of probability, classes and pairs")
        if self.pairs != "independent":
            self._pairs_fit()
        return self

    def _pairs_fit(self) -> None:
        if self.n % 2:
            raise ValueError(f"pairs: {self.n} features cannot all be paired")
        p = self.probabilities()
        if any(p[i] != p[i + 1] for i in range(0, self.n, 2)):
            raise ValueError("pairs: both features of a pair need the same probability")

    def probabilities(self) -> tuple[float, ...]:
        """Of every feature to be active."""
        if self.active is not None:
            return (self.active / self.n,) * self.n
        return self._of_each("probability", self.probability)

    def importances(self) -> tuple[float, ...]:
        """Of every feature."""
        decay = self.importance_decay
        given = self.importance if decay is None else tuple(decay**i for i in range(self.n))
        return self._of_each("importance", given)

    def _of_each(self, name: str, given: float | tuple[float, ...]) -> tuple[float, ...]:
        """A value for every feature: that of its class, or as given; the last one may have its own."""
        values = [getattr(each, name) for each in self.classes for _ in range(each.count)]
        if not self.classes:
            values = list(given) if isinstance(given, tuple) else [given] * self.n
        if (last := getattr(self, f"{name}_last")) is not None:
            values[-1] = last
        return tuple(values)
