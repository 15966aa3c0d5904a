"""What each part of K_eff is worth: AUROC on planted neurons with parts taken away. `python benchmarks/k_eff.py DATA`

Each line changes one thing of K_eff as it is, or all of them, which is K_eff as it first was: lists of four rules, no
rules of the token two before, likeness by embeddings alone, no figure below a reach of .05. The features are those
for tuning, on which these choices were made; `--features held` are the others, which no choice was made on.
"""

import argparse
import sys
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from jaxtyping import Float

from analyze.activations.store import SCORED, Activations
from analyze.activations.strong_firings import rectified
from analyze.metrics import auroc, effective_number
from analyze.rules.build import grammar_on
from analyze.rules.decision_list import DEFAULT, ListSettings, decision_list
from analyze.rules.grammar import FULL_SPELLING, Grammar
from analyze.scores.k_eff import LEAST_REACH
from analyze.validation.admitting import admit_on
from analyze.validation.design import CASES
from analyze.validation.discrimination import auroc_interval
from analyze.validation.plant import Corpus, TooFewFeatures, planted_case
from train.data.tokens import TokenFile


@dataclass(frozen=True)
class Parts:
    """K_eff as it is, or with parts taken away."""

    lists: ListSettings = DEFAULT
    two_before: bool = True
    spelling: bool = True
    least_reach: float = LEAST_REACH


FOUR_RULES = ListSettings(n_rules=4, least_share=0.0)
LINES = {
    "as it is": Parts(),
    "four rules": Parts(FOUR_RULES),
    "sixteen rules": Parts(ListSettings(n_rules=16)),
    "without the token two before": Parts(two_before=False),
    "without spelling": Parts(spelling=False),
    "no figure below a reach of .05": Parts(least_reach=0.05),
    "as it first was (all of these, four rules)": Parts(FOUR_RULES, two_before=False, spelling=False, least_reach=0.05),
}


def scores(acts: Activations, grammar: Grammar, parts: Parts) -> Float[np.ndarray, "n"]:
    """1 / K_eff of every neuron."""
    y = rectified(acts.block(0, acts.n_neurons), acts.moments.median)
    y_fit, y_eval = (y[torch.from_numpy(half)].T.contiguous().numpy() for half in (grammar.fit, grammar.eval))
    k_eff = np.full(acts.n_neurons, nan)
    for neuron in np.flatnonzero(acts.moments.status == SCORED).tolist():
        rules = decision_list(y_fit[neuron], y_eval[neuron], grammar, parts.lists)
        if rules.rules:
            alike = grammar.similarity(np.array(rules.rules))
            k_eff[neuron] = effective_number(np.array(rules.gains), alike, parts.least_reach)
    return 1 / k_eff


def main() -> None:
    """Print one line a change and one column a case."""
    parser = argparse.ArgumentParser(description="What each part of K_eff is worth.")
    parser.add_argument("data", type=Path, help="data directory that `polysem prepare` wrote")
    parser.add_argument("--features", choices=("tuning", "held"), default="tuning")
    args = parser.parse_args()
    corpus = Corpus.of(TokenFile.open(args.data, split="eval"))
    admitted = admit_on(corpus).of(args.features)
    positions, is_fit = np.asarray(corpus.tokens.stream_position, np.int64), np.asarray(corpus.tokens.is_fit)
    views = grammar_on(corpus.data, positions, is_fit).views
    planted = []
    for case in CASES:
        try:
            planted.append(planted_case(corpus, admitted, case))
        except TooFewFeatures:
            continue
    print(f"{len(admitted.features)} features ({args.features}); AUROC, no figure counts as the lowest")
    rates = (f"{neurons.name} {auroc(-neurons.acts.moments.firing_rate, neurons.k == 1):.2f}" for neurons in planted)
    print("firing rate: " + "  ".join(rates))
    for name, parts in LINES.items():
        kept = tuple(view for view in views if parts.two_before or view.name != "two before")
        grammar = Grammar(kept, positions, is_fit, FULL_SPELLING if parts.spelling else inf)
        areas = []
        for neurons in planted:
            area = auroc_interval(scores(neurons.acts, grammar, parts), neurons.k == 1, neurons.members)
            areas.append(f"{neurons.name} {area.value:.2f} [{area.low:.2f}, {area.high:.2f}]")
        print(f"{name}: " + "  ".join(areas), flush=True)


if __name__ == "__main__":
    main()
