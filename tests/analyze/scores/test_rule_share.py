"""Rule share: one rule induced from the strongest examples and tested on others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.activations.store import TokenSample
from analyze.rules.conjunctions import MOST_BASE_RATE, Conjunctions
from analyze.scores.rule_share import N_EXAMPLES, SCORE, shares, strongest
from tests.analyze.scores.scoring import activations_of, covered

MadeUp = tuple[Conjunctions, TokenSample, Path]


@pytest.fixture(scope="module")
def made_up(made_up: tuple) -> MadeUp:
    grammar, tokens, data = made_up
    return Conjunctions(grammar), tokens, data


def drawn(tokens: TokenSample, inside: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Stream positions of n tokens drawn from a set."""
    rng = np.random.default_rng(seed)
    return np.asarray(tokens.stream_position)[rng.choice(np.flatnonzero(inside), n, replace=False)]


def test_the_rule_is_induced_from_fit_examples_and_judged_on_others(made_up: MadeUp):
    conjunctions, tokens, _ = made_up
    king = covered(conjunctions.grammar, tokens, "after ` king`")
    fit = drawn(tokens, king & tokens.is_fit, N_EXAMPLES)[None]
    three_quarters = np.concatenate(
        [drawn(tokens, king & ~tokens.is_fit, 15), drawn(tokens, ~king & ~tokens.is_fit, 5)]
    )[None]
    found = shares(fit, three_quarters, conjunctions)
    assert found.rules[0] is not None
    assert conjunctions.sentence(found.rules[0]) == "after ` king`"
    assert found.share[0] == 0.75


def test_a_broad_rule_is_never_induced(made_up: MadeUp):
    conjunctions, tokens, _ = made_up
    rng = np.random.default_rng(1)
    positions = rng.choice(np.asarray(tokens.stream_position), (50, N_EXAMPLES))
    found = shares(positions, positions, conjunctions)
    rules = [rule for rule in found.rules if rule is not None]
    assert len(rules) == 50
    assert max(conjunctions.base_rate("fit", rule) for rule in rules) <= MOST_BASE_RATE


def test_too_few_examples_give_no_score(made_up: MadeUp):
    conjunctions, tokens, _ = made_up
    enough = drawn(tokens, tokens.is_fit, N_EXAMPLES)[None]
    short = enough.copy()
    short[0, -1] = -1
    for fit, held_out in ((short, enough), (enough, short)):
        found = shares(fit, held_out, conjunctions)
        assert found.rules[0] is None
        assert np.isnan(found.share[0])


def planted(made_up: MadeUp) -> np.ndarray:
    """A word; three words; a dead neuron; a word as seldom as in seven fit documents."""
    conjunctions, tokens, _ = made_up
    grammar = conjunctions.grammar
    words = {w: covered(grammar, tokens, f"` {w}` as the current token") for w in ("river", "king", "war", "music")}
    fit = np.unique(tokens.document[tokens.is_fit])
    seldom = words["river"] & (~tokens.is_fit | np.isin(tokens.document, fit[:7]))
    mixture = words["king"] | words["war"] | words["music"]
    values = np.stack([words["river"], mixture, np.zeros(len(tokens)), seldom], axis=1).astype(float)
    values[:, [0, 1, 3]] += 0.01 * np.random.default_rng(2).random((len(tokens), 3))
    return values


def test_the_table_calls_a_planted_neuron_mono_and_a_mixture_not(made_up: MadeUp):
    _, tokens, data = made_up
    values = planted(made_up)
    table = SCORE.table(activations_of(values, data, tokens))
    assert table["rule_share"][0] == 1
    assert table["rule_share_rule"][0] == "` river` as the current token"
    assert table["rule_share_base_rate"][0] == (values[~tokens.is_fit, 0] > 0.5).mean()
    assert table["rule_share_mono"].to_list()[:3] == [True, False, None]
    assert np.isnan(table["rule_share"][2])


def test_a_neuron_that_fires_in_too_few_documents_of_a_half_is_not_judged_and_their_number_is_reported(made_up: MadeUp):
    _, tokens, data = made_up
    table = SCORE.table(activations_of(planted(made_up), data, tokens))
    fired = len(np.unique(tokens.document[tokens.is_fit & (planted(made_up)[:, 3] > 0.5)]))
    assert 0 < fired <= 7
    assert table["rule_share_examples"].to_list() == [20, 20, 0, fired]
    assert np.isnan(table["rule_share"][3])
    assert table["rule_share_mono"][3] is None
    assert table["rule_share_rule"][3] is None


def test_neither_scale_nor_the_order_of_equal_ranks_nor_neighbours_change_the_score(made_up: MadeUp):
    _, tokens, data = made_up
    values = planted(made_up)
    acts = activations_of(values, data, tokens)
    own = SCORE.table(acts)
    scaled = SCORE.table(activations_of(1e3 * values[:, [3, 1, 1, 0, 2]], data, tokens))
    for mine, other in ((0, 3), (1, 1), (1, 2)):
        assert scaled.row(other) == own.row(mine)
    turned = acts.examples.with_columns(rank=(pl.lit(N_EXAMPLES - 1) - pl.col("rank")).cast(pl.Int64))
    assert SCORE.table(replace(acts, examples=turned)).row(0) == own.row(0)


def test_examples_are_read_in_order_of_rank(made_up: MadeUp):
    _, tokens, data = made_up
    values = np.random.default_rng(4).random((len(tokens), 2))
    acts = activations_of(values, data, tokens)
    at = strongest(acts, "fit")
    row_of = {position: row for row, position in enumerate(tokens.stream_position.tolist())}
    heights = [[values[row_of[p], neuron] for p in at[neuron].tolist()] for neuron in range(2)]
    assert all(row == sorted(row, reverse=True) for row in heights)


def test_the_metric_is_coverage_of_the_top_and_zero_for_a_set_too_broad_to_be_a_rule():
    y = np.arange(1000.0)
    covered = np.zeros(1000, bool)
    covered[-15:] = True
    assert SCORE.metric(y, covered) == 15 / 20
    covered[:40] = True
    assert SCORE.metric(y, covered) == 0
