"""One-rule fidelity: how well the best rule tells a neuron's held-out activation."""

from pathlib import Path

import numpy as np
import pytest

from analyze.activations.store import TokenSample
from analyze.rules.conjunctions import Conjunctions
from analyze.scores.fidelity import SCORE, fidelity, fidelity_all
from tests.analyze.scores.scoring import activations_of, covered
from tests.analyze.text.hand_text import LENGTH, N_DOCUMENTS, hand_text, places

N_HALF = N_DOCUMENTS * LENGTH // 2


@pytest.fixture(scope="module")
def by_hand() -> Conjunctions:
    return Conjunctions(hand_text())


@pytest.fixture(scope="module")
def made_up(made_up: tuple) -> tuple[Conjunctions, TokenSample, Path]:
    grammar, tokens, data = made_up
    return Conjunctions(grammar), tokens, data


def neuron(by_hand: Conjunctions, heights: dict[tuple[str, int], float], half: str | None = None) -> np.ndarray:
    """Activations of one height at one place of every prose or code document of a half (of both: None)."""
    grammar = by_hand.grammar
    y = np.zeros(N_DOCUMENTS * LENGTH, np.float32)
    for (kind, place), height in heights.items():
        for name, tokens in (("fit", grammar.fit), ("eval", grammar.eval)):
            if half in (None, name):
                y[tokens[places({kind: (place,)}, grammar, name)]] = height
    return y


def test_a_neuron_that_equals_its_rule_is_predicted_perfectly(by_hand: Conjunctions):
    y = neuron(by_hand, {("code", 4): 1, ("code", 9): 1})
    found = fidelity(y, 0.0, 0.1, by_hand)
    assert found.rule is not None
    assert by_hand.sentence(found.rule) == "` the` after a newline, in code"
    assert [found.pearson, found.r2, found.auprc, found.f1] == pytest.approx([1, 1, 1, 1])


def test_a_neuron_with_a_second_weaker_thing_comes_out_as_computed_by_hand(by_hand: Conjunctions):
    # height 2 at ` the` in brackets (10 tokens each of prose and code a half), height 1 at ` overlooked` (10)
    y = neuron(by_hand, {("prose", 8): 2, ("code", 6): 2, ("prose", 2): 1})
    found = fidelity(y, 0.0, 0.1, by_hand)
    assert found.rule is not None
    inside, n = 20, N_HALF
    np.testing.assert_array_equal(by_hand.covered("eval", found.rule), y[by_hand.grammar.eval] == 2)
    sum_, squares = 2 * 20 + 10, 4 * 20 + 10
    spread = squares - sum_**2 / n
    assert found.pearson == pytest.approx((40 - inside * sum_ / n) / np.sqrt(spread * (inside - inside**2 / n)))
    outside = 10 / (n - inside)  # the mean of what is not covered
    assert found.r2 == pytest.approx(1 - (10 * (1 - outside) ** 2 + (n - inside - 10) * outside**2) / spread)
    assert found.auprc == 1, "the rule's tokens come first"
    assert found.f1 == pytest.approx(2 * 20 / (20 + 30))
    assert fidelity(y, 0.0, 1.5, by_hand).f1 == 1, "above 1.5 it fires at the rule's tokens alone"


def test_fidelity_is_measured_on_the_eval_half_alone(by_hand: Conjunctions):
    fit = neuron(by_hand, {("code", 4): 1, ("code", 9): 1}, "fit")
    elsewhere = fit + neuron(by_hand, {("code", 4): 1, ("prose", 2): 3}, "eval")
    found = fidelity(elsewhere, 0.0, 0.1, by_hand)
    inside, n = 20, N_HALF
    sum_, squares = 10 + 30, 10 + 90
    residual = (10 - inside * sum_ / n) / np.sqrt((squares - sum_**2 / n) * (inside - inside**2 / n))
    assert found.pearson == pytest.approx(residual)
    assert found.auprc == pytest.approx((10 * 10 / 20 + 10 * 20 / n) / 20)
    assert found.f1 == pytest.approx(2 * 10 / (20 + 20))
    spread = squares - 2 * 20 / n * sum_ + n * (20 / n) ** 2  # about the mean of the fit tokens, 20 / n
    assert found.r2 == pytest.approx(1 - (10 * 1 + 10 * 9) / spread)
    silent = fidelity(fit, 0.0, 0.1, by_hand)
    assert np.isnan(silent.pearson), "no activation on eval tokens is no correlation"
    assert silent.rule is not None


