"""From a finished toy to one measurement a replica: the statistic of its [verdict], and the null's draws."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.problems.base import Measured, Measurement
from analyze.toys.measures import Measure, measure_named
from analyze.toys.reading import Reading
from analyze.toys.settled import settled
from analyze.toys.verdicts.nulls import permutations, rotations, untrained
from analyze.toys.verdicts.question import ToyQuestion, toy_rule
from train.errors import BadInput
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun
from train.toys.verdict_config import VerdictConfig

PerReplica = Float[ndarray, "inst rep"]


def question_of(name: str, config: ToyConfig) -> ToyQuestion:
    """What a config with a [verdict] asks.

    Raises:
        BadInput: it has none, or a measure that is not known.
    """
    rule = _rule(name, config)
    measure = _measure(name, config)
    statistic = f"slope of log({measure.name}) against log({rule.over})" if rule.over else measure.name
    if rule.replicas == "good":
        statistic += ", of the replicas that end as well as the best"
    shared = "the same samples" if config.fit.data == "shared" else "samples of its own"
    return ToyQuestion(
        problem=config.about.problem,
        name=name,
        rule=toy_rule(rule.says, rule.least, higher=rule.higher),
        statistic=statistic,
        null=null_in_words(rule),
        command=f"polysem toy {name}",
        doubts=(
            *rule.doubts,
            f"{name}: each replica is an initialisation, trained on {shared}; the interval is over initialisations.",
        ),
        sources=(config.about.source,) if config.about.source else (),
    )


def null_in_words(rule: VerdictConfig) -> str:
    """What the statistic is compared with."""
    match rule.null:
        case "number":
            return f"{rule.by_chance:g}"
        case "instance":
            changed = ", ".join(f"{key} = {value:g}" for key, value in (rule.minus or {}).items())
            return f"the same replica at {changed}"
        case "toy":
            return f"the same replica of the toy {rule.against}"
        case "untrained":
            return "the same replica before training"
        case "rotation":
            return f"{rule.draws} random rotations of the hidden space"
        case "permutation":
            return f"{rule.draws} random orders of the features"


def measure_run(name: str, run: ToyRun, other: ToyRun | None = None) -> list[Measured]:
    """Every replica of every instance that answers, with its null.

    Args:
        name: of the toy, before the swept values in the names of variants.
        other: the toy that the rule names as null; default: the one that lies beside the run.

    Raises:
        BadInput: a measure that is not known or does not apply; a null that is not there or does not fit.
    """
    reading, rule = Reading(run), _rule(name, run.config)
    measure = _measure(name, run.config)
    table, rests = _statistic(reading, measure, rule), settled(run)
    if other is None and rule.null == "toy":
        other = _other(rule.against, run)
    null = _null(reading, measure, rule, other)
    answering = run.good if rule.replicas == "good" else np.ones_like(run.good)
    swept = run.config.sweep.rows()
    chosen = [i for i, row in enumerate(swept) if all(row[key] == value for key, value in rule.where.items())]
    if rule.over:
        # One of each group that the slope runs over: they share it.
        chosen = [i for i in chosen if _group(swept, i, rule.over)[0] == i]
    free = [key for key in swept[0] if key not in rule.where and key != rule.over]
    measured = []
    for i in chosen:
        group = _group(swept, i, rule.over) if rule.over else [i]
        variant = ", ".join([name, *(f"{key} = {swept[i][key]:g}" for key in free)])
        for r in np.flatnonzero(answering[i]).tolist():
            value = float(table[i, r])
            rest = bool(rests[group, r].all())
            if np.isfinite(value) and np.isfinite(null[:, i, r]).all():
                measurement = Measurement(value, null[:, i, r], settled=rest)
            else:
                measurement = Measurement.impossible(f"{measure.name} is not defined there")
            measured.append(Measured(f"{variant}, replica {r}", variant, r, _steps(run), run.hash, measurement))
    return measured


def _steps(run: ToyRun) -> int:
    return int(run.curves.steps[-1])


def _rule(name: str, config: ToyConfig) -> VerdictConfig:
    if config.verdict is None:
        raise BadInput(f"{name}: its config has no [verdict], so that it answers no problem")
    return config.verdict


def _measure(name: str, config: ToyConfig) -> Measure:
    try:
        measure = measure_named(_rule(name, config).measure)
    except BadInput as failure:
        raise BadInput(f"{name}: verdict.measure: {failure}") from None
    if not measure.scope.holds(config):
        raise BadInput(
            f"{name}: verdict.measure: {measure.name!r} does not apply to this {config.network.kind} model; "
            f"it is for {measure.scope.says}"
        )
    return measure


def _statistic(reading: Reading, measure: Measure, rule: VerdictConfig) -> PerReplica:
    """The measure itself, or its slope over a swept key, told to each instance of the group that it runs over."""
    table = measure(reading)
    if not rule.over:
        return table
    swept = reading.run.config.sweep.rows()
    slopes = np.empty_like(table)
    for i in range(len(swept)):
        group = _group(swept, i, rule.over)
        x = np.log([swept[j][rule.over] for j in group])
        centred = (x - x.mean())[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes[i] = (centred * np.log(table[group])).sum(0) / (centred**2).sum()
    return slopes


def _group(swept: list[dict[str, float | int]], i: int, over: str) -> list[int]:
    """The instances that differ from instance `i` in this key alone, itself among them."""
    return [j for j, row in enumerate(swept) if row | {over: 0} == swept[i] | {over: 0}]


def _null(
    reading: Reading, measure: Measure, rule: VerdictConfig, other: ToyRun | None
) -> Float[ndarray, "draw inst rep"]:
    run = reading.run
    match rule.null:
        case "number":
            return np.full((1, run.n_inst, run.n_rep), float(rule.by_chance or 0.0))
        case "untrained":
            return untrained(reading, measure)
        case "rotation":
            return rotations(reading, measure, rule.draws)
        case "permutation":
            return permutations(reading, measure, rule.draws)
        case "instance":
            table, rows = _statistic(reading, measure, rule), run.config.sweep.rows()
            places = [rows.index(row | (rule.minus or {})) if row | (rule.minus or {}) in rows else i
                      for i, row in enumerate(rows)]  # fmt: skip
            return _same_replica(table[places], run.good[places], rule)[None]
        case "toy":
            assert other is not None
            table = _statistic(Reading(other), measure_in(rule, other.config), rule)
            return _same_replica(table, other.good, rule)[None]


def _same_replica(table: PerReplica, good: ndarray, rule: VerdictConfig) -> PerReplica:
    """Of each replica its own value, which started alike; where good ones answer, the mean of the other's good ones."""
    if rule.replicas == "all":
        return table
    means = np.where(good, table, 0).sum(1, keepdims=True) / good.sum(1, keepdims=True)
    return np.broadcast_to(means, table.shape)


def measure_in(rule: VerdictConfig, config: ToyConfig) -> Measure:
    """The rule's measure, which has to apply to another toy as well.

    Raises:
        BadInput: it does not.
    """
    measure = measure_named(rule.measure)
    if not measure.scope.holds(config):
        raise BadInput(f"{rule.against}: verdict.measure: {measure.name!r} does not apply to it")
    return measure


def _other(name: str, run: ToyRun) -> ToyRun:
    """The toy that the rule names as null.

    Raises:
        BadInput: it is not there, or has other instances or replicas.
    """
    directory = run.directory.parent
    if not (directory / name).is_dir():
        raise BadInput(
            f"{run.directory}: verdict.against: the toy {name!r} is not in {directory}; train it first: "
            f"polysem toy {name} --out {directory / name}"
        )
    other = ToyRun.load(directory / name)
    if other.config.sweep.rows() != run.config.sweep.rows() or other.n_rep != run.n_rep:
        raise BadInput(f"{run.directory}: verdict.against: the toy {name!r} has other instances or replicas")
    return other
