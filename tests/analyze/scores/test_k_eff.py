"""K_eff: what it calls one thing, what leaves it unmoved, and what it measures on planted neurons."""

from pathlib import Path

import numpy as np
import pytest
import torch
from polars.testing import assert_frame_equal
from tokenizers import Tokenizer

from analyze.activations.store import TokenSample
from analyze.activations.strong_firings import rectified
from analyze.metrics import auroc
from analyze.rules.grammar import Grammar
from analyze.scores import SCORES, k_eff
from analyze.scores.k_eff import LEAST_REACH, MONO, Fitted, diversity, fit, fit_all, fit_block
from analyze.scores.table import score_table, score_with_null
from analyze.text.vocabulary import Vocabulary
from tests.analyze.scores.planted import features, plant
from tests.analyze.scores.scoring import activations_of, covered, grammar_on
from train.errors import BadInput

NOISE = 0.05
PHRASES = (
    "` river` as the current token",
    "after ` king`",
    "digits",
    "`return` in any case or spacing as the current token",
)


def neurons(grammar: Grammar, tokens: TokenSample) -> np.ndarray:
    """[t 4]: neuron i fires on the first i + 1 of PHRASES, over noise; on a grid so that shifts are exact."""
    sets = [covered(grammar, tokens, phrase) for phrase in PHRASES]
    rng = np.random.default_rng(0)
    columns = [sum(sets[: i + 1]) + NOISE * rng.standard_normal(len(tokens)) for i in range(4)]
    return np.round(np.stack(columns, axis=1) * 256) / 256


def fits(values: np.ndarray, grammar: Grammar) -> list[Fitted]:
    held = torch.from_numpy(values).float()
    median = held.median(dim=0).values.double().numpy()
    return fit_block(held, median, grammar)


def test_halves_are_those_of_the_rectified_activations_for_any_choice_of_neurons(
    made_up: tuple, monkeypatch: pytest.MonkeyPatch
):
    grammar, tokens, _ = made_up
    held = torch.randn(len(tokens), 9, generator=torch.Generator().manual_seed(0))
    median = held.median(dim=0).values.double().numpy() - 0.01
    expected = rectified(held.clone(), median).numpy()
    monkeypatch.setattr(k_eff, "_TURNED", 2)
    monkeypatch.setattr(k_eff, "_TILE", 7)
    chosen = np.array([0, 3, 4, 5, 8])
    found = list(k_eff.rectified_halves(held, median, grammar, chosen))
    assert len(found) == len(chosen)
    for neuron, (on_fit, on_eval) in zip(chosen, found, strict=True):
        assert np.array_equal(on_fit, expected[grammar.fit, neuron])
        assert np.array_equal(on_eval, expected[grammar.eval, neuron])


def test_a_neuron_of_one_rule_is_found_and_called_mono(made_up: tuple):
    grammar, tokens, _ = made_up
    for phrase in PHRASES:
        values = covered(grammar, tokens, phrase)[:, None].astype(float)
        (found,) = fits(values, grammar)
        assert grammar.phrases[found.list.rules[0]] == phrase
        assert found.k_eff == pytest.approx(1.0, abs=0.01)
        assert found.list.reach > 0.95


def test_k_eff_grows_with_the_number_of_unlike_features(made_up: tuple):
    grammar, tokens, _ = made_up
    k_eff = [found.k_eff for found in fits(neurons(grammar, tokens), grammar)]
    assert k_eff == sorted(k_eff)
    assert k_eff[0] < 1.05
    assert k_eff[1] > MONO
    assert k_eff[3] > 2


@pytest.mark.parametrize("change", ["scale", "offset", "both"])
def test_scale_and_offset_leave_every_neuron_unmoved(made_up: tuple, change: str):
    grammar, tokens, _ = made_up
    values = neurons(grammar, tokens)
    moved = values * (1 if change == "offset" else 8.0) + (0 if change == "scale" else 3.0)
    for before, after in zip(fits(values, grammar), fits(moved, grammar)):
        assert after.list.rules == before.list.rules
        assert after.k_eff == pytest.approx(before.k_eff, rel=1e-9)
        assert after.list.reach == pytest.approx(before.list.reach, rel=1e-9)


def test_a_neuron_does_not_depend_on_its_block_or_on_its_duplicates(made_up: tuple):
    grammar, tokens, _ = made_up
    values = neurons(grammar, tokens)
    together = fits(values, grammar)
    assert [fits(values[:, [i]], grammar)[0] for i in range(4)] == together
    assert fits(values[:, ::-1].copy(), grammar) == together[::-1]
    assert fits(np.repeat(values, 3, axis=1), grammar) == [one for one in together for _ in range(3)]


def test_noise_alone_has_no_reach_and_no_score(made_up: tuple):
    grammar, tokens, _ = made_up
    noise = np.random.default_rng(3).standard_normal((len(tokens), 8))
    for found in fits(noise, grammar):
        assert not found.list.reach >= LEAST_REACH
        assert np.isnan(found.k_eff)


def test_a_neuron_that_does_not_vary_gets_nothing(made_up: tuple):
    grammar, tokens, _ = made_up
    (found,) = fits(np.ones((len(tokens), 1)), grammar)
    assert found.list.rules == ()
    assert np.isnan(found.list.reach)


