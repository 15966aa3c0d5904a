"""The validity of every score: what it made of planted neurons, in figures with intervals."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.metrics import auroc
from analyze.scores.base import NeuronScore, ReadsToys
from analyze.scores.fingerprint import fingerprint
from analyze.scores.validity import Case, Change, Control, Kind, Labels, Validity
from analyze.validation.admission import Admitted
from analyze.validation.design import CASES, CONTROLS, MAIN, PLANTED_HASH
from analyze.validation.discrimination import auroc_interval, best_threshold, rank_correlation
from analyze.validation.labels import REFERENCES, label_tests
from analyze.validation.plant import CHANGES, Ground
from analyze.validation.toys import judge_toys, known_toys
from analyze.validation.trial import Measured, Read, why_not


def validities(
    ground: Ground,
    bank: Admitted,
    scores: list[NeuronScore],
    measured: list[Measured],
    toys: list[Path],
    say: Callable[[str], None],
) -> list[Validity]:
    """The validity of each score, from what was measured of those that planted neurons can be measured with."""
    found = []
    instances = list(known_toys(toys)) if any(isinstance(one, ReadsToys) for one in scores) else []
    tests = label_tests(bank, {one.name: one.metric for one in scores if hasattr(one, "metric")})  # pyright: ignore[reportAttributeAccessIssue]
    for score in scores:
        one = _blank(score, ground, bank)
        if not one.why_not:
            one = _judged(one, score.name, bank, measured, tests.get(score.name))
        if isinstance(score, ReadsToys) and instances:
            one = replace(one, toys=judge_toys(score, instances))
        say(f"{score.name}: {one.line()}")
        found.append(one)
    return found


def references(bank: Admitted) -> dict[str, tuple[Labels, bool]]:
    """The label tests of figures of fit that are known to pass or to fail them: (found, known to pass)."""
    tests = label_tests(bank, {name: figure for name, (figure, _) in REFERENCES.items()})
    return {name: (tests[name], passes) for name, (_, passes) in REFERENCES.items()}


def _blank(score: NeuronScore, ground: Ground, bank: Admitted) -> Validity:
    return Validity(
        score=score.name,
        part=bank.features[0].part,
        why_not=why_not(score),
        data_hash=ground.data.data_hash,
        planted_hash=PLANTED_HASH,
        admitted_hash=bank.hash,
        n_features=len(bank.features),
        code=fingerprint(type(score).__module__),
    )


def _judged(blank: Validity, name: str, bank: Admitted, measured: list[Measured], labels: Labels | None) -> Validity:
    by_name = {one.name: one for one in measured}
    main = by_name.get(MAIN.name)
    if main is None or np.isnan(main.read[name].value).all():
        return replace(blank, why_not="no value for any planted neuron" if main else "too few features")
    threshold = best_threshold(main.read[name].value, main.k == 1)
    symmetric = {case.name for case in CASES if case.symmetric}
    aside = {*CONTROLS, *CHANGES, "unchanged"}
    unchanged = by_name["unchanged"].read[name].value
    return replace(
        blank,
        cases=tuple(
            _case(one, one.read[name], one.name, one.name in symmetric) for one in measured if one.name not in aside
        ),
        less=tuple(_case(main, read, less, True) for less, read in main.less.get(name, {}).items()),
        kinds=tuple(_kinds(main, name, bank, threshold)),
        controls=tuple(_control(by_name[one], name, threshold) for one in CONTROLS if one in by_name),
        changes=tuple(_change(one, unchanged, by_name[one].read[name].value) for one in CHANGES),
        labels=labels,
    )


def _case(measured: Measured, read: Read, name: str, symmetric: bool) -> Case:
    one = measured.k == 1
    area = auroc_interval(read.value, one, measured.members)
    missing = np.isnan(read.value)
    return Case(
        name=name,
        symmetric=symmetric,
        n_one=int(one.sum()),
        n_several=int((~one).sum()),
        auroc=area.value,
        low=area.low,
        high=area.high,
        auroc_scored=auroc(read.value[~missing], one[~missing]),
        correlation=rank_correlation(read.value, measured.k),
        na_one=float(missing[one].mean()),
        na_several=float(missing[~one].mean()),
        mono_one=_called(read, one),
        mono_several=_called(read, ~one),
        by_rate=auroc(-measured.firing_rate, one),
    )


def _called(read: Read, chosen: Bool[ndarray, "n"]) -> float | None:
    """Share called monosemantic, of all chosen; None without verdicts."""
    return None if read.mono is None else float((read.mono[chosen] == 1).mean())


def _kinds(main: Measured, name: str, bank: Admitted, threshold: float) -> Iterator[Kind]:
    kind = np.array([one.kind for one in bank.features])
    read, one = main.read[name], main.k == 1
    mono = _mono(read, threshold)
    own = np.where(one, kind[main.members.argmax(axis=1)], "")
    for each in sorted(set(own[one].tolist())):
        chosen = own == each
        area = auroc(read.value[chosen | ~one], chosen[chosen | ~one])
        yield Kind(
            each, int(chosen.sum()), area, float(np.isnan(read.value[chosen]).mean()), float(mono[chosen].mean())
        )


def _mono(read: Read, threshold: float) -> Bool[ndarray, "n"]:
    return read.value > threshold if read.mono is None else read.mono == 1


def _control(measured: Measured, name: str, threshold: float) -> Control:
    read = measured.read[name]
    return Control(
        measured.name, len(read.value), float(_mono(read, threshold).mean()), float(np.isnan(read.value).mean())
    )


def _change(name: str, before: Float[ndarray, "n"], after: Float[ndarray, "m"]) -> Change:
    before = np.repeat(before, len(after) // len(before))
    both = ~np.isnan(before) & ~np.isnan(after)
    largest = float(np.abs(after[both] - before[both]).max(initial=0.0))
    return Change(name, largest, int((np.isnan(before) != np.isnan(after)).sum()))
