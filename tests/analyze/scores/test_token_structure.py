"""Token structure: its figures by explicit loops on a handful of tokens, and what leaves them unmoved."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.activations.store import TokenSample
from analyze.activations.strong_firings import FEWEST_DOCUMENTS
from analyze.scores import SCORES
from analyze.scores.base import NeuronScore
from analyze.scores.token_structure import (
    Halves,
    Structure,
    TokenStructure,
    components,
    explained,
    find_all,
    structure,
    sums_of,
)
from tests.analyze.scores.scoring import activations_of, covered


def sample_of(ids: np.ndarray, previous: np.ndarray, document: np.ndarray, is_fit: np.ndarray) -> TokenSample:
    return TokenSample(ids, previous, document, np.ones_like(ids), np.arange(len(ids)), is_fit)


def measured(y: np.ndarray, sample: TokenSample, least: np.ndarray) -> tuple[Structure, Halves]:
    halves = Halves.of(sample)
    fit, held_out = (sums_of(y[keys.tokens], least, keys, halves.grouping) for keys in (halves.fit, halves.eval))
    return structure(fit, held_out, halves), halves


def group_spread(y: np.ndarray, groups: list, parents: list) -> tuple[float, float]:
    """Variance components from the definition: the size is that of a balanced design's group, averaged."""
    n, within, between, n_squares = len(y), 0.0, 0.0, 0.0
    for parent in set(parents):
        inside = [i for i in range(n) if parents[i] == parent]
        for group in {groups[i] for i in inside}:
            mine = [i for i in inside if groups[i] == group]
            within += sum((y[i] - y[mine].mean()) ** 2 for i in mine)
            between += len(mine) * (y[mine].mean() - y[inside].mean()) ** 2
            n_squares += len(mine) ** 2 / len(inside)
    n_groups, n_parents = len(set(zip(parents, groups))), len(set(parents))
    inside = within / max(n - n_groups, 1)
    size = (n - n_squares) / max(n_groups - n_parents, 1)
    excess = between / max(n_groups - n_parents, 1) - inside
    return (max(excess / size, 0.0) if size > 0 else 0.0), inside


