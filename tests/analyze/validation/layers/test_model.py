"""Neurons planted in a model: their directions find their features, and they fire as often as asked."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations.store import TokenSample
from analyze.validation.design import TooFewFeatures
from analyze.validation.layers.base import Features, PlantedFeature
from analyze.validation.layers.model import Inputs, directions, open_model, planted_directions, read_at, run
from analyze.validation.plant import Corpus
from tests.analyze.validation.made_up import corpus_on
from train.config import ModelConfig
from train.model import Transformer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_on(tmp_path_factory.mktemp("model"))


def inputs_on(corpus: Corpus, act: str) -> Inputs:
    """An untrained model that carries the token in its stream."""
    vocabulary = corpus.data.d_vocab
    config = ModelConfig(
        n_layers=1, d_model=48, n_heads=4, n_ctx=corpus.data.n_ctx, d_vocab=vocabulary, act=act, widths=(64,)
    )
    model = Transformer(config, seed=0)
    x = read_at(model, corpus.data, corpus.tokens, 0)
    return Inputs(model.mlp(0), act, x, 1.0)


def features_of(tokens: TokenSample) -> Features:
    """One token each, of the commonest; and three sets of positions that no model can know."""
    ids, count = np.unique(tokens.ids, return_counts=True)
    common = ids[np.argsort(-count)][:60]
    own = [tokens.ids == token for token in common]
    unknown = [np.random.default_rng(index).random(len(tokens)) < 0.02 for index in range(3)]
    named = tuple(
        PlantedFeature(f"f{index}", f"family {index}", "token" if index < 60 else "unknown", "tuning")
        for index in range(63)
    )
    return Features(named, np.stack([*own, *unknown], axis=1))


def test_a_direction_is_one_higher_with_its_feature_and_what_the_model_does_not_carry_is_left_out(corpus: Corpus):
    inputs, features = inputs_on(corpus, "relu"), features_of(corpus.tokens)
    w, carried = directions(inputs.x.numpy(), features, corpus.tokens.is_fit)
    assert not carried[60:].any()
    assert carried[:60].mean() > 0.5
    fit = corpus.tokens.is_fit
    response = inputs.x.numpy()[fit] @ w[0]
    inside = features.tokens[fit, 0]
    assert response[inside].mean() - response[~inside].mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("act", ["relu", "gelu_new", "solu_ln"])
def test_planted_neurons_fire_on_their_features_as_often_as_was_asked(corpus: Corpus, act: str):
    inputs, features = inputs_on(corpus, act), features_of(corpus.tokens)
    w, carried = directions(inputs.x.numpy(), features, corpus.tokens.is_fit)
    chosen = np.flatnonzero(carried)[:6]
    wanted = np.full(len(chosen), 0.03)
    values, rate = run(inputs, torch.from_numpy(w[chosen]).float(), wanted, corpus.tokens.is_fit)
    assert np.abs(np.log(rate / wanted)).max() < 0.35
    for place, index in enumerate(chosen.tolist()):
        column = values[:, place].float().numpy()
        inside = features.tokens[:, index]
        assert column[inside].mean() > column[~inside].mean()


def test_a_set_in_a_model_has_pairs_of_equal_rate_and_every_feature_of_a_neuron_in_its_firings(corpus: Corpus):
    inputs, features = inputs_on(corpus, "gelu_new"), features_of(corpus.tokens)
    planted = planted_directions(corpus, "made up", inputs, features, "symmetric", n=60)
    assert planted.layer == 2
    assert planted.act == "gelu_new"
    assert planted.single.sum() == (~planted.single).sum() >= 40
    values = planted.acts.block(0, planted.acts.n_neurons).numpy()
    for neuron in np.flatnonzero(~planted.single)[:10].tolist():
        strong = values[:, neuron] > np.quantile(values[:, neuron], 0.98)
        for index in np.flatnonzero(planted.members[neuron]).tolist():
            name = planted.features[index].name
            own = features.tokens[:, [feature.name for feature in features.features].index(name)]
            assert (strong & own).any()


def test_a_model_that_carries_nothing_is_told(corpus: Corpus):
    inputs, features = inputs_on(corpus, "relu"), features_of(corpus.tokens)
    nothing = features.chosen(np.arange(63) >= 60)
    with pytest.raises(TooFewFeatures, match="carries 0 of 3"):
        planted_directions(corpus, "made up", inputs, nothing, "symmetric", n=60)


def test_a_checkpoint_that_is_not_there_is_named(corpus: Corpus, tmp_path: Path):
    from train.errors import BadInput

    with pytest.raises(BadInput, match="nowhere"):
        open_model(tmp_path / "nowhere", corpus.data)
