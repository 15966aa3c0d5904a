"""MS: the formula by explicit loops over pairs, what leaves it unmoved, and what random firings give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.activations.strong_firings import FEWEST_DOCUMENTS
from analyze.scores import SCORES
from analyze.scores.base import NeuronScore, ReadsToys
from analyze.scores.ms import Half, Ms, SampledTokens, find_all, judge, mean_null, null_of, pair_sums
from analyze.text.context_vectors import contexts_of
from analyze.text.embeddings import unit_rows
from tests.analyze.scores.scoring import activations_of, covered

PHRASES = ("` river` as the current token", "after ` king`", "digits", "`return` in any case or spacing")


def by_pairs(w: np.ndarray, e: np.ndarray, document: np.ndarray) -> float:
    """Weighted mean of e_i . e_j over all pairs of different documents, one pair at a time."""
    above, below = 0.0, 0.0
    for i in range(len(w)):
        for j in range(len(w)):
            if document[i] != document[j]:
                above += w[i] * w[j] * float(e[i] @ e[j])
                below += w[i] * w[j]
    return above / below if below > 0 else float("nan")


@st.composite
def tokens_in_documents(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [t 2], vectors [t 3 4] and ascending documents of a few tokens."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    document = np.repeat(np.arange(len(lengths)) * 3, lengths)
    w = rng.random((len(document), 2)) * (rng.random((len(document), 2)) < 0.7)
    return w, rng.standard_normal((len(document), 3, 4)), document


@given(tokens_in_documents())
@settings(deadline=None, max_examples=60)
def test_the_cosine_is_that_of_all_pairs_of_different_documents(made: tuple[np.ndarray, np.ndarray, np.ndarray]):
    w, e, document = made
    w = w.astype(np.float32)
    found = pair_sums(torch.from_numpy(w), lambda piece: e[piece], document).cosine
    for neuron in range(2):
        for view in range(3):
            wanted = by_pairs(w[:, neuron].astype(float), e[:, view], document)
            assert found[neuron, view] == pytest.approx(wanted, nan_ok=True, abs=1e-9)


def test_the_sums_of_a_handful_of_tokens_worked_out_by_hand():
    # Documents 0: two tokens along x; 1: one along x, one along y; 2: one along y. Weights 1, 2 | 3, 1 | 2.
    e = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]])[:, None, :]
    sums = pair_sums(torch.tensor([[1.0], [2], [3], [1], [2]]), lambda p: e[p], np.array([0, 0, 1, 1, 2]))
    assert sums.s.tolist() == [[[6.0, 3.0]]]
    assert sums.within.tolist() == [[9.0 + 10.0 + 4.0]]
    assert sums.mass[:, 0].tolist() == [3, 4, 2]
    assert sums.squares[:, 0].tolist() == [5, 10, 4]
    assert sums.pairs.tolist() == [81.0 - 29.0]
    assert sums.cosine.tolist() == [[(45.0 - 23.0) / 52.0]]


def test_documents_longer_than_a_piece_are_summed_whole(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    document = np.repeat([0, 1, 2, 3], [3, 10, 2, 7])
    w, e = torch.from_numpy(rng.random((22, 2))).float(), rng.standard_normal((22, 2, 3))
    whole = pair_sums(w, lambda p: e[p], document).cosine
    monkeypatch.setattr("analyze.scores.ms._PIECE", 4)
    np.testing.assert_allclose(pair_sums(w, lambda p: e[p], document).cosine, whole)


def test_the_null_and_its_spread_are_those_of_weights_on_contexts_drawn_at_random():
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(40), 10)
    e = unit_rows(rng.standard_normal((400, 5)) + 0.4)[:, None, :]
    null = null_of(lambda p: e[p], document, np.array([False]))
    w = np.zeros((400, 1), np.float32)
    w[::7, 0] = rng.random(58)
    contexts = [e[rng.integers(0, 400, 400)] for _ in range(600)]
    drawn = [pair_sums(torch.from_numpy(w), held.__getitem__, document).cosine[0, 0] for held in contexts]
    sums = pair_sums(torch.from_numpy(w), lambda p: e[p], document)
    assert np.mean(drawn) == pytest.approx(null.mean[0], abs=4 * np.std(drawn) / 600**0.5)
    assert np.std(drawn) == pytest.approx(null.sd(sums)[0, 0], rel=0.1)


def test_where_documents_share_a_context_the_spread_is_that_of_drawing_documents():
    rng = np.random.default_rng(2)
    document = np.repeat(np.arange(60), 5)
    of_document = unit_rows(rng.standard_normal((60, 4)))
    e = of_document[document][:, None, :]
    null = null_of(lambda p: e[p], document, np.array([True]))
    w = torch.from_numpy((rng.random((300, 1)) < 0.4).astype(np.float32))
    contexts = [of_document[rng.integers(0, 60, 60)[document]][:, None] for _ in range(600)]
    drawn = [pair_sums(w, held.__getitem__, document).cosine[0, 0] for held in contexts]
    sums = pair_sums(w, lambda p: e[p], document)
    assert np.std(drawn) == pytest.approx(null.sd(sums)[0, 0], rel=0.1)


def test_the_null_is_the_mean_over_every_order_of_the_weights():
    from itertools import permutations

    rng = np.random.default_rng(3)
    e, document = rng.standard_normal((5, 1, 2)), np.array([0, 0, 1, 1, 2])
    w = np.array([1.0, 0, 2, 0, 0.5], np.float32)
    orders = np.stack([w[list(order)] for order in permutations(range(5))], axis=1)
    sums = pair_sums(torch.from_numpy(orders), lambda p: e[p], document)
    above = (np.square(sums.s).sum(axis=2) - sums.within)[:, 0]
    assert above.sum() / sums.pairs.sum() == pytest.approx(mean_null(lambda p: e[p], document)[0])


def sets(made_up: tuple) -> np.ndarray:
    """[t 5]: the sets of PHRASES, and the union of the first two."""
    grammar, tokens, _ = made_up
    columns = [covered(grammar, tokens, phrase) for phrase in (*PHRASES[:3], f"{PHRASES[3]} as the current token")]
    return np.stack([*columns, columns[0] | columns[1]], axis=1).astype(np.float64)


def test_a_single_token_gives_one_in_the_view_of_the_current_token_less_its_null(made_up: tuple):
    _, tokens, data = made_up
    acts = activations_of(sets(made_up), data, tokens)
    found, contexts = find_all(acts, contexts_of(acts)), contexts_of(acts)
    half = Half.of(contexts, SampledTokens.of(acts), is_fit=False)
    null = mean_null(half.vectors, half.document)
    assert [contexts.names[view] for view in found.view[:2]] == ["current", "previous"]
    np.testing.assert_allclose(found.raw[:2], 1)
    np.testing.assert_allclose(found.ms[:2], 1 - null[:2])
    assert found.ms[4] < 0.7, "two features"
    assert (found.z[[0, 1, 3]] > 10).all()


@pytest.mark.parametrize(("scale", "offset"), [(0.25, 0.0), (8.0, 0.0), (1.0, 4.0), (8.0, -2.0)])
def test_scale_and_offset_leave_it_unmoved(made_up: tuple, scale: float, offset: float):
    _, tokens, data = made_up
    values = sets(made_up) + np.round(0.1 * np.random.default_rng(0).standard_normal((len(tokens), 5)) * 16) / 16
    before = Ms()(activations_of(values, data, tokens))
    np.testing.assert_allclose(Ms()(activations_of(values * scale + offset, data, tokens)), before, atol=1e-9)


def test_a_neuron_does_not_depend_on_its_block_or_on_its_duplicates(made_up: tuple):
    _, tokens, data = made_up
    values = sets(made_up)
    together = Ms()(activations_of(values, data, tokens))
    alone = [Ms()(activations_of(values[:, [i]], data, tokens))[0] for i in range(5)]
    np.testing.assert_allclose(alone, together, atol=1e-12)
    wide = np.concatenate([values] * 60, axis=1)
    np.testing.assert_allclose(Ms()(activations_of(wide, data, tokens)), np.tile(together, 60), atol=1e-12)


def test_random_sets_of_tokens_give_about_zero_and_a_z_of_about_one(made_up: tuple):
    _, tokens, data = made_up
    rng = np.random.default_rng(4)
    values = (rng.random((len(tokens), 64)) < rng.choice([0.01, 0.03, 0.1], 64)).astype(float)
    acts = activations_of(values, data, tokens)
    found = find_all(acts, contexts_of(acts))
    assert np.abs(found.ms).max() < 0.06
    assert abs(found.ms.mean()) < 0.004
    assert 0.7 < found.z.std() < 1.4
    assert abs(found.z.mean()) < 0.4


def test_dead_neurons_and_those_of_too_few_documents_have_no_score_and_say_how_many(made_up: tuple):
    _, tokens, data = made_up
    few = np.isin(tokens.document, np.arange(2 * FEWEST_DOCUMENTS - 2)).astype(float)
    values = np.stack([np.zeros(len(tokens)), few, np.ones(len(tokens))], axis=1)
    acts = activations_of(values, data, tokens)
    acts.moments.status[1] = 0
    table = Ms().table(acts)
    assert table["ms"].is_nan().all()
    assert table["ms_view"].null_count() == 3
    assert table["ms_documents"].to_list() == [0, FEWEST_DOCUMENTS - 1, 0]


def test_the_view_is_chosen_on_fit_documents_and_the_value_is_that_of_eval_documents():
    document = np.repeat(np.arange(12), 2)
    same, random = np.zeros((24, 2)), unit_rows(np.random.default_rng(0).standard_normal((24, 2)))
    same[:, 0] = 1
    fit, held_out = np.stack([random, same], axis=1), np.stack([same, random], axis=1)
    w = torch.ones(24, 1)
    null = null_of(lambda p: held_out[p], document, np.zeros(2, bool))
    eval_sums = pair_sums(w, lambda p: held_out[p], document)
    found = judge(pair_sums(w, lambda p: fit[p], document), np.zeros(2), eval_sums, null)
    assert found.view.tolist() == [1]
    assert found.raw[0] == eval_sums.cosine[0, 1] < 0.5


def test_a_sample_without_eval_documents_scores_nothing(made_up: tuple):
    from dataclasses import replace

    _, tokens, data = made_up
    acts = activations_of(sets(made_up), data, tokens)
    acts = replace(acts, tokens=replace(tokens, is_fit=np.ones(len(tokens), bool)))
    assert np.isnan(Ms()(acts)).all()


def test_on_a_toy_the_active_features_are_the_contexts():
    rng = np.random.default_rng(5)
    features = rng.random((600, 6)) < 0.2
    columns = (features[:, 0], features[:, 0] | features[:, 1], rng.random(600) < 0.2, np.zeros(600))
    y = np.stack(columns, axis=1).astype(float)
    found = Ms().toy(y, features)
    samples, e = np.arange(1, 600, 2), unit_rows(features - features.mean(axis=0))[1::2]
    chance = by_pairs(np.ones(300), e, samples)
    for neuron in range(3):
        assert found[neuron] == pytest.approx(by_pairs(y[1::2, neuron], e, samples) - chance)
    assert found[0] > found[1] > 0.1 > abs(found[2])
    assert np.isnan(found[3])


def test_the_score_is_registered_and_reads_toys():
    assert isinstance(SCORES["ms"], NeuronScore)
    assert isinstance(SCORES["ms"], ReadsToys)
