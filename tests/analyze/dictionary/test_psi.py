"""psi follows the number of features where that is known."""

from math import isnan

import pytest
import torch
from scipy.stats import spearmanr

from analyze.dictionary import Point, Settings, effective_features, frontier, gaussian_like, psi, psi_at, shuffled
from tests.analyze.dictionary.toys import features_on_directions

WIDTH = 12


def test_psi_follows_the_number_of_features_from_fewer_to_more_than_neurons() -> None:
    counts = [6, 12, 18, 30, 44]
    found = [psi(features_on_directions(n, WIDTH, seed=n)[0], Settings(64, k=3)).features for n in counts]
    assert spearmanr(counts, found).statistic > 0.94  # pyright: ignore[reportAttributeAccessIssue]
    for n, features in zip(counts, found):
        assert features == pytest.approx(n, rel=0.35)


def test_at_equal_reconstruction_sizes_and_kinds_agree() -> None:
    values = features_on_directions(24, WIDTH)[0]
    by_size = [psi_at(frontier(values, Settings(size, l1=0.0), (0.06, 0.2)), 0.05) for size in (32, 64)]
    assert by_size[0] == pytest.approx(by_size[1], rel=0.25)
    by_k = psi_at(frontier(values, Settings(48, k=1), strengths=(4, 3, 2, 1)), 0.05)
    assert by_k == pytest.approx(by_size[0], rel=0.35)


def test_effective_features_of_even_latents_are_their_number_and_of_one_latent_one() -> None:
    even = torch.eye(7).repeat(10, 1)
    assert effective_features(even) == pytest.approx(7)
    assert effective_features(even, "participation") == pytest.approx(7)
    one = torch.zeros(50, 7)
    one[:, 3] = 2.0
    assert effective_features(one) == pytest.approx(1)
    # A few weak latents weigh more in the entropy than in the squares.
    uneven = torch.tensor([[10.0, 1, 1, 1, 1, 1, 1]])
    assert effective_features(uneven) > effective_features(uneven, "participation")


def test_a_gaussian_of_the_same_covariance_keeps_covariance_and_loses_features() -> None:
    values = features_on_directions(24, WIDTH)[0]
    drawn = gaussian_like(values, seed=1)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(values.T), atol=0.004, rtol=0)
    settings = Settings(48, k=2)
    assert psi(drawn, settings).unexplained > 2 * psi(values, settings).unexplained


def test_shuffled_neurons_keep_their_values_and_lose_what_they_share() -> None:
    values = features_on_directions(24, WIDTH)[0]
    drawn = shuffled(values, seed=1)
    torch.testing.assert_close(drawn.sort(0).values, values.sort(0).values)
    off = ~torch.eye(WIDTH, dtype=torch.bool)
    assert torch.corrcoef(drawn.T)[off].abs().max() < 0.05 < torch.corrcoef(values.T)[off].abs().max()


def test_psi_between_two_dictionaries_is_in_proportion_and_beyond_them_unknown() -> None:
    points = [Point(0.1, 0.04, 3.0, 32.0, 16), Point(0.01, 0.01, 5.0, 64.0, 16)]
    assert psi_at(points, 0.04) == pytest.approx(2.0)
    assert psi_at(points, 0.02) == pytest.approx((32 * 64) ** 0.5 / 16)
    assert isnan(psi_at(points, 0.2))
    assert isnan(psi_at(points, 0.001))
