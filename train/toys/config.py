"""The content of a TOY.toml: features, target, network, training, instances and arms."""

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_validator

from train.config import Section, Several
from train.errors import did_you_mean
from train.toys.arm_config import ArmConfig
from train.toys.experiment import About, Expectation
from train.toys.verdict_config import VerdictConfig

MAX_FEATURES = 10_000
MAX_REPLICAS = 100_000

Probability = Annotated[float, Field(ge=0, le=1)]
Importance = Annotated[float, Field(ge=0)]

TargetFunction = Literal[
    "identity", "abs", "square", "relu", "and", "or", "xor", "max", "max_abs", "product", "one_hot", "argmax"
]
PAIRED: tuple[TargetFunction, ...] = ("and", "or", "xor", "max", "max_abs", "product", "argmax")
"""Functions of two features; the others take one."""


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


class TargetConfig(Section):
    """What the network has to compute."""

    function: TargetFunction = "identity"
    pairs: Literal["adjacent", "all"] = "adjacent"
    """The pairs that a function of two features takes: (0, 1), (2, 3), ...; or all pairs."""
    levels: Several[float] = ()
    """`one_hot`: one output for each of these values of each feature (an inactive feature has the value 0)."""

    @model_validator(mode="after")
    def _levels_fit(self) -> "TargetConfig":
        if (self.function == "one_hot") != bool(self.levels):
            raise ValueError("levels: needed by function = 'one_hot', and by no other function")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels: {list(self.levels)} names a level twice")
        return self


