"""Geometry: dimensionality and its kin on known arrangements, and arrangements found by name."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from analyze.toys.geometry import (
    PLATEAUS,
    capacity,
    dimensionality,
    dimensionality_star,
    geometry,
    interference,
    plateau_of,
    regular,
    represented,
)

NAMES = ("antipodal pair", "triangle", "pentagon", "tetrahedron", "square antiprism")


def columns(name: str, form: int = -1) -> torch.Tensor:
    """W whose columns are a regular geometry."""
    return torch.tensor(regular(name)[form].T)


def beside(*weights: torch.Tensor) -> torch.Tensor:
    """Weights in dimensions of their own."""
    return torch.block_diag(*weights)


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("antipodal pair", 1 / 2),
        ("triangle", 2 / 3),
        ("pentagon", 2 / 5),
        ("tetrahedron", 3 / 4),
        ("square antiprism", 3 / 8),
    ],
)
def test_each_feature_of_a_regular_geometry_has_an_equal_share_of_the_dimensions(name, each):
    found = dimensionality(columns(name))
    torch.testing.assert_close(found, torch.full_like(found, each))


def test_the_antiprism_of_equal_edges_has_equal_edges_and_less_than_its_share_of_dimensions():
    vectors = regular("square antiprism")[0]
    edges = np.sort(np.linalg.norm(vectors[:, None] - vectors[None], axis=-1).round(9)[0])[1:5]
    np.testing.assert_allclose(edges, edges[0])
    assert dimensionality(columns("square antiprism", 0))[0] == pytest.approx(0.3664, abs=1e-4)


def test_an_unknown_geometry_is_a_key_error():
    with pytest.raises(KeyError, match="cube"):
        regular("cube")


@given(seed=st.integers(0, 10_000), hidden=st.integers(1, 5), features=st.integers(1, 8))
def test_capacity_is_dimensionality_and_sums_to_at_most_the_hidden_size(seed, hidden, features):
    weight = torch.randn(hidden, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(capacity(weight), dimensionality(weight))
    assert dimensionality(weight).sum() <= hidden + 1e-9
    assert (dimensionality(weight) <= 1 + 1e-9).all()


def test_a_feature_of_no_weight_has_no_dimension_no_capacity_and_no_interference():
    weight = torch.tensor([[1.0, 0.0]])
    for of in (dimensionality, capacity):
        assert of(weight).tolist() == [1.0, 0.0]
    assert interference(weight).tolist() == [0.0, 0.0]
    assert represented(weight).tolist() == [True, False]


def test_interference_is_what_others_leave_on_a_features_direction():
    weight = torch.tensor([[1.0, -0.5, 0.0], [0.0, 0.0, 2.0]])
    assert interference(weight).tolist() == pytest.approx([0.25, 1.0, 0.0])


def test_d_star_counts_hidden_dimensions_a_feature():
    assert float(dimensionality_star(beside(columns("antipodal pair"), columns("antipodal pair")))) == pytest.approx(
        1.0
    )
    assert float(dimensionality_star(torch.tensor([[1.0, -1.0]]))) == pytest.approx(0.5)
    assert float(dimensionality_star(torch.zeros(2, 3))) == float("inf")


def test_functions_of_weights_keep_the_axes_in_front():
    weight = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert dimensionality(weight).shape == (2, 3, 5)
    torch.testing.assert_close(dimensionality(weight)[1, 2], dimensionality(weight[1, 2]))
    torch.testing.assert_close(interference(weight)[1, 2], interference(weight[1, 2]))
    assert dimensionality_star(weight).shape == (2, 3)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)  # the orders of eight features are worked out once, in half a second
@given(seed=st.integers(0, 10_000))
def test_a_geometry_is_named_however_it_is_turned_ordered_and_scaled(name, seed):
    generator = np.random.default_rng(seed)
    vectors = regular(name)[generator.integers(len(regular(name)))]
    turned = vectors @ ortho_group.rvs(vectors.shape[1], random_state=generator) if vectors.shape[1] > 1 else vectors
    weight = torch.tensor(1.3 * generator.permutation(turned).T)
    (structure,) = geometry(weight).structures
    assert structure.name == name
    assert structure.features == tuple(range(len(vectors)))
    assert structure.error < 1e-6


def test_geometries_in_dimensions_of_their_own_are_counted_apart_from_what_is_ignored():
    weight = beside(
        columns("pentagon"), columns("antipodal pair"), columns("antipodal pair"), torch.tensor([[1.0, 0.1]])
    )
    found = geometry(weight)
    assert found.multiplicities() == {"pentagon": 1, "antipodal pair": 2, "dedicated": 1}
    assert (found.count("triangle"), found.ignored) == (0, (10,))
    second = found.structure_of(6)
    assert second is not None
    assert (second.name, second.features) == ("antipodal pair", (5, 6))
    assert found.structure_of(10) is None


def test_weights_without_a_feature_that_is_represented_have_no_structure():
    found = geometry(torch.zeros(2, 3))
    assert (found.structures, found.ignored) == ((), (0, 1, 2))


def test_a_cluster_that_is_no_known_geometry_has_no_name_and_says_how_far_it_is():
    cube = torch.tensor([[a, b, c] for a in (1.0, -1) for b in (1.0, -1) for c in (1.0, -1)]).T / 3**0.5
    (structure,) = geometry(cube).structures
    assert (structure.name, round(structure.error, 2)) == ("none", 0.43)
    fan = torch.tensor([[1.0, 0.8, 0.6, 0.0], [0.0, 0.6, 0.8, 1.0]])
    (structure,) = geometry(fan).structures
    assert structure.name == "none"
    six = torch.tensor([[np.cos(a), np.sin(a)] for a in np.arange(6) * np.pi / 3 + 0.1]).T
    assert geometry(six).structures[0].error == 1.0


def test_a_deformed_pentagon_keeps_its_name_and_its_error_grows_with_the_deformation():
    errors = []
    for shrink in (1.0, 0.95, 0.8):
        weight = columns("pentagon").clone()
        weight[:, 2] *= shrink
        (structure,) = geometry(weight).structures
        assert structure.name == "pentagon"
        errors.append(structure.error)
    assert errors[0] < 0.01 < errors[1] < errors[2] < 0.2


def test_features_that_point_the_same_way_are_no_antipodal_pair():
    (structure,) = geometry(torch.tensor([[1.0, 1.0], [0.0, 0.1]])).structures
    assert structure.name == "none"


def test_the_error_of_a_feature_on_its_own_is_what_others_take_of_its_dimension():
    weight = torch.tensor([[1.0, 0.15], [0.0, 1.0]], dtype=torch.float64)
    first, second = geometry(weight).structures
    assert first.name == second.name == "dedicated"
    assert first.error == pytest.approx(float((1 - dimensionality(weight)[0]).sqrt()))


def test_dimensionalities_go_to_the_nearest_plateau_within_reach():
    names = [*PLATEAUS, "none"]
    found = plateau_of(np.array([0.0, 0.38, 0.39, 0.52, 0.6, 0.66, 0.74, 0.99]))
    assert [names[i] for i in found] == [
        "ignored", "square_antiprism", "pentagon", "antipodal", "none", "triangle", "tetrahedron", "dedicated"
    ]  # fmt: skip
