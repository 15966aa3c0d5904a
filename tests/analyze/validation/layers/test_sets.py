"""Planted sets as scores read them, with the truth about each neuron."""

import numpy as np
import pytest

from analyze.validation.layers.base import TruthSet
from analyze.validation.layers.sets import TruthCorpus, truth_sets
from analyze.validation.plant import Corpus
from tests.analyze.validation.layers.truth import made_up_truth


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[TruthCorpus, list[TruthSet], list[str]]:
    lines: list[str] = []
    truth = made_up_truth(tmp_path_factory.mktemp("truth"), lines)
    return truth, list(truth_sets(truth, layers=(1, 3), n=60)), lines


def test_each_half_and_design_is_a_set_with_neurons_of_one_feature_and_as_many_of_several(made: tuple):
    names = [(planted.half, planted.design) for planted in made[1]]
    assert names == [
        ("tuning", "density matched"),
        ("tuning", "symmetric"),
        ("held", "density matched"),
        ("held", "symmetric"),
    ]
    for planted in made[1]:
        assert planted.single.sum() == (~planted.single).sum() >= 40
        assert planted.acts.n_neurons == len(planted.k)


def test_a_neuron_fires_on_its_features_and_its_set_knows_them(made: tuple):
    truth, sets, _ = made
    planted = sets[0]
    values = planted.acts.block(0, 5).numpy()
    features = truth.ours.of("tuning")
    for neuron in range(5):
        own = features.tokens[:, planted.members[neuron]].any(axis=1)
        assert values[own, neuron].mean() > 5 * values[~own, neuron].mean()
        assert {one.half for one in planted.features_of(neuron)} == {"tuning"}
        assert len(planted.features_of(neuron)) == planted.k[neuron]


def test_where_density_is_matched_neither_firing_rate_nor_partner_tells_k(made: tuple):
    for planted in made[1]:
        rate, half = planted.firing_rate, len(planted.k) // 2
        apart = np.abs(np.log(rate[:half] / rate[half:]))
        assert (apart.max() < 0.2) == (planted.design == "density matched")


def test_a_set_as_a_table_has_a_row_a_neuron(made: tuple):
    table = made[1][2].table()
    assert len(table) == len(made[1][2].k)
    assert {"layer", "corpus", "design", "half", "act", "k", "features", "families", "kinds", "firing_rate"} <= set(
        table.columns
    )
    assert table["half"].unique().to_list() == ["held"]
    assert [len(row) for row in table["features"]] == table["k"].to_list()


def test_a_corpus_too_small_for_a_layer_says_so_with_the_tokens_it_has_and_wants(made: tuple):
    truth, _, lines = made
    told = [line for line in lines if "layer 3" in line]
    assert len(told) == 4
    assert all("left out" in line and f"{len(truth.corpus.tokens):,} tokens" in line for line in told)


def test_a_large_corpus_is_cut_by_whole_documents_and_keeps_its_order(made: tuple):
    corpus: Corpus = made[0].corpus
    some = corpus.at_most(4000)
    assert 2500 < len(some.tokens) <= 4000
    assert (np.diff(some.tokens.stream_position) > 0).all()
    kept = set(some.tokens.document.tolist())
    whole = np.isin(corpus.tokens.document, list(kept)).sum()
    assert whole == len(some.tokens)
    assert corpus.at_most(10**6) is corpus
