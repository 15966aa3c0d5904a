"""The arms of a toy compared with their controls: what widening did to neurons whose features are known.

A replica is a seed: it has its own initial weights, samples and noise, and every arm has the same ones, so that
differences are paired. Neurons that are nearly the same count once, else copying alone would move every share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.duplicates import DUPLICATE, components
from analyze.statistics import Estimate, holm, mean_interval, paired_interval, sign_flip_if_enough
from analyze.toys.neurons import MONO
from analyze.toys.reading import Reading
from train.toys.arm_config import ArmConfig
from train.toys.arms.store import ToyArm, load_arms
from train.toys.runs import ToyRun

SAMPLES = 4096
"""On which activations are correlated, the same ones for every arm."""
LEVEL = 0.05
"""Of a claim's sign-flip tests, under Holm over all claims of a toy."""
CONTROLS = ("narrow", "no noise", "narrow with L1")
"""Kinds of arms that another must lie above before it may be said to reduce superposition."""
REFERENCES = ("fresh neurons", "from scratch")
"""Kinds that it is compared with besides: whether copies do more than the room they make."""
START = "start"
"""The name of the narrow networks before any arm."""


@dataclass(frozen=True)
class ArmMeasures:
    """The measures of one arm's networks; one number an instance and replica."""

    name: str
    settings: ArmConfig | None
    """None for the networks that the arms start from."""
    n_neurons: int
    alive: Float[ndarray, "inst rep"]
    """Neurons that are not dead (`analyze.toys.neurons.dead`)."""
    distinct: Float[ndarray, "inst rep"]
    """Of them, each cluster of duplicates counted once."""
    share: Float[ndarray, "inst rep"]
    """Of living neurons, those of whose responses one feature makes up more than 0.9."""
    strict: Float[ndarray, "inst rep"]
    """The same above 0.999."""
    once: Float[ndarray, "inst rep"]
    """`share` with each cluster of duplicates counted once, shared by its members."""
    computed: Float[ndarray, "inst rep"]
    """Outputs whose loss is below 0.25 of their best constant's."""
    loss: Float[ndarray, "inst rep"]

    @property
    def mono(self) -> Float[ndarray, "inst rep"]:
        """Different monosemantic neurons: `once` of `distinct`."""
        return self.once * self.distinct

    @property
    def is_control(self) -> bool:
        """Whether it is one that others are compared with: narrow networks, or equal copies without noise."""
        return self.settings is None or is_narrow(self.settings) or self.settings.is_noiseless_copy

    @classmethod
    def of(cls, name: str, settings: ArmConfig | None, run: ToyRun) -> "ArmMeasures":
        """Measure a finished toy."""
        reading = Reading(run)
        living = ~reading.dead.numpy()
        mono, strict = ((reading.share > least).numpy() & living for least in MONO)
        alive = living.sum(-1).astype(np.float64)
        distinct, once = np.empty_like(alive), np.empty_like(alive)
        for instance, replica in np.ndindex(alive.shape):
            own = living[instance, replica]
            clusters = duplicate_clusters(run, instance, replica, own)
            distinct[instance, replica] = len(np.unique(clusters))
            once[instance, replica] = share_once(mono[instance, replica][own], clusters)
        of_alive = np.where(alive > 0, alive, np.nan)
        return cls(
            name=name,
            settings=settings,
            n_neurons=run.config.network.hidden[0],
            alive=alive,
            distinct=distinct,
            share=mono.sum(-1) / of_alive,
            strict=strict.sum(-1) / of_alive,
            once=once,
            computed=reading.computed.sum(-1).astype(np.float64),
            loss=run.losses,
        )


def duplicate_clusters(
    run: ToyRun, instance: int, replica: int, living: Bool[ndarray, " neuron"]
) -> Int[ndarray, " alive"]:
    """Cluster of each living neuron of a network: joined by |correlation| above 0.95 on samples, transitively."""
    _, activations = run.neurons(instance, replica).sample(SAMPLES, run.config.fit.seed)
    centred = activations[:, torch.from_numpy(living)].double()
    centred -= centred.mean(0)
    units = torch.nn.functional.normalize(centred, dim=0, eps=1e-30).float()
    near = (units.T @ units).abs().triu(1) > DUPLICATE
    return components(units.shape[1], near.nonzero().numpy())


def share_once(mono: Bool[ndarray, " alive"], clusters: Int[ndarray, " alive"]) -> float:
    """Share of clusters that are monosemantic, a cluster counting by the share of its members; NaN for none."""
    if not len(clusters):
        return float("nan")
    _, index, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return float((mono / sizes[index]).sum() / len(sizes))


@dataclass(frozen=True)
class Difference:
    """An arm less one of its controls, in one instance, over the seeds."""

    control: str
    kind: str
    """One of `CONTROLS` or `REFERENCES`."""
    once: Estimate
    """Difference of de-duplicated shares."""
    computed: Estimate
    """Difference of features computed."""
    p: float | None
    """Sign-flip test of `once`, on its own; None with too few seeds for one."""

    @classmethod
    def of(cls, arm: ArmMeasures, control: ArmMeasures, kind: str, instance: int) -> "Difference":
        """Of two arms whose replicas are pairs."""
        once, computed = (
            [getattr(each, name)[instance].tolist() for each in (arm, control)] for name in ("once", "computed")
        )
        p = sign_flip_if_enough([own - controls for own, controls in zip(*once, strict=True)])
        return cls(control.name, kind, paired_interval(*once), paired_interval(*computed), p)


