"""4.37, 4.41, 4.42 and 4.44: what a study's comparison.parquet says of shares of monosemantic neurons, seed by seed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from analyze.problems.base import Finding, Measured, Measurement, Rule
from analyze.problems.table_problem import TableProblem, file_in
from analyze.problems.verdict import judge
from train.errors import BadInput
from train.parquet import read_parquet

Row = dict[str, Any]
FILE = "comparison.parquet"
WIDE = 10
"""Times as many neurons as another model of the same activation, from which one is a wide one."""


@dataclass(frozen=True)
class Pair:
    """A row of the comparison and the row that it must exceed."""

    row: Row
    against: Row


def pairs_of_solu(rows: Sequence[Row]) -> Iterator[Pair]:
    """Each SoLU row, and GELU of as many neurons."""
    yield from _scratch_pairs(rows, ("solu", "solu_ln"), ("gelu", "gelu_new"))


def pairs_of_gelu(rows: Sequence[Row]) -> Iterator[Pair]:
    """Each GELU row, and ReLU of as many neurons."""
    yield from _scratch_pairs(rows, ("gelu", "gelu_new"), ("relu",))


def pairs_of_width(rows: Sequence[Row]) -> Iterator[Pair]:
    """Each wide model trained from scratch, and the narrowest one of the same activation and hook."""
    scratch = [row for row in rows if not row["start_runs"]]
    for row in scratch:
        same = [other for other in scratch if (other["act"], other["hook"]) == (row["act"], row["hook"])]
        narrow = min(same, key=lambda other: other["n_neurons"])
        if row["n_neurons"] >= WIDE * narrow["n_neurons"]:
            yield Pair(row, narrow)


def pairs_of_copies(rows: Sequence[Row]) -> Iterator[Pair]:
    """Each widened model, and the narrow one that was trained on from the same start."""
    for row in rows:
        if row["factor"] > 1:
            for other in rows:
                if (other["factor"], other["start_runs"], other["hook"]) == (1, row["start_runs"], row["hook"]):
                    yield Pair(row, other)


def _scratch_pairs(rows: Sequence[Row], acts: Iterable[str], rivals: Iterable[str]) -> Iterator[Pair]:
    scratch = [row for row in rows if not row["start_runs"]]
    for row in scratch:
        for other in scratch:
            if row["act"] in acts and other["act"] in rivals and row["n_neurons"] == other["n_neurons"]:
                yield Pair(row, other)


def answer_by(find: Callable[[Sequence[Row]], Iterator[Pair]]) -> Callable[[TableProblem, Sequence[Path]], Finding]:
    """How a problem of that kind is answered: every pair, seed by seed, in every comparison that is given."""

    def answer(problem: TableProblem, places: Sequence[Path]) -> Finding:
        measured, scores = [], set[str]()
        names = [file_in(place, FILE).parent.name for place in places]
        for place in places:
            path = file_in(place, FILE)
            rows = _rows(path, problem)
            score = str(rows[0]["primaries"]).split()[0]
            scores.add(score)
            # Of two studies of one name the whole path: variants of one name would be taken for more seeds.
            study = path.parent.name if names.count(path.parent.name) == 1 else str(path.parent)
            beside = f", {study}" if len(places) > 1 else ""
            found = [each for pair in find(rows) for each in _measured(pair, score, beside)]
            why = "has no two variants with judged neurons of one seed to set against each other"
            missing = Measurement.impossible(f"{path.parent.name} {why}")
            measured += found or [Measured(str(path), path.parent.name, 0, 0, "", missing)]
        return _trusted(judge(problem, measured), sorted(scores))

    return answer


def _rows(path: Path, problem: TableProblem) -> list[Row]:
    if not path.is_file():
        raise BadInput(f"{path}: not there; `{problem.written_by}` writes it")
    rows = read_parquet(path).to_dicts()
    needs = ("variant", "act", "hook", "factor", "start_runs", "n_neurons", "seeds", "primaries", "checkpoint_hashes")
    lacks = [name for name in needs if not rows or name not in rows[0]]
    score = next(iter(_words(rows[0]["primaries"])), "") if not lacks else ""
    if lacks or f"{score}_mono_share_by_seed" not in rows[0]:
        what = f" (lacks {', '.join(lacks)})" if lacks else ""
        raise BadInput(f"{path}: not a comparison with a score that says monosemantic{what}")
    for row in rows:
        if broken := _broken(row, score):
            raise BadInput(f"{path}: {row['variant']}: {broken}; `{problem.written_by}` writes it anew")
    return rows


def _broken(row: Row, score: str) -> str:
    """What is no figure in a row, or of another length than its seeds; empty where all is well."""
    key, chance = f"{score}_mono_share_by_seed", f"{score}_w_in_rotated_share"
    for name in ("factor", "n_neurons"):
        if not isinstance(row[name], int):
            return f"{name} = {row[name]!r} is no whole number"
    seeds = _words(row["seeds"])
    if not all(seed.isdecimal() for seed in seeds):
        return f"seeds = {row['seeds']!r} are no whole numbers"
    for name in (key, "checkpoint_hashes"):
        if len(_words(row[name])) != len(seeds):
            return f"{name} has {len(_words(row[name]))} entries for {len(seeds)} seeds"
    try:
        shares = [float(share) for share in _words(row[key])]
        null = 0.0 if row.get(chance) is None else float(row[chance])
    except (TypeError, ValueError):
        return f"{key} or {chance} is no number"
    # A seed without judged neurons has the share NaN.
    return "" if all(not share < 0 and not share > 1 for share in (*shares, null)) else f"{key} or {chance} is no share"


def _measured(pair: Pair, score: str, beside: str) -> Iterator[Measured]:
    """One a seed that both rows have."""
    key = f"{score}_mono_share_by_seed"
    own, other = (dict(zip(_words(row["seeds"]), map(float, _words(row[key])))) for row in (pair.row, pair.against))
    chance = pair.row.get(f"{score}_w_in_rotated_share")
    variant = f"{pair.row['variant']} {pair.row['hook']} over {pair.against['variant']}{beside}"
    for seed, hash_ in zip(_words(pair.row["seeds"]), _words(pair.row["checkpoint_hashes"])):
        if seed in other and isfinite(own[seed]) and isfinite(other[seed]):
            measurement = Measurement(
                own[seed],
                null=np.array([] if chance is None else [float(chance)]),
                reference=other[seed],
                details={"share": own[seed], "share of the other": other[seed], "W_in rotated": chance or nan},
            )
            yield Measured(f"{pair.row['variant']}-s{seed}", variant, int(seed), 0, hash_, measurement)


def _words(listed: object) -> list[str]:
    return str(listed).split()


def _trusted(finding: Finding, scores: Sequence[str]) -> Finding:
    """A yes by a score that failed on planted neurons is no answer; a no stands as what that score sees."""
    from analyze.scores.validity import may_lead, validity_line

    failed = [score for score in scores if not may_lead(score)]
    if not failed:
        return finding
    doubts = (*finding.doubts, *(f"{score}: {validity_line(score)}" for score in failed))
    if finding.verdict not in ("yes", "mixed"):
        return replace(finding, doubts=doubts)
    why = f"{', '.join(failed)} has not passed on planted neurons: a description, not an answer"
    answers = tuple(
        replace(each, verdict="unclear", why=why) if each.verdict == "yes" else each for each in finding.variants
    )
    word = "no" if any(each.verdict == "no" for each in answers) else "unclear"
    figures = finding.sentence.partition(". ")[2]
    return Finding(word, f"{word.capitalize()}: {why}. By that score: {figures}", answers, doubts)


_STATISTIC = "share of scored neurons that the study's first primary score calls monosemantic, seed by seed"
_NULL = "the other model's share of the same seed, and that of the layer with W_in rotated, whichever is higher"
_DOUBTS = ("The learning rate moves these shares as much as an activation does (docs/rates.md).",)


def _rule(yes: str) -> Rule:
    return Rule(
        says=f"yes ({yes}) if the share lies at least 5 points above that of the other model of the same seed and "
        "above that of the layer with W_in rotated, over the whole interval over seeds, by a score that has passed on "
        "planted neurons (else unclear); no if the whole interval lies below 5 points",
        least=0.05,
        against_untrained=False,
    )


ANSWERED = (
    TableProblem(
        "4.37",
        FILE,
        "polysem study quickstart",
        _rule("SoLU has more"),
        _STATISTIC,
        _NULL,
        answer_by(pairs_of_solu),
        _DOUBTS,
    ),
    TableProblem(
        "4.41",
        FILE,
        "polysem study quickstart",
        _rule("GELU has more"),
        _STATISTIC,
        _NULL,
        answer_by(pairs_of_gelu),
        _DOUBTS,
    ),
    TableProblem(
        "4.42",
        FILE,
        "polysem study quickstart",
        _rule("a larger share of the wide layer's neurons"),
        _STATISTIC,
        _NULL,
        answer_by(pairs_of_width),
        (*_DOUBTS, "A smaller share of many more neurons may be more neurons: the number stands in the comparison."),
    ),
    TableProblem(
        "4.44",
        FILE,
        "polysem study widening",
        _rule("copies split features"),
        _STATISTIC,
        _NULL,
        answer_by(pairs_of_copies),
        (*_DOUBTS, "Copies without noise are judged too: nothing parts them, so their answer must be no."),
    ),
)
