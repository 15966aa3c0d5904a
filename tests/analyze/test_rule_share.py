"""Rule share: one rule induced from the strongest examples and tested on others."""

from pathlib import Path

import numpy as np
import pytest

from analyze.rules import Grammar
from analyze.scores import score
from analyze.scores.rule_share import MOST_BASE_RATE, N_EXAMPLES, shares, strongest
from analyze.store import TokenSample
from tests.analyze.scoring import activations_of, covered, grammar_on, made_up_data


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grammar, TokenSample, Path]:
    data = made_up_data(tmp_path_factory.mktemp("rule_share"))
    return (*grammar_on(data), data)


def drawn(tokens: TokenSample, inside: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Stream positions of n tokens drawn from a set."""
    rng = np.random.default_rng(seed)
    return np.asarray(tokens.stream_position)[rng.choice(np.flatnonzero(inside), n, replace=False)]


def test_the_rule_is_induced_from_fit_examples_and_judged_on_others(made_up: tuple):
    grammar, tokens, _ = made_up
    king = covered(grammar, tokens, "after ` king`")
    fit = drawn(tokens, king & tokens.is_fit, N_EXAMPLES)[None]
    three_quarters = np.concatenate(
        [drawn(tokens, king & ~tokens.is_fit, 15), drawn(tokens, ~king & ~tokens.is_fit, 5)]
    )[None]
    found = shares(fit, three_quarters, grammar)
    assert grammar.phrases[int(found.rule[0])] == "after ` king`"
    assert found.share[0] == 0.75


def test_a_broad_rule_is_never_induced(made_up: tuple):
    grammar, tokens, _ = made_up
    rng = np.random.default_rng(1)
    positions = rng.choice(np.asarray(tokens.stream_position), (50, N_EXAMPLES))
    found = shares(positions, positions, grammar)
    assert (found.rule >= 0).all()
    assert grammar.base_rate_fit[found.rule].max() <= MOST_BASE_RATE


def test_of_rules_that_cover_as_many_the_rarer_is_taken(made_up: tuple):
    grammar, tokens, _ = made_up
    king = covered(grammar, tokens, "after ` king`")
    fit = drawn(tokens, king & tokens.is_fit, N_EXAMPLES)[None]
    found = shares(fit, fit, grammar)
    covers = grammar.covers(fit)[0]
    full = np.flatnonzero((covers == N_EXAMPLES) & (grammar.base_rate_fit <= MOST_BASE_RATE))
    assert grammar.base_rate_fit[found.rule[0]] == grammar.base_rate_fit[full].min()


def test_too_few_examples_give_no_score(made_up: tuple):
    grammar, tokens, _ = made_up
    enough = drawn(tokens, tokens.is_fit, N_EXAMPLES)[None]
    short = enough.copy()
    short[0, -1] = -1
    for fit, held_out in ((short, enough), (enough, short)):
        found = shares(fit, held_out, grammar)
        assert found.rule[0] == -1
        assert np.isnan(found.share[0])


def test_the_table_calls_a_planted_neuron_mono_and_a_mixture_not(made_up: tuple):
    grammar, tokens, data = made_up
    rng = np.random.default_rng(2)
    river = covered(grammar, tokens, "` river` as the current token")
    mixture = [covered(grammar, tokens, f"` {word}` as the current token") for word in ("king", "war", "music")]
    values = np.stack([river, np.any(mixture, axis=0), np.zeros(len(tokens))], axis=1).astype(float)
    values[:, :2] += 0.01 * rng.random((len(tokens), 2))
    table = score(activations_of(values, data, tokens), ["rule_share"])
    assert table["rule_share"][0] == 1
    assert table["rule_share_rule"][0] == "` river` as the current token"
    assert table["rule_share_base_rate"][0] == pytest.approx(river[~tokens.is_fit].mean())
    assert table["rule_share_mono"].to_list() == [True, False, None]
    assert table["rule_share"][2] is None


def test_examples_are_read_in_order_of_rank(made_up: tuple):
    _, tokens, data = made_up
    values = np.random.default_rng(4).random((len(tokens), 2))
    acts = activations_of(values, data, tokens)
    at = strongest(acts.examples, "fit", 2)
    row_of = {position: row for row, position in enumerate(tokens.stream_position.tolist())}
    heights = [[values[row_of[p], neuron] for p in at[neuron].tolist()] for neuron in range(2)]
    assert all(row == sorted(row, reverse=True) for row in heights)