def test_what_is_below_the_median_counts_as_rest(by_hand: Conjunctions):
    y = neuron(by_hand, {("code", 4): 1, ("code", 9): 1})
    below = y - 5 * neuron(by_hand, {("prose", 1): 1, ("code", 1): 1})
    assert fidelity(below, 0.0, 0.1, by_hand) == fidelity(y, 0.0, 0.1, by_hand)


def test_neither_scale_nor_offset_nor_block_nor_duplicates_change_the_score(made_up: tuple):
    conjunctions, tokens, data = made_up
    rng = np.random.default_rng(0)
    grammar = conjunctions.grammar
    values = np.maximum(rng.standard_normal((len(tokens), 5)) - 1, 0).astype(np.float32)
    for column in range(5):
        rule = int(rng.choice(np.flatnonzero(grammar.n_fit > 60)))
        for half, rows in (("fit", grammar.fit), ("eval", grammar.eval)):
            values[rows[grammar.tokens(half, (rule,))], column] += 1 + column
    own = SCORE.table(activations_of(values, data, tokens))
    assert own["fidelity"].is_not_nan().all()
    scaled = SCORE.table(activations_of(64 * values[:, [4, 0, 0, 2, 3]], data, tokens))
    for mine, other in enumerate((4, 0, 0, 2, 3)):
        assert scaled.row(mine) == own.row(other)
    moved = SCORE.table(activations_of(values + 3, data, tokens))
    np.testing.assert_allclose(moved["fidelity"], own["fidelity"], rtol=1e-5)
    assert moved["fidelity_rule"].to_list() == own["fidelity_rule"].to_list()
    together = fidelity_all(activations_of(values, data, tokens), conjunctions)
    for column in range(5):
        alone = activations_of(values[:, column : column + 1], data, tokens)
        assert fidelity_all(alone, conjunctions) == [together[column]]


def test_dead_and_rare_neurons_have_no_score(made_up: tuple):
    conjunctions, tokens, data = made_up
    values = np.zeros((len(tokens), 3), np.float32)
    values[:, 0] = covered(conjunctions.grammar, tokens, "` river` as the current token")
    values[np.flatnonzero(tokens.document == tokens.document[0])[:3], 1] = 1
    acts = activations_of(values, data, tokens)
    assert acts.moments.status.tolist() == [0, 2, 1]
    table = SCORE.table(acts)
    assert table["fidelity"].is_nan().to_list() == [False, True, True]
    assert table["fidelity_rule"].is_null().to_list() == [False, True, True]
    np.testing.assert_array_equal(SCORE(acts), table["fidelity"])


def test_the_score_measures_fidelity_and_not_unity(made_up: tuple):
    conjunctions, tokens, data = made_up
    grammar = conjunctions.grammar
    one, two = (grammar.phrases.index(f"` {word}` as the current token") for word in ("river", "king"))
    rng = np.random.default_rng(1)
    covers = grammar.holds(np.asarray(tokens.stream_position))
    clean_pair = covers[:, one] + 0.2 * covers[:, two]
    noisy_one = covers[:, one] + 0.6 * rng.random(len(tokens))
    scores = SCORE(activations_of(np.stack([clean_pair, noisy_one], axis=1).astype(float), data, tokens))
    assert scores[0] > scores[1]


def test_the_metric_is_pearsons_correlation():
    rng = np.random.default_rng(0)
    y, covered = rng.random(500), rng.random(500) < 0.1
    assert SCORE.metric(y, covered) == pytest.approx(np.corrcoef(y, covered)[0, 1])