def eta2_by_loops(y: np.ndarray, sample: TokenSample, fit: bool) -> tuple[float, float]:
    """Variance explained on the other half by means fitted on one, token by token."""
    own = np.flatnonzero(sample.is_fit == fit)
    other = np.flatnonzero(sample.is_fit != fit)
    ids, pairs = sample.ids.tolist(), list(zip(sample.previous.tolist(), sample.ids.tolist()))
    mean = y[own].mean()
    between, within = group_spread(y[own], [ids[i] for i in own], [0] * len(own))
    between_2, within_2 = group_spread(y[own], [pairs[i] for i in own], [ids[i] for i in own])

    def shrunk(total: float, count: int, spread: tuple[float, float]) -> float:
        scale = count * spread[0] + spread[1]
        return total * spread[0] / scale if scale > 0 else 0.0

    def of_token(token: int) -> float:
        same = [i for i in own if ids[i] == token]
        return mean + shrunk(sum(y[i] - mean for i in same), len(same), (between, within))

    def of_pair(pair: tuple[int, int]) -> float:
        same, base = [i for i in own if pairs[i] == pair], of_token(pair[1])
        return base + shrunk(sum(y[i] - base for i in same), len(same), (between_2, within_2))

    total = sum((y[i] - mean) ** 2 for i in other)
    if total == 0:
        return float("nan"), float("nan")
    by_token = 1 - sum((y[i] - of_token(ids[i])) ** 2 for i in other) / total
    return by_token, 1 - sum((y[i] - of_pair(pairs[i])) ** 2 for i in other) / total


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(12, 40))
@settings(deadline=None, max_examples=40)
def test_both_eta2_are_what_fitted_means_explain_on_the_other_half(seed: int, n_ids: int, n: int):
    rng = np.random.default_rng(seed)
    ids, previous = rng.integers(0, n_ids, n), rng.integers(0, n_ids, n)
    sample = sample_of(ids, previous, np.arange(n) // 3, np.arange(n) // 3 % 2 == 0)
    y = (ids == 0) + 0.5 * (previous == 1) * (ids == 1) + 0.1 * rng.random(n)
    halves = Halves.of(sample)
    fit, held_out = (
        sums_of(y[keys.tokens][:, None], np.array([9.0]), keys, halves.grouping) for keys in (halves.fit, halves.eval)
    )
    found = explained(fit, halves.fit, held_out, halves.eval, halves)[:, 0]
    np.testing.assert_allclose(found, eta2_by_loops(y, sample, fit=True), atol=1e-9)
    back = explained(held_out, halves.eval, fit, halves.fit, halves)[:, 0]
    np.testing.assert_allclose(back, eta2_by_loops(y, sample, fit=False), atol=1e-9)


def test_variance_components_of_a_balanced_design_are_those_of_the_textbook():
    # Three groups of two: means 1, 3, 5; tokens 1 apart from their mean by 1 either way.
    spread = components(np.array([2 * (4.0 + 0 + 4)]), np.array([6.0]), groups=3, parents=1, n=6, n_squares=3 * 4 / 6)
    assert spread.within.tolist() == [2.0]
    assert spread.between.tolist() == [(8.0 - 2.0) / 2]


def test_the_unities_of_a_handful_of_tokens_worked_out_by_hand():
    """Fit masses 6, 2 on tokens 1, 2; eval masses 2, 1, 1 on tokens 1, 2, 3; a value of 0.1 is not strong."""
    n = FEWEST_DOCUMENTS
    rows = [(1, 6.0, True), (2, 2.0, True), (3, 0.1, True), (1, 2.0, False), (2, 1.0, False), (3, 1.0, False)]
    ids = np.repeat([token for token, _, _ in rows], n)
    y = np.repeat([value for _, value, _ in rows], n)
    is_fit = np.repeat([half for _, _, half in rows], n)
    document = np.tile(np.arange(n), 6) + n * ~is_fit
    found, halves = measured(y[:, None], sample_of(ids, np.zeros_like(ids), document, is_fit), np.array([0.5]))
    assert found.unity[0] == pytest.approx(0.75 * 0.5 + 0.25 * 0.25)
    shares = np.array([8, 3, 1]) / 12
    assert found.entropy_unity[0] == pytest.approx(1 + (shares * np.log(shares)).sum() / np.log(3))
    assert halves.ids.tolist() == [1, 2, 3]
    assert (found.top[0], found.top_share[0]) == (1, 0.5)


def neurons(made_up: tuple) -> np.ndarray:
    """[t 4]: one token, the token after one, a bigram, and noise, on a grid."""
    grammar, tokens, _ = made_up
    river, after_king, city = (
        covered(grammar, tokens, phrase)
        for phrase in ("` river` as the current token", "after ` king`", "` city` as the current token")
    )
    noise = 0.1 * np.random.default_rng(0).standard_normal((len(tokens), 4))
    columns = np.stack([river, after_king, city & after_king, np.zeros(len(tokens))], axis=1)
    return np.round((columns + noise) * 16) / 16


def test_a_neuron_of_one_token_has_unity_one_and_its_token_predicts_it(made_up: tuple):
    grammar, tokens, data = made_up
    exact = covered(grammar, tokens, "` river` as the current token")[:, None].astype(float)
    acts = activations_of(exact, data, tokens)
    table = TokenStructure().table(acts)
    assert table.columns[0] == "token_structure"
    assert table["token_structure"].to_list() == [pytest.approx(1.0)]
    assert table["token_entropy_unity"].to_list() == [pytest.approx(1.0)]
    assert table["token_eta2"][0] > 0.999
    assert table["token_top_share"][0] == 1
    assert tokens.ids[exact[:, 0] > 0][0] == table["token_top_id"][0]
    np.testing.assert_array_equal(TokenStructure()(acts), table["token_structure"])


def test_bigram_means_find_what_token_means_cannot(made_up: tuple):
    _, tokens, data = made_up
    found = find_all(activations_of(neurons(made_up), data, tokens))
    assert found.token_eta2[0] > 0.7
    assert abs(found.bigram_eta2[0] - found.token_eta2[0]) < 0.05
    assert found.token_eta2[1] < 0.05, "a feature of the previous token"
    assert found.bigram_eta2[1] > 0.3
    assert abs(found.token_eta2[3]) < 0.02, "noise"
    assert abs(found.bigram_eta2[3]) < 0.02


@pytest.mark.parametrize(("scale", "offset"), [(0.25, 0.0), (8.0, 0.0), (1.0, 4.0), (8.0, 2.0)])
def test_scale_and_offset_leave_every_figure_unmoved(made_up: tuple, scale: float, offset: float):
    _, tokens, data = made_up
    before = find_all(activations_of(neurons(made_up), data, tokens))
    after = find_all(activations_of(neurons(made_up) * scale + offset, data, tokens))
    for name, values in vars(before).items():
        np.testing.assert_allclose(getattr(after, name), values, atol=1e-9, err_msg=name)


def test_a_neuron_does_not_depend_on_its_block_or_on_its_duplicates(made_up: tuple):
    _, tokens, data = made_up
    values = neurons(made_up)
    together = find_all(activations_of(values, data, tokens))
    wide = find_all(activations_of(np.concatenate([values] * 70, axis=1), data, tokens))
    alone = [find_all(activations_of(values[:, [i]], data, tokens)) for i in range(4)]
    for name, given_values in vars(together).items():
        np.testing.assert_allclose(getattr(wide, name), np.tile(given_values, 70), atol=1e-12)
        np.testing.assert_allclose([getattr(one, name)[0] for one in alone], given_values, atol=1e-12)


def test_dead_neurons_and_those_of_too_few_documents_have_no_unity(made_up: tuple):
    _, tokens, data = made_up
    few = np.isin(tokens.document, np.arange(2 * FEWEST_DOCUMENTS - 2)).astype(float)
    acts = activations_of(np.stack([np.zeros(len(tokens)), few], axis=1), data, tokens)
    acts.moments.status[1] = 0
    table = TokenStructure().table(acts)
    assert table["token_structure"].is_nan().all()
    assert table["token_top_id"].null_count() == 2
    assert np.isnan(table["token_eta2"][0])
    assert np.isfinite(table["token_eta2"][1]), "variance explained needs no strong firings"


def test_a_sample_without_eval_documents_has_no_figures(made_up: tuple):
    _, tokens, data = made_up
    acts = activations_of(neurons(made_up), data, tokens)
    found = find_all(replace(acts, tokens=replace(tokens, is_fit=np.ones(len(tokens), bool))))
    for name in ("unity", "token_eta2", "bigram_eta2", "top_share"):
        assert np.isnan(getattr(found, name)).all()


def test_the_score_is_registered():
    assert isinstance(SCORES["token_structure"], NeuronScore)
