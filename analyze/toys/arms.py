"""The arms of a toy held against their controls: what widening did to neurons whose features are known.

A replica is a seed: it has initial weights, samples and noise of its own, and every arm has the same ones, so that
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
"""Of a claim's sign-flip tests, under Holm over all claims of a trial."""
CONTROLS = ("narrow", "no noise", "narrow with L1")
"""Kinds of arms that another must lie above before it may be said to reduce superposition."""
BESIDE = ("fresh neurons", "from scratch")
"""Kinds that it is compared with besides: whether copies do more than the room they make."""
START = "start"
"""What the narrow networks, before any arm, are called."""


@dataclass(frozen=True)
class Outcome:
    """What one arm's networks came to; one number an instance and replica."""

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

    @classmethod
    def of(cls, name: str, settings: ArmConfig | None, run: ToyRun) -> "Outcome":
        """Measure a finished toy."""
        reading = Reading(run)
        living = ~reading.dead.numpy()
        mono = (reading.share > MONO[0]).numpy() & living
        strict = (reading.share > MONO[1]).numpy() & living
        alive = living.sum(-1).astype(np.float64)
        distinct, once = np.empty_like(alive), np.empty_like(alive)
        for instance, replica in np.ndindex(alive.shape):
            clusters = duplicate_clusters(run, instance, replica, living[instance, replica])
            distinct[instance, replica] = len(np.unique(clusters))
            once[instance, replica] = share_once(mono[instance, replica][living[instance, replica]], clusters)
        return cls(
            name=name,
            settings=settings,
            n_neurons=run.config.network.hidden[0],
            alive=alive,
            distinct=distinct,
            share=_over(mono.sum(-1), alive),
            strict=_over(strict.sum(-1), alive),
            once=once,
            computed=reading.computed.sum(-1).astype(np.float64),
            loss=run.losses,
        )


def _over(count: Int[ndarray, "inst rep"], of: Float[ndarray, "inst rep"]) -> Float[ndarray, "inst rep"]:
    return count / np.where(of > 0, of, np.nan)


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
class Comparison:
    """An arm less one of its controls, in one instance, over the seeds."""

    control: str
    why: str
    """One of `CONTROLS` or `BESIDE`."""
    once: Estimate
    """Difference of de-duplicated shares."""
    computed: Estimate
    """Difference of features computed."""
    p: float | None
    """Sign-flip test of `once`, on its own; None with too few seeds for one."""

    @classmethod
    def of(cls, outcome: Outcome, control: Outcome, why: str, instance: int) -> "Comparison":
        """Of two arms whose replicas are pairs."""
        once, computed = (
            [getattr(each, name)[instance].tolist() for each in (outcome, control)] for name in ("once", "computed")
        )
        p = sign_flip_if_enough([one - other for one, other in zip(*once, strict=True)])
        return cls(control.name, why, paired_interval(*once), paired_interval(*computed), p)


@dataclass(frozen=True)
class Result:
    """An arm in one instance."""

    outcome: Outcome
    instance: int
    comparisons: tuple[Comparison, ...]
    adjusted_p: float | None = None
    """`p` under Holm over the claims of a trial."""

    def estimate(self, measure: str) -> Estimate:
        """Mean over seeds of a field of `Outcome`, with its 95 % t interval."""
        return mean_interval(getattr(self.outcome, measure)[self.instance].tolist())

    @property
    def required(self) -> list[Comparison]:
        """The comparisons that a claim rests on."""
        return [each for each in self.comparisons if each.why in CONTROLS]

    def less(self, why: str) -> Comparison | None:
        """The comparison with a kind of control."""
        return next((each for each in self.comparisons if each.why == why), None)

    @property
    def is_claim(self) -> bool:
        """Whether "superposition is reduced" is asked of it: it is no control, and its controls are there."""
        own = self.outcome.settings
        is_control = own is None or is_narrow(own) or own.is_noiseless_copy
        return not is_control and self.less("narrow") is not None and self.less("no noise") is not None

    @property
    def p(self) -> float | None:
        """Of the claim to lie above every control: the largest p of those comparisons (an intersection-union test
        needs no correction for them: Berger 1982). None for no claim, or with too few seeds."""
        found = [each.p for each in self.required if each.p is not None]
        return max(found) if self.is_claim and len(found) == len(self.required) else None

    @property
    def verdict(self) -> str:
        """Whether superposition is reduced: the de-duplicated share lies above that of the narrow network trained on,
        of copies without noise and, with L1, of the narrow network under the same L1 (every interval above 0, and the
        claim's adjusted p at most 0.05); and no fewer features are computed than by the narrow network trained on."""
        own, narrow = self.outcome.settings, self.less("narrow")
        if not self.is_claim or narrow is None:
            is_control = own is None or is_narrow(own) or own.is_noiseless_copy
            return "control" if is_control else "a control is missing"
        if self.adjusted_p is None:
            return "too few seeds"
        if self.adjusted_p > LEVEL or not all(each.once.low > 0 for each in self.required):
            return "not shown"
        return "reduced" if narrow.computed.mean >= 0 else "fewer features"


class Trial:
    """All arms of a toy."""

    def __init__(self, base: ToyRun, arms: Sequence[ToyArm]):
        self.base = base
        self.arms = arms
        self.outcomes = [
            Outcome.of(START, None, base),
            *(Outcome.of(arm.name, arm.settings, arm.run) for arm in arms),
        ]

    @classmethod
    def of(cls, base: ToyRun) -> "Trial | None":
        """The trial of a toy; None where it has no arms, or none have been trained.

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
    def results(self) -> list[list[Result]]:
        """Of every instance: each arm in the config's order, the start first."""
        found = [
            [
                Result(
                    outcome,
                    instance,
                    tuple(
                        Comparison.of(outcome, control, why, instance)
                        for why, control in controls_of(outcome, self.outcomes)
                    ),
                )
                for outcome in self.outcomes
            ]
            for instance in range(self.base.n_inst)
        ]
        adjusted = iter(holm(np.array([np.nan if each.p is None else each.p for row in found for each in row])))
        return [
            [replace(each, adjusted_p=None if np.isnan(p := next(adjusted)) else float(p)) for each in row]
            for row in found
        ]

    @property
    def n_claims(self) -> int:
        """Claims that Holm's correction is over."""
        return sum(each.p is not None for row in self.results for each in row)


def controls_of(outcome: Outcome, outcomes: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """What an arm is compared with: (kind, arm), the first of each kind. The start and the narrow network trained on:
    nothing; fresh neurons and networks from scratch not with their like."""
    own = outcome.settings
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
    found = (
        (why, next((each for each in outcomes if each.settings is not None and fits(each.settings)), None))
        for why, fits in wanted.items()
    )
    return [(why, each) for why, each in found if each is not None]


def is_narrow(settings: ArmConfig, l1: float | None = None) -> bool:
    """Whether an arm is the narrow network trained on (under this much L1)."""
    return settings.factor == 1 and not settings.scratch and l1 in (None, settings.l1)
