"""Decision lists, against the same found by going through every rule."""

from math import log

import numpy as np
import pytest

from analyze.activations.store import TokenSample
from analyze.rules.decision_list import DEFAULT, ListSettings, decision_list
from analyze.rules.grammar import FEWEST_TOKENS, Grammar
from tests.analyze.scores.scoring import covered

PHRASES = ("` river` as the current token", "after ` king`", "two tokens after ` war`", "digits")


def activations(grammar: Grammar, tokens: TokenSample, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    strength = rng.uniform(0.5, 2, len(PHRASES))
    whole = sum(s * covered(grammar, tokens, phrase) for s, phrase in zip(strength, PHRASES))
    return np.maximum(whole + noise * rng.standard_normal(len(tokens)), 0)


def by_hand(y: np.ndarray, grammar: Grammar, tokens: TokenSample) -> tuple[list[int], list[float]]:
    """As the docstring says it, on a dense table of which rule covers what."""
    covers = grammar.holds(np.asarray(tokens.stream_position))
    fit, other = covers[tokens.is_fit], covers[~tokens.is_fit]
    r, r_eval = y[tokens.is_fit] - y[tokens.is_fit].mean(), y[~tokens.is_fit] - y[tokens.is_fit].mean()
    left, left_eval = np.ones(len(r), bool), np.ones(len(r_eval), bool)
    least = max(DEFAULT.least_share, 2 * log(len(grammar)) / len(r)) * (r**2).sum()
    rules, gains = [], []
    while len(rules) < DEFAULT.n_rules:
        s, n = r[left] @ fit[left], fit[left].sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where((s > 0) & (n >= FEWEST_TOKENS), s**2 / n * (1 - 1 / np.sqrt(n)), 0)
        best = int(np.argmax(worth >= worth.max() * (1 - 1e-9)))
        if worth[best] <= least:
            break
        mu = s[best] / (n[best] + 1)
        new = left_eval & other[:, best]
        gains.append((2 * mu * r_eval[new].sum() - new.sum() * mu**2) / (r_eval**2).sum())
        rules.append(best)
        left, left_eval = left & ~fit[:, best], left_eval & ~other[:, best]
    return rules, gains


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_a_list_equals_the_one_worked_out_by_hand(made_up: tuple, noise: float):
    grammar, tokens, _ = made_up
    for seed in range(3):
        y = activations(grammar, tokens, noise, seed)
        found = decision_list(y[grammar.fit], y[grammar.eval], grammar)
        rules, gains = by_hand(y, grammar, tokens)
        assert list(found.rules) == rules
        np.testing.assert_allclose(found.gains, gains, atol=1e-12)
        assert found.reach == pytest.approx(np.maximum(gains, 0).sum())
        assert found.reach_of(2) == pytest.approx(np.maximum(gains[:2], 0).sum())
        assert found.best_rule == rules[int(np.argmax(gains))]
        assert np.all(np.diff(np.array(gains)[found.by_gain]) <= 0)


def test_the_rules_of_a_neuron_come_first(made_up: tuple):
    grammar, tokens, _ = made_up
    y = activations(grammar, tokens, 0.05, 0)
    found = decision_list(y[grammar.fit], y[grammar.eval], grammar)
    assert {grammar.phrases[rule] for rule in found.rules[: len(PHRASES)]} == set(PHRASES)
    assert found.reach > 0.85


def test_few_candidates_keep_the_most_valuable_rules(made_up: tuple):
    grammar, tokens, _ = made_up
    y = activations(grammar, tokens, 0.05, 1)
    whole, few, alone = (
        decision_list(y[grammar.fit], y[grammar.eval], grammar, ListSettings(n_candidates=n)) for n in (1024, 40, 2)
    )
    assert few.rules[:4] == whole.rules[:4]
    assert alone.rules[:1] == whole.rules[:1]
    assert len(alone.rules) <= 2


def test_noise_gets_no_rule_and_a_constant_no_reach(made_up: tuple):
    grammar, tokens, _ = made_up
    rng = np.random.default_rng(2)
    n_rules = []
    for _ in range(20):
        y = np.maximum(rng.standard_normal(len(tokens)), 0)
        n_rules.append(len(decision_list(y[grammar.fit], y[grammar.eval], grammar).rules))
    assert np.mean(n_rules) < 0.5, "rules fitted to noise"
    for y in (np.zeros(len(tokens)), np.ones(len(tokens))):
        found = decision_list(y[grammar.fit], y[grammar.eval], grammar)
        assert found.rules == ()
        assert np.isnan(found.reach)
        assert found.best_rule is None