@dataclass(frozen=True)
class ArmResult:
    """An arm in one instance."""

    measures: ArmMeasures
    instance: int
    differences: tuple[Difference, ...]
    adjusted_p: float | None = None
    """`p` under Holm over the claims of a toy."""

    def estimate(self, measure: str) -> Estimate:
        """Mean over seeds of a field of `ArmMeasures`, with its 95 % t interval."""
        return mean_interval(getattr(self.measures, measure)[self.instance].tolist())

    @property
    def required(self) -> list[Difference]:
        """The differences that a claim rests on."""
        return [each for each in self.differences if each.kind in CONTROLS]

    def less(self, kind: str) -> Difference | None:
        """The difference from a kind of control."""
        return next((each for each in self.differences if each.kind == kind), None)

    @property
    def is_claim(self) -> bool:
        """Whether "superposition is reduced" is asked of it: it is no control, and its controls are there."""
        return not self.measures.is_control and None not in (self.less("narrow"), self.less("no noise"))

    @property
    def p(self) -> float | None:
        """Of the claim to lie above every control: the largest p of those differences (an intersection-union test
        needs no correction for them: Berger 1982). None for no claim, or with too few seeds."""
        known = [each.p for each in self.required if each.p is not None]
        return max(known) if self.is_claim and len(known) == len(self.required) else None

    @property
    def verdict(self) -> str:
        """Whether superposition is reduced: the de-duplicated share lies above that of the narrow network trained on,
        of copies without noise and, with L1, of the narrow network under the same L1 (every interval above 0, and the
        claim's adjusted p at most 0.05); and no fewer features are computed than by the narrow network trained on."""
        narrow = self.less("narrow")
        if not self.is_claim or narrow is None:
            return "control" if self.measures.is_control else "a control is missing"
        if self.adjusted_p is None:
            return "too few seeds"
        if self.adjusted_p > LEVEL or not all(each.once.low > 0 for each in self.required):
            return "not shown"
        return "reduced" if narrow.computed.mean >= 0 else "fewer features"


class ArmComparison:
    """All arms of a toy, compared with their controls."""

    def __init__(self, base: ToyRun, arms: Sequence[ToyArm]):
        self.base = base
        self.arms = arms
        measured = [ArmMeasures.of(arm.name, arm.settings, arm.run) for arm in arms]
        self.measures = [ArmMeasures.of(START, None, base), *measured]

    @classmethod
    def of(cls, base: ToyRun) -> "ArmComparison | None":
        """The comparison of a toy; None where it has no arms, or none have been trained.

        Raises:
            BadInput: see `train.toys.arms.store.load_arms`.
        """
        arms = load_arms(base)
        return cls(base, arms) if arms else None

    @property
    def n_seeds(self) -> int:
        """Replicas of every arm."""
        return self.base.n_rep

    @cached_property
    def results(self) -> list[list[ArmResult]]:
        """Of every instance: each arm in the config's order, the start first."""
        plain = [[self._result(arm, instance) for arm in self.measures] for instance in range(self.base.n_inst)]
        adjusted = iter(holm(np.array([np.nan if each.p is None else each.p for row in plain for each in row])))
        return [
            [replace(each, adjusted_p=None if np.isnan(p := next(adjusted)) else float(p)) for each in row]
            for row in plain
        ]

    def _result(self, arm: ArmMeasures, instance: int) -> ArmResult:
        controls = controls_of(arm, self.measures)
        return ArmResult(arm, instance, tuple(Difference.of(arm, each, kind, instance) for kind, each in controls))

    @property
    def n_claims(self) -> int:
        """Claims that Holm's correction is over."""
        return sum(each.p is not None for row in self.results for each in row)


def controls_of(arm: ArmMeasures, arms: Sequence[ArmMeasures]) -> list[tuple[str, ArmMeasures]]:
    """The arms that an arm is compared with: (kind, arm), the first of each kind. The start and the narrow network
    trained on have none; fresh neurons and networks from scratch are not compared with their like."""
    own = arm.settings
    if own is None or is_narrow(own, 0.0):
        return []
    wanted: dict[str, Callable[[ArmConfig], bool]] = {"narrow": lambda it: is_narrow(it, 0.0)}
    if own.factor > 1 and not own.is_noiseless_copy:
        wanted["no noise"] = lambda it: it.is_noiseless_copy and it.factor == own.factor
    if own.l1 > 0 and not is_narrow(own):
        wanted["narrow with L1"] = lambda it: is_narrow(it, own.l1)
    if own.copies_neurons and not own.is_noiseless_copy:
        alike = (own.factor, own.l1)
        wanted["fresh neurons"] = lambda it: it.copies == "fresh" and (it.factor, it.l1) == alike
        wanted["from scratch"] = lambda it: it.scratch and (it.factor, it.l1) == alike
    with_settings = [(each, each.settings) for each in arms if each.settings is not None]
    matches = ((kind, next((each for each, its in with_settings if fits(its)), None)) for kind, fits in wanted.items())
    return [(kind, each) for kind, each in matches if each is not None]


def is_narrow(settings: ArmConfig, l1: float | None = None) -> bool:
    """Whether an arm is the narrow network trained on (under this much L1)."""
    return settings.factor == 1 and not settings.scratch and l1 in (None, settings.l1)
