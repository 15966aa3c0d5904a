"""Try a problem's rule where the truth is known: does it find what was planted, and nothing where nothing is?"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.problems import PROBLEMS
from analyze.problems.base import VERDICTS, Trials, VerdictWord
from analyze.problems.command import numbers
from analyze.problems.verdict import judge_one
from analyze.tables import Table
from train.errors import BadInput
from train.files import write_atomic
from train.workers import checked_jobs, one_thread, workers

LEAST_FOUND, MOST_FALSE = 18, 3
"""Of 20 planted cases a rule must find at least so many; of 20 cases of its null it may find at most so many."""


@dataclass(frozen=True)
class Tried:
    """What a rule said of its cases."""

    problem: str
    planted: Counter[VerdictWord]
    null: Counter[VerdictWord]

    @property
    def holds(self) -> bool:
        """Whether the rule may be used: "unclear" and "not answerable" do not count as found."""
        n = sum(self.planted.values())
        return self.planted["yes"] * 20 >= LEAST_FOUND * n and self.null["yes"] * 20 <= MOST_FALSE * n


def try_rules(
    names: Sequence[str], out: Path, *, jobs: int | None = None, say: Callable[[str], None] = print
) -> list[Tried]:
    """Try the rules of problems on their planted and null cases; write OUT/trials.json and trials.md.

    Raises:
        BadInput: a problem that is not there, or (unless "all" is asked) one that has no cases of known truth.
    """
    chosen = numbers(names)
    lacking = [name for name in chosen if PROBLEMS[name].trials is None]
    if lacking and "all" not in names:
        raise BadInput(f"problem {lacking[0]}: has no cases of known truth to try its rule on")
    chosen = [name for name in chosen if name not in lacking]
    out.mkdir(parents=True, exist_ok=True)
    path = out / "trials.json"
    results = {each: value for each, value in _before(path).items() if each not in chosen}
    with one_thread(), workers(checked_jobs(jobs, say)) as pool:
        pending = {
            name: {
                kind: [pool.submit(try_one, name, kind, seed) for seed in range(_trials(name).n)]
                for kind in ("planted", "null")
            }
            for name in chosen
        }
        for name, kinds in pending.items():
            counts = {kind: Counter[VerdictWord](each.result() for each in cases) for kind, cases in kinds.items()}
            results[name] = {kind: dict(count) for kind, count in counts.items()}
            write_atomic(path, json.dumps(results, indent=1, sort_keys=True).encode() + b"\n")
            say(f"{name}: planted {dict(counts['planted'])}, null {dict(counts['null'])}")
    tried = tried_rules(out)
    write_atomic(out / "trials.md", trial_table(tried).markdown().encode() + b"\n")
    say(f"wrote {out / 'trials.md'}")
    return tried


def tried_rules(out: Path) -> list[Tried]:
    """What was found of rules under a directory, in the order of the problems; empty where none was tried."""
    results = _before(out / "trials.json")
    return [
        Tried(name, Counter(results[name]["planted"]), Counter(results[name]["null"]))
        for name in PROBLEMS
        if name in results
    ]


def try_one(name: str, kind: str, seed: int) -> VerdictWord:
    """What a problem's rule says of one case."""
    problem, trials = PROBLEMS[name], _trials(name)
    subject = (trials.planted if kind == "planted" else trials.null)(seed)
    if problem.needs.why_not(subject):
        return "not answerable"
    return judge_one(problem.rule, problem.measure(subject))


def trial_table(tried: Sequence[Tried]) -> Table:
    """A row a problem: verdicts on planted cases and on null cases."""
    words: list[VerdictWord] = [
        word for word in VERDICTS if any(each.planted[word] + each.null[word] for each in tried)
    ]
    return Table.of(
        "Rules tried on cases of known truth",
        "",
        [
            [
                ("problem", each.problem),
                *[(f"planted: {word}", str(each.planted[word])) for word in words],
                *[(f"null: {word}", str(each.null[word])) for word in words],
                ("holds", "yes" if each.holds else "no"),
            ]
            for each in tried
        ],
    )


def _trials(name: str) -> Trials:
    trials = PROBLEMS[name].trials
    assert trials is not None
    return trials


def _before(path: Path) -> dict[str, dict[str, dict[VerdictWord, int]]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
