"""The content of a TOY.toml: features, target, network, training, instances and arms."""

from itertools import product
from typing import Annotated

from pydantic import Field, model_validator

from train.errors import did_you_mean
from train.section import Section, Several
from train.toys.arm_config import ArmConfig
from train.toys.experiment import About, Expectation
from train.toys.features_config import FeaturesConfig, Importance, Probability
from train.toys.fit_config import FineTuneConfig, FitConfig
from train.toys.network_config import CLASSES, PAIRED, NetworkConfig, TargetConfig
from train.toys.verdict_config import VerdictConfig


class SweepConfig(Section):
    """The instance axis: one instance for every combination, the last key varying fastest.

    Each key stands for the one of the same name in [features], [target], [network] or [fit].
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
    neurons: Several[Annotated[int, Field(ge=1)]] = ()
    mixing: Several[Annotated[float, Field(ge=0)]] = ()
    loss_power: Several[Annotated[float, Field(ge=1, le=16)]] = ()

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


_TABLES: dict[str, type[Section]] = {
    "features": FeaturesConfig,
    "target": TargetConfig,
    "network": NetworkConfig,
    "fit": FitConfig,
}
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
        if function == "which" and n < 2:
            raise ValueError("features.n: function = 'which' needs two features")
        if self.fit.loss == "cross_entropy" and function not in CLASSES:
            raise ValueError(f"fit.loss: cross_entropy needs function = one of {', '.join(CLASSES)}, not {function!r}")
        if self.fit.loss == "cross_entropy" and self.network.output != "linear":
            raise ValueError("network.output: cross_entropy reads logits; write output = 'linear'")
        if function == "one_hot":
            self._levels_are_values()
        # Checked for every instance: where the probability is swept, the one in [features] is never used.
        if self.features.pairs == "anticorrelated" and self.sweep == SweepConfig():
            self._exclude_each_other()
        for name in self.fit.frozen:
            if name not in (names := self.network.parameters):
                raise ValueError(f"fit.frozen: this network has no {name!r}{did_you_mean(name, names)}")
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
        if self.network.activation not in ("relu", "gelu") or self.network.neurons is not None:
            raise ValueError("arms: need relu or gelu neurons that all take part")
        if self.fit.optimizer != "adam" or self.fit.converged is not None or self.fit.frozen:
            raise ValueError("arms: need all parameters trained by Adam for a number of steps that is fixed")
        for name in ("lr", "l1", "neurons"):
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
        if verdict.minus is not None and any(row | verdict.minus == row for row in chosen):
            raise ValueError(f"verdict.minus: {verdict.minus} is an instance that answers; its effect would be 0")
        if verdict.over:
            self._has_slope(verdict)

    def _has_slope(self, verdict: VerdictConfig) -> None:
        values = [row[verdict.over] for row in self.sweep.rows()]
        if len(set(values)) < 2 or min(values) <= 0:
            raise ValueError(f"verdict.over: {verdict.over!r} needs two values above 0, whose logarithms have a slope")
        for side in ("where", "minus"):
            if verdict.over in (getattr(verdict, side) or {}):
                raise ValueError(f"verdict.{side}: {verdict.over!r} is what the slope runs over")

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
                values[_TABLE_OF[name]] = values.get(_TABLE_OF[name], {}) | {name: value}
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
