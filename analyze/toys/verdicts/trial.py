"""Try the rules of toys where the truth is known: do they find what was built, and nothing where nothing is?"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.problems.base import Measured, VerdictWord
from analyze.problems.trial import Tried, trial_table
from analyze.problems.verdict import judge
from analyze.toys.verdicts.question import ToyQuestion
from train.errors import BadInput, did_you_mean
from train.files import read_json, write_atomic

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class ToyTrials:
    """Cases on which a toy's rule is tried: each holds as many replicas as a verdict needs, hand-built or in closed
    form, and is judged as a trained toy is."""

    question: ToyQuestion
    planted: Callable[[int], Sequence[Measured]]
    """A case, by seed, of which the answer is yes by construction."""
    null: Callable[[int], Sequence[Measured]]
    """One, by seed, of which nothing of the kind is true."""
    says: str
    """What was planted, and what the null is, in a sentence."""
    n: int = 20

    @property
    def name(self) -> str:
        """Of the toy."""
        return self.question.name

    @property
    def label(self) -> str:
        """`4.7 values-one`: the first column of the table."""
        return f"{self.question.problem} {self.name}"


def try_toys(
    known: Sequence[ToyTrials], names: Sequence[str], out: Path, say: Callable[[str], None] = print
) -> list[Tried]:
    """Try the rules of toys on their cases; write OUT/toy-trials.json and toy-trials.md, with those tried before.

    Args:
        known: every rule that can be tried.
        names: toys, numbers of problems, or "all".

    Raises:
        BadInput: no rule of this name can be tried.
    """
    chosen = _chosen(names, known)
    path = out / "toy-trials.json"
    counts: dict[str, dict[str, dict[VerdictWord, int]]] = read_json(path, MAX_BYTES) if path.is_file() else {}
    out.mkdir(parents=True, exist_ok=True)
    for each in chosen:
        tried = try_one_toy(each)
        counts[each.label] = {"planted": dict(tried.planted), "null": dict(tried.null)}
        write_atomic(path, json.dumps(counts, indent=1, sort_keys=True).encode() + b"\n")
        say(f"{each.label}: planted {dict(tried.planted)}, null {dict(tried.null)}")
    tried = [Tried(label, Counter(kinds["planted"]), Counter(kinds["null"])) for label, kinds in counts.items()]
    tried.sort(key=lambda each: (int(each.problem.split()[0].partition(".")[2]), each.problem))
    write_atomic(out / "toy-trials.md", trial_table(tried).markdown().encode() + b"\n")
    say(f"wrote {out / 'toy-trials.md'}")
    return tried


def try_one_toy(trials: ToyTrials) -> Tried:
    """What a toy's rule says of all its cases."""
    words = {
        kind: Counter[VerdictWord](judge(trials.question, make(seed)).verdict for seed in range(trials.n))
        for kind, make in (("planted", trials.planted), ("null", trials.null))
    }
    return Tried(trials.label, words["planted"], words["null"])


def _chosen(names: Sequence[str], known: Sequence[ToyTrials]) -> list[ToyTrials]:
    chosen: dict[str, ToyTrials] = {}
    for name in names:
        fitting = [each for each in known if name in ("all", each.name, each.question.problem)]
        if not fitting:
            possible = [*dict.fromkeys(each.question.problem for each in known), *(each.name for each in known)]
            raise BadInput(f"{name}: no rule of this name can be tried{did_you_mean(name, possible)}")
        chosen |= {each.label: each for each in fitting}
    return list(chosen.values())
