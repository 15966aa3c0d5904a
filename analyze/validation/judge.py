"""The validity of every score: what it made of planted neurons, in figures with intervals."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.metrics import auroc
from analyze.scores.base import NeuronScore, ReadsToys
from analyze.scores.fingerprint import code_of
from analyze.scores.validity import Case, Change, Control, Kind, Labels, Validity
from analyze.validation.admission import Admitted
from analyze.validation.design import CASES, CONTROLS, MAIN, PLANTED_HASH
from analyze.validation.discrimination import auroc_interval, best_threshold, rank_correlation
from analyze.validation.label_tests import REFERENCES, RestsOnFit, label_tests
from analyze.validation.measure import MeasuredSet, Scored, why_not
from analyze.validation.plant import CHANGES, Corpus
from analyze.validation.toys import judge_toys, known_toys


def validities(
    corpus: Corpus,
    admitted: Admitted,
    scores: list[NeuronScore],
    measured: list[MeasuredSet],
    toys: list[Path],
    say: Callable[[str], None],
) -> list[Validity]:
    """The validity of each score, from what `measure` returned."""
    instances = list(known_toys(toys)) if any(isinstance(score, ReadsToys) for score in scores) else []
    tests = label_tests(admitted, {score.name: score.metric for score in scores if isinstance(score, RestsOnFit)})
    judged = []
    for score in scores:
        validity = _blank(score, corpus, admitted)
        if not validity.why_not:
            validity = _judged(validity, score.name, admitted, measured, tests.get(score.name))
        if isinstance(score, ReadsToys) and instances:
            validity = replace(validity, toys=judge_toys(score, instances))
        say(f"{score.name}: {validity.line()}")
        judged.append(validity)
    return judged


def references(admitted: Admitted) -> dict[str, tuple[Labels, bool]]:
    """The label tests of REFERENCES, and whether each is known to pass."""
    tests = label_tests(admitted, {name: figure for name, (figure, _) in REFERENCES.items()})
    return {name: (tests[name], passes) for name, (_, passes) in REFERENCES.items()}


def _blank(score: NeuronScore, corpus: Corpus, admitted: Admitted) -> Validity:
    return Validity(
        score=score.name,
        part=admitted.features[0].part,
        why_not=why_not(score),
        data_hash=corpus.data.data_hash,
        planted_hash=PLANTED_HASH,
        admitted_hash=admitted.hash,
        n_features=len(admitted.features),
        code=code_of(score),
    )


def _judged(
    blank: Validity, name: str, admitted: Admitted, measured: list[MeasuredSet], labels: Labels | None
) -> Validity:
    by_name = {planted.name: planted for planted in measured}
    main = by_name.get(MAIN.name)
    if main is None or np.isnan(main.scored[name].value).all():
        return replace(blank, why_not="no value for any planted neuron" if main else "too few features")
    threshold = best_threshold(main.scored[name].value, main.k == 1)
    symmetric = {case.name for case in CASES if case.symmetric}
    no_cases = {*CONTROLS, *CHANGES, "unchanged"}
    unchanged = by_name["unchanged"].scored[name].value
    return replace(
        blank,
        cases=tuple(
            _case(planted, planted.scored[name], planted.name, planted.name in symmetric)
            for planted in measured
            if planted.name not in no_cases
        ),
        less=tuple(_case(main, scored, less, True) for less, scored in main.less.get(name, {}).items()),
        kinds=tuple(_kinds(main, name, admitted, threshold)),
        controls=tuple(_control(by_name[control], name, threshold) for control in CONTROLS if control in by_name),
        changes=tuple(_change(change, unchanged, by_name[change].scored[name].value) for change in CHANGES),
        labels=labels,
    )


def _case(planted: MeasuredSet, scored: Scored, name: str, symmetric: bool) -> Case:
    single = planted.k == 1
    area = auroc_interval(scored.value, single, planted.members)
    missing = np.isnan(scored.value)
    return Case(
        name=name,
        symmetric=symmetric,
        n_one=int(single.sum()),
        n_several=int((~single).sum()),
        auroc=area.value,
        low=area.low,
        high=area.high,
        auroc_scored=auroc(scored.value[~missing], single[~missing]),
        correlation=rank_correlation(scored.value, planted.k),
        na_one=float(missing[single].mean()),
        na_several=float(missing[~single].mean()),
        mono_one=_share_mono(scored, single),
        mono_several=_share_mono(scored, ~single),
        by_rate=auroc(-planted.firing_rate, single),
    )


def _share_mono(scored: Scored, chosen: Bool[ndarray, "n"]) -> float | None:
    """Share of the chosen neurons called monosemantic; None without verdicts."""
    return None if scored.mono is None else float((scored.mono[chosen] == 1).mean())


def _kinds(main: MeasuredSet, name: str, admitted: Admitted, threshold: float) -> Iterator[Kind]:
    kinds = np.array([feature.kind for feature in admitted.features])
    scored, single = main.scored[name], main.k == 1
    mono = _mono(scored, threshold)
    kind_of = np.where(single, kinds[main.members.argmax(axis=1)], "")
    for kind in sorted(set(kind_of[single].tolist())):
        chosen = kind_of == kind
        area = auroc(scored.value[chosen | ~single], chosen[chosen | ~single])
        missing = float(np.isnan(scored.value[chosen]).mean())
        yield Kind(kind, int(chosen.sum()), area, missing, float(mono[chosen].mean()))


def _mono(scored: Scored, threshold: float) -> Bool[ndarray, "n"]:
    return scored.value > threshold if scored.mono is None else scored.mono == 1


def _control(planted: MeasuredSet, name: str, threshold: float) -> Control:
    scored = planted.scored[name]
    mono, missing = _mono(scored, threshold), np.isnan(scored.value)
    return Control(planted.name, len(mono), float(mono.mean()), float(missing.mean()))


def _change(name: str, before: Float[ndarray, "n"], after: Float[ndarray, "m"]) -> Change:
    before = np.repeat(before, len(after) // len(before))
    both = ~np.isnan(before) & ~np.isnan(after)
    largest = float(np.abs(after[both] - before[both]).max(initial=0.0))
    return Change(name, largest, int((np.isnan(before) != np.isnan(after)).sum()))
