"""What each part of K_eff is worth: AUROC on planted neurons with parts taken away. `python benchmarks/k_eff.py DATA`

Each line changes one thing of K_eff as it is, or all of them, which is K_eff as it first was: lists of four rules, no
rules of the token two before, likeness by embeddings alone, no figure below a reach of .05. The features are those
for tuning, on which these choices were made; `--features held` are the others, which no choice was made on.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from analyze.metrics import auroc
from analyze.rules import decision_list
from analyze.rules import grammar as rules
from analyze.rules.build import grammar_on
from analyze.rules.grammar import Grammar
from analyze.scores import k_eff
from analyze.validation.command import admit_on
from analyze.validation.design import CASES
from analyze.validation.discrimination import auroc_interval
from analyze.validation.plant import Corpus, TooFewFeatures, planted_case
from train.data.tokens import TokenFile

FIRST = {"n_rules": 4, "two_before": False, "spelling": False, "reach": 0.05}
LINES: dict[str, dict[str, object]] = {
    "as it is": {},
    "four rules": {"n_rules": 4},
    "sixteen rules": {"n_rules": 16},
    "without the token two before": {"two_before": False},
    "without spelling": {"spelling": False},
    "no figure below a reach of .05": {"reach": 0.05},
    "as it first was (all of these, four rules)": FIRST,
}


@contextmanager
def changed(n_rules: int = 0, two_before: bool = True, spelling: bool = True, reach: float = 0.0) -> Iterator[None]:
    """K_eff with parts taken away; what is not named stays."""
    with (
        patch.object(decision_list, "N_RULES", n_rules or decision_list.N_RULES),
        patch.object(decision_list, "LEAST_WORTH", 0.0 if n_rules == 4 else decision_list.LEAST_WORTH),
        patch.object(k_eff, "LEAST_REACH", reach or k_eff.LEAST_REACH),
        patch.object(rules, "FULL_SPELLING", rules.FULL_SPELLING if spelling else float("inf")),
    ):
        yield


def main() -> None:
    """Print one line a change and one column a case."""
    parser = argparse.ArgumentParser(description="What each part of K_eff is worth.")
    parser.add_argument("data", type=Path, help="data directory that `python -m train prepare` wrote")
    parser.add_argument("--features", choices=("tuning", "held"), default="tuning")
    args = parser.parse_args()
    corpus = Corpus.of(TokenFile.open(args.data, split="eval"))
    bank = admit_on(corpus).of(args.features)
    positions, is_fit = np.asarray(corpus.tokens.stream_position, np.int64), np.asarray(corpus.tokens.is_fit)
    whole = grammar_on(corpus.data, positions, is_fit)
    less = Grammar(tuple(view for view in whole.views if view.name != "two before"), positions, is_fit)
    planted_sets = []
    for case in CASES:
        try:
            planted_sets.append(planted_case(corpus, bank, case))
        except TooFewFeatures:
            continue
    print(f"{len(bank.features)} features ({args.features}); AUROC, no figure counts as the lowest")
    print(
        "firing rate: "
        + "  ".join(f"{one.name} {auroc(-one.acts.moments.firing_rate, one.k == 1):.2f}" for one in planted_sets)
    )
    for name, change in LINES.items():
        grammar = whole if change.get("two_before", True) else less
        told = []
        with changed(**change):  # pyright: ignore[reportArgumentType]
            for one in planted_sets:
                score = np.array([1 / found.k_eff for found in k_eff.fit_all(one.acts, grammar)])
                area = auroc_interval(score, one.k == 1, one.members)
                told.append(f"{one.name} {area.value:.2f} [{area.low:.2f}, {area.high:.2f}]")
                k_eff._KEPT.clear()
        print(f"{name}: " + "  ".join(told), flush=True)


if __name__ == "__main__":
    main()