def test_the_first_rule_and_its_gain_are_those_of_the_formula(made_up: tuple):
    grammar, tokens, _ = made_up
    y = np.random.default_rng(5).random(len(tokens)) * covered(grammar, tokens, PHRASES[1])
    found = fit(y[grammar.fit], y[grammar.eval], grammar).list
    covers = grammar.holds(np.asarray(tokens.stream_position)) > 0
    r = y - y[tokens.is_fit].mean()
    s, n = r[tokens.is_fit] @ covers[tokens.is_fit], covers[tokens.is_fit].sum(axis=0)
    value = np.where(s > 0, s**2 / n * (1 - 1 / np.sqrt(n)), -1)
    assert found.rules[0] == int(np.argmax(value))
    chosen = covers[:, found.rules[0]] & ~tokens.is_fit
    mu = s[found.rules[0]] / (n[found.rules[0]] + 1)
    gain = (2 * mu * r[chosen].sum() - chosen.sum() * mu**2) / (r[~tokens.is_fit] ** 2).sum()
    assert found.gains[0] == pytest.approx(gain)


def test_rules_that_are_alike_count_as_one_and_unlike_ones_as_many(made_up: tuple):
    grammar = made_up[0]
    words = [grammar.phrases.index(f"` {word}` as the current token") for word in ("river", "king")]
    z = grammar.similarity(np.array(words))[0, 1]
    assert diversity(words, [0.3, 0.3], grammar) == pytest.approx(2 / (1 + z))
    apart = [words[0], grammar.phrases.index("after ` king`")]
    assert diversity(apart, [0.3, 0.3], grammar) == pytest.approx(2)
    assert diversity(apart, [0.3, -0.1], grammar) == pytest.approx(1)
    assert np.isnan(diversity(apart, [0.003, 0.001], grammar))


def test_the_table_names_rules_and_leaves_out_dead_neurons(made_up: tuple):
    grammar, tokens, data = made_up
    values = np.concatenate([neurons(grammar, tokens), np.zeros((len(tokens), 1))], axis=1)
    acts = activations_of(values, data, tokens)
    table = score_table(acts)
    assert table["neuron"].to_list() == [0, 1, 2, 3, 4]
    assert table["status"].to_list() == [0, 0, 0, 0, 1]
    assert table["rule_1"][0] == PHRASES[0]
    assert table["single_token"].to_list() == [True, False, False, False, False]
    assert table["k_eff_mono"].to_list() == [True, False, False, False, None]
    assert table["k_eff"].is_null().to_list() == [False] * 4 + [True]
    assert table["null"].unique().to_list() == ["none"]
    np.testing.assert_array_equal(table["k_eff_score"].to_numpy(), SCORES["k_eff"](acts))
    np.testing.assert_array_equal(table["k_eff"].to_numpy(), [found.k_eff for found in fit_all(acts)])


def test_the_rotated_rows_stand_below_the_neurons(made_up: tuple):
    grammar, tokens, data = made_up
    acts = activations_of(neurons(grammar, tokens), data, tokens)
    table = score_with_null(acts)
    assert table["null"].to_list() == ["none"] * 4 + ["rotated"] * 4
    own = score_table(acts)
    assert_frame_equal(table.head(4).select(own.columns), own, check_dtypes=False, check_exact=True)


def test_an_unknown_score_is_named(made_up: tuple):
    _, tokens, data = made_up
    with pytest.raises(BadInput, match=r"k_ef.*did you mean 'k_eff'"):
        score_table(activations_of(np.zeros((len(tokens), 1)), data, tokens), ["k_ef"])


@pytest.mark.slow
def test_k_eff_tells_one_planted_feature_from_several_on_real_text(real_text: Path):
    grammar, tokens = grammar_on(real_text)
    vocabulary = Vocabulary.of(Tokenizer.from_file(str(real_text / "tokenizer.json")))
    rng = np.random.default_rng(1)
    bank = features(tokens.ids, tokens.document, vocabulary, rng)
    assert len(bank) > 40
    k = [1] * 80 + [2] * 30 + [3] * 20 + [4] * 20 + [6] * 10 + [8] * 10
    planted = plant(bank, k, rng)
    k_eff = np.array([found.k_eff for found in fits(planted.values.numpy(), grammar)])
    mono = planted.k == 1
    area = auroc(1 / k_eff, mono)
    print(
        f"AUROC {area:.3f}; K_eff <= {MONO}: {(k_eff <= MONO)[mono].mean():.2f} of one, "
        f"{(k_eff <= MONO)[~mono].mean():.2f} of several"
    )
    assert area > 0.8
    assert (k_eff <= MONO)[mono].mean() > 0.55
    assert (k_eff <= MONO)[~mono].mean() < 0.25


def test_the_metric_is_the_gain_of_one_set_by_its_formula():
    y = np.array([0.0, 0.0, 3.0, 1.0])
    covered = np.array([False, False, True, True])
    mu = (2.0 + 0.0) / 3
    total = 1.0 + 1.0 + 4.0 + 0.0
    assert SCORES["k_eff"].metric(y, covered) == pytest.approx((2 * mu * 2 - 2 * mu**2) / total)  # pyright: ignore[reportAttributeAccessIssue]
    assert np.isnan(SCORES["k_eff"].metric(np.ones(4), covered))  # pyright: ignore[reportAttributeAccessIssue]
