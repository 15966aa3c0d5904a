"""Context modes: the silhouette, how examples are drawn, and what counts as one group or several."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from analyze.scores import SCORES
from analyze.scores.base import NeuronScore, ReadsToys
from analyze.scores.context_modes import (
    SIZES,
    ContextModes,
    ModeFinder,
    clusterings,
    examples_of,
    find_all,
    patience_of,
    silhouette,
)
from analyze.text.embeddings import unit_rows
from tests.analyze.scores.scoring import activations_of, covered


@given(st.integers(0, 2**32 - 1), st.integers(5, 12), st.integers(2, 4))
@settings(deadline=None, max_examples=40)
def test_the_silhouette_is_that_of_scikit_learn(seed: int, n: int, k: int):
    rng = np.random.default_rng(seed)
    points = unit_rows(rng.standard_normal((n, 3)))
    cluster = np.concatenate([[0, 1], rng.integers(0, k, n - 2)]) * 2
    distance = np.maximum(1 - points @ points.T, 0)
    np.fill_diagonal(distance, 0)
    theirs = silhouette_score(distance, cluster, metric="precomputed")
    assert silhouette(points @ points.T, cluster) == pytest.approx(theirs, abs=1e-12)


def test_two_tight_groups_at_right_angles_worked_out_by_hand():
    points = np.repeat(np.eye(2), [3, 2], axis=0)
    assert silhouette(points @ points.T, np.array([0, 0, 0, 1, 1])) == 1
    assert silhouette(np.eye(3), np.arange(3)) == 0
    two = clusterings(np.repeat(np.eye(2), [30, 10], axis=0))[0]
    assert (two.k, two.silhouette, two.largest) == (2, 1.0, 0.75)


def test_identical_points_form_no_groups():
    assert {one.silhouette for one in clusterings(np.repeat(np.eye(2)[:1], 40, axis=0))} == {0.0}


def test_examples_are_one_a_document_and_no_context_twice():
    n = 400
    document, fingerprint = np.arange(n) // 2, np.arange(n) // 8
    chosen = examples_of(np.ones(n), patience_of(np.arange(n)), document, fingerprint)
    assert len(np.unique(document[chosen])) == len(np.unique(fingerprint[chosen])) == len(chosen) == 50
    alone = examples_of((np.arange(n) < 3).astype(float), patience_of(np.arange(n)), np.arange(n), np.arange(n))
    assert sorted(alone.tolist()) == [0, 1, 2]


def test_examples_are_drawn_with_chances_in_proportion_to_their_weight():
    heavy = np.arange(20_000) % 2 == 0
    chances = []
    for draw in range(40):
        patience = patience_of(np.arange(20_000), draw)
        chosen = examples_of(np.where(heavy, 3.0, 1.0), patience, np.arange(20_000), np.arange(20_000))
        assert len(chosen) == SIZES[0]
        chances.append(heavy[chosen].mean())
    # Three to one: the standard error of 40 x 200 draws is .005.
    assert np.mean(chances) == pytest.approx(0.75, abs=0.02)


def test_scale_leaves_the_examples_unmoved():
    weights = np.random.default_rng(0).random(3000)
    patience, document = patience_of(np.arange(3000)), np.arange(3000)
    first = examples_of(weights, patience, document, document)
    np.testing.assert_array_equal(examples_of(weights * 8, patience, document, document), first)


def cloud(n_groups: int, n: int = 3000) -> ModeFinder:
    """Tokens of 3,000 documents in 12 dimensions: half of them noise, half in groups about the first axes."""
    rng = np.random.default_rng(1)
    centre = np.eye(12)[np.arange(n) % n_groups] * 3 * (np.arange(n) < n // 2)[:, None]
    points = unit_rows(centre + rng.standard_normal((n, 12)))
    return ModeFinder(points.__getitem__, np.arange(n), np.arange(n), np.arange(n))


@pytest.mark.parametrize("n_groups", [2, 3, 5])
def test_the_number_of_groups_is_found_and_their_value_is_silhouette_above_chance_times_the_rest(n_groups: int):
    finder = cloud(n_groups)
    found = finder.find((np.arange(3000) < 1500).astype(float))
    assert found.best.k == n_groups
    assert found.n_examples == 200
    assert found.null == finder.null(200)[n_groups - 2]
    assert found.value == (found.best.silhouette - found.null) * (1 - found.best.largest)
    assert found.value > 0.08


def test_random_tokens_have_no_more_modes_than_chance():
    rng, finder = np.random.default_rng(2), cloud(3)
    values = [finder.find((rng.random(3000) < 0.2).astype(float)).value for _ in range(8)]
    grouped = finder.find((np.arange(3000) < 1500).astype(float)).value
    assert np.mean(values) < 0.03 < grouped / 2


def test_too_few_examples_give_nothing_and_other_numbers_are_rounded_down_to_a_size():
    finder = cloud(2)
    assert finder.find((np.arange(3000) < SIZES[-1] - 1).astype(float)).n_examples == 0
    assert np.isnan(finder.find(np.zeros(3000)).value)
    assert finder.find((np.arange(3000) < 99).astype(float)).n_examples == 50


def test_a_neuron_of_two_tokens_has_more_modes_than_one_of_one_token(made_up: tuple):
    grammar, tokens, data = made_up
    river, city = (covered(grammar, tokens, f"` {word}` as the current token") for word in ("river", "city"))
    acts = activations_of(np.stack([river, river | city, river * 0.0], axis=1).astype(float), data, tokens)
    table = ContextModes().table(acts)
    assert table["context_modes"][1] < table["context_modes"][0]
    assert table["context_modes_k"][1] == 2
    assert table["context_modes_examples"].to_list() == [50, 50, 0]
    assert np.isnan(table["context_modes"][2])
    assert table["context_modes_k"][2] is None
    np.testing.assert_array_equal(ContextModes()(acts), table["context_modes"])


def test_a_neuron_does_not_depend_on_its_place_its_scale_or_its_duplicates(made_up: tuple):
    grammar, tokens, data = made_up
    river, city = (covered(grammar, tokens, f"` {word}` as the current token") for word in ("river", "city"))
    values = np.stack([river, river | city], axis=1).astype(float)
    before = find_all(activations_of(values, data, tokens))
    mixed = np.concatenate([values[:, ::-1] * 4 + 2, values], axis=1)
    assert find_all(activations_of(mixed, data, tokens)) == [*before[::-1], *before]


def test_on_a_toy_two_features_are_two_modes():
    rng = np.random.default_rng(5)
    features = rng.random((1500, 8)) < 0.1
    y = np.stack([features[:, 0], features[:, 0] | features[:, 1]], axis=1).astype(float)
    found = ContextModes().toy(y, features)
    assert found[0] > found[1]


def test_the_score_is_registered_reads_toys_and_is_optional():
    one = SCORES["context_modes"]
    assert isinstance(one, NeuronScore)
    assert isinstance(one, ReadsToys)
    assert one.optional