class NetworkConfig(Section):
    """The network; every instance and replica has its own weights of this shape."""

    kind: Literal["bottleneck", "neuron", "computation"]
    """bottleneck: out(W^T W x + b). neuron: out(W^T act(W x) + b). computation: out(W2 act(W1 x) + b)."""
    hidden: Several[int]
    """Hidden size; several for several hidden layers (computation only)."""
    activation: Literal["relu", "gelu"] = "relu"
    """Of hidden neurons (neuron, computation)."""
    output: Literal["relu", "linear"] = "relu"
    bias: bool = True
    """Of the output."""
    hidden_bias: bool = False
    """Of hidden neurons (computation)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of hidden neurons (in training only; the kept ones are scaled up by 1 / (1 - dropout))."""
    init: Literal["kaiming", "xavier"] = "kaiming"
    """Uniform within sqrt(6 / fan_in), or normal with sd sqrt(2 / (fan_in + fan_out)); biases are 0."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor of all initial weights."""

    @property
    def is_tied(self) -> bool:
        """Whether the output weights are the input weights, so that columns of W have a geometry."""
        return self.kind != "computation"

    @field_validator("hidden", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _shape_fits(self) -> "NetworkConfig":
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden: {list(self.hidden)} must be at least 1")
        if self.is_tied and len(self.hidden) > 1:
            raise ValueError(f"hidden: {len(self.hidden)} layers; a {self.kind} model ties W to W^T and has one")
        if self.is_tied and self.hidden_bias:
            raise ValueError(f"hidden_bias: a {self.kind} model has none")
        return self


class FitConfig(Section):
    """How it is trained: Adam on fresh samples at every step."""

    steps: int = Field(ge=1, le=100_000_000)
    batch: int = Field(default=1024, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """From the first step's `lr` to 0 at the last (cosine, linear), or not."""
    warmup_steps: int = Field(default=0, ge=0)
    betas: Annotated[tuple[float, float], Strict(False)] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of weights and not of biases."""
    loss: Literal["mse", "cross_entropy"] = "mse"
    """mse: importance x squared error, mean over samples and outputs. cross_entropy: over all outputs, or
    over the levels of each feature for a one_hot target."""
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
        return self


class FineTuneConfig(Section):
    """The second training, of every arm; a key that is left out is as in [fit]."""

    steps: int | None = Field(default=None, ge=1, le=100_000_000)
    lr: float | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine", "linear"] | None = None
    warmup_steps: int | None = Field(default=None, ge=0)


class SweepConfig(Section):
    """The instance axis: one instance for every combination, the last key varying fastest.

    Each key stands for the one of the same name in [features], [network] or [fit].
    """

    probability: Several[Probability] = ()
    probability_last: Several[Probability] = ()
    importance_decay: Several[Annotated[float, Field(gt=0, le=1)]] = ()
    importance_last: Several[Importance] = ()
    active: Several[Annotated[int, Field(ge=0)]] = ()
    dropout: Several[Annotated[float, Field(ge=0, lt=1)]] = ()
    init_scale: Several[Annotated[float, Field(gt=0)]] = ()
    lr: Several[Annotated[float, Field(gt=0)]] = ()
    l1: Several[Annotated[float, Field(ge=0)]] = ()

    @model_validator(mode="after")
    def _values_differ(self) -> "SweepConfig":
        for name in type(self).model_fields:
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: {list(values)} names a value twice; seeds are fit.replicas")
        return self

    def rows(self) -> list[dict[str, float | int]]:
        """The swept values of every instance."""
        given = {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name)}
        return [dict(zip(given, values, strict=True)) for values in product(*given.values())]


_TABLES: dict[str, type[Section]] = {"features": FeaturesConfig, "network": NetworkConfig, "fit": FitConfig}
_TABLE_OF = {
    key: table for table, kind in _TABLES.items() for key in SweepConfig.model_fields if key in kind.model_fields
}
"""The table of each swept key."""


class ToyConfig(Section):
    """A TOY.toml: one experiment of one or many instances."""

    about: About
    features: FeaturesConfig
    target: TargetConfig = TargetConfig()
    network: NetworkConfig
    fit: FitConfig
    sweep: SweepConfig = SweepConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")], ArmConfig] = Field(default_factory=dict)
    """What happens to the trained networks afterwards, by name."""
    expect: Several[Expectation] = ()
    verdict: VerdictConfig | None = None
    """How the toy answers the problem that [about] names."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "ToyConfig":
        function, n = self.target.function, self.features.n
        if function in PAIRED and self.target.pairs == "adjacent" and n % 2:
            raise ValueError(f"features.n: {n} features cannot all be paired for function = {function!r}")
        if function in PAIRED and n < 2:
            raise ValueError(f"features.n: function = {function!r} needs two features")
        if self.network.is_tied and function != "identity":
            raise ValueError(
                f"target.function: a {self.network.kind} model ties its output to its input, "
                f"so that only 'identity' fits; {function!r} needs kind = 'computation'"
            )
        if self.fit.loss == "cross_entropy" and function not in ("one_hot", "argmax"):
            raise ValueError(f"fit.loss: cross_entropy needs function = 'one_hot' or 'argmax', not {function!r}")
        if self.fit.loss == "cross_entropy" and self.network.output != "linear":
            raise ValueError("network.output: cross_entropy reads logits; write output = 'linear'")
        if function == "one_hot":
            self._levels_are_values()
        # Checked for every instance: where the probability is swept, the one in [features] is never used.
        if self.features.pairs == "anticorrelated" and self.sweep == SweepConfig():
            self._exclude_each_other()
        self._arms_fit()
        self.instances()
        for i, each in enumerate(self.expect):
            for side in ("where", "minus"):
                if (where := getattr(each, side)) is not None:
                    self._names_one(where, f"expect.{i}.{side}")
        if self.verdict is not None:
            self._verdict_fits(self.verdict)
        return self

    def _exclude_each_other(self) -> None:
        if (p := max(self.features.probabilities())) > 0.5:
            raise ValueError(
                f"features.probability: {p} is above 0.5, which no two features that exclude each other have"
            )

    def _arms_fit(self) -> None:
        if not self.arms:
            return
        if self.network.is_tied or len(self.network.hidden) > 1:
            raise ValueError('arms: need a network of kind = "computation" with one hidden layer')
        for name in ("lr", "l1"):
            if getattr(self.sweep, name):
                raise ValueError(f"sweep.{name}: arms set it themselves; sweep something else or leave the arms out")

    def _levels_are_values(self) -> None:
        values, levels = self.features.values, self.target.levels
        if values.kind != "choice":
            raise ValueError(
                "features.values.kind: function = 'one_hot' needs kind = 'choice', whose values have levels"
            )
        needed = {*values.choices} | ({0.0} if min(self.features.probabilities()) < 1 else set())
        if self.fit.loss == "cross_entropy" and (missing := needed.difference(levels)):
            raise ValueError(
                f"target.levels: {list(levels)} lacks {min(missing):g}, a value that features have: "
                "cross_entropy needs every value (0 when inactive) among the levels"
            )

    def _verdict_fits(self, verdict: VerdictConfig) -> None:
        if not self.about.problem:
            raise ValueError('about.problem: [verdict] answers a problem; name its number, such as "4.7"')
        rows = self.sweep.rows()
        for side in ("where", "minus"):
            for name in getattr(verdict, side) or {}:
                self._is_swept(name, f"verdict.{side}")
        if verdict.over:
            self._is_swept(verdict.over, "verdict.over")
        chosen = [row for row in rows if all(row[key] == value for key, value in verdict.where.items())]
        if not chosen:
            raise ValueError(f"verdict.where: {verdict.where} names 0 of {len(rows)} instances")
        if verdict.minus is not None and not all(row | verdict.minus in rows for row in chosen):
            raise ValueError(f"verdict.minus: {verdict.minus} names values that are not swept")

    def _is_swept(self, name: str, key: str) -> None:
        if name not in (swept := self.sweep.rows()[0]):
            hint = did_you_mean(name, [*swept]) if swept else "; there is one instance"
            raise ValueError(f"{key}: {name!r} is not swept{hint}")

    def _names_one(self, where: dict[str, float], key: str) -> None:
        for name in where:
            self._is_swept(name, key)
        try:
            self.instance_of(where)
        except ValueError as failure:
            raise ValueError(f"{key}: {failure}") from None

    def instances(self) -> list["ToyConfig"]:
        """The config of every instance, with the swept values in their places.

        Raises (as pydantic's ValidationError): a swept value that does not fit the rest.
        """
        if self.sweep == SweepConfig():
            return [self]
        configs = []
        for row in self.sweep.rows():
            values = self.model_dump(exclude_unset=True) | {"sweep": {}, "expect": (), "arms": {}, "verdict": None}
            for name, value in row.items():
                values[_TABLE_OF[name]] = values[_TABLE_OF[name]] | {name: value}
            configs.append(ToyConfig.model_validate(values))
        return configs

    def instance_of(self, where: dict[str, float]) -> int:
        """The index of the instance with these swept values; 0 where there is one instance.

        Raises:
            ValueError: none or several instances have these values.
        """
        rows = self.sweep.rows()
        matches = [i for i, row in enumerate(rows) if all(row.get(k) == v for k, v in where.items())]
        if len(matches) != 1:
            raise ValueError(f"{where} names {len(matches)} of {len(rows)} instances, not one")
        return matches[0]
