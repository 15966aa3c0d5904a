"""A dictionary finds the directions that were planted, the same ones every time."""

import pytest
import torch

from analyze.dictionary import Settings, fit
from tests.analyze.dictionary.toys import features_on_directions
from train.errors import BadInput

KINDS = [Settings(latents=48, l1=0.3), Settings(latents=48, k=3)]


@pytest.mark.parametrize("settings", KINDS, ids=["l1", "k"])
def test_more_features_than_dimensions_are_found_as_directions(settings: Settings) -> None:
    values, _, directions = features_on_directions(24, 12)
    dictionary = fit(values, settings)
    best = (directions @ dictionary.directions.T).amax(1)
    assert float((best > 0.92).float().mean()) > 0.9
    assert dictionary.unexplained(values) < 0.1
    # Principal components are no such directions: there are but 12, and they mix.
    components = torch.linalg.svd(values - values.mean(0), full_matrices=False)[2]
    assert float(((directions @ components.T).abs().amax(1) > 0.92).float().mean()) < 0.2


@pytest.mark.parametrize("settings", KINDS, ids=["l1", "k"])
def test_the_latent_of_a_feature_fires_where_the_feature_stands(settings: Settings) -> None:
    values, features, directions = features_on_directions(24, 12)
    dictionary = fit(values, settings)
    latents = dictionary.latents(values)
    own = (directions @ dictionary.directions.T).argmax(1)
    together = [float(torch.corrcoef(torch.stack([features[:, i], latents[:, own[i]]]))[0, 1]) for i in range(24)]
    assert sorted(together)[2] > 0.8


def test_the_same_settings_give_the_same_bits_and_another_seed_does_not() -> None:
    values = features_on_directions(24, 12)[0]
    first, again, other = (fit(values, Settings(48, l1=0.3, steps=60, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.directions, again.directions)
    assert torch.equal(first.latents(values), again.latents(values))
    assert not torch.equal(first.directions, other.directions)


def test_no_more_than_k_latents_fire_at_a_token_and_none_is_negative() -> None:
    values = features_on_directions(24, 12)[0]
    latents = fit(values, Settings(48, k=2, steps=100)).latents(values)
    assert int((latents > 0).sum(1).max()) <= 2
    assert float(latents.min()) >= 0


def test_a_dictionary_knows_neither_offset_nor_scale() -> None:
    values = features_on_directions(24, 12)[0]
    settings = Settings(48, l1=0.3, steps=200)
    plain, moved = fit(values, settings), fit(100 * values + 7, settings)
    torch.testing.assert_close(plain.latents(values), moved.latents(100 * values + 7), atol=0.02, rtol=0)
    assert moved.unexplained(100 * values + 7) == pytest.approx(plain.unexplained(values), abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"latents": 8}, "needs either k or l1"),
        ({"latents": 8, "k": 2, "l1": 0.1}, "needs either k or l1"),
        ({"latents": 8, "k": 9}, "k = 9; from 1 to its 8 latents"),
        ({"latents": 0, "l1": 0.1}, "start at 1"),
        ({"latents": 8, "l1": -1.0}, "negative"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Settings(**wrong)


def test_values_that_do_not_vary_are_refused() -> None:
    with pytest.raises(BadInput, match="do not vary"):
        fit(torch.ones(100, 4), Settings(8, k=1))
