"""What programs are measured by, on layers, dictionaries, heads and networks whose answer is known."""

import numpy as np
import pytest
import torch

from analyze.toys.programs import attention_heads, circle, several_bases, xor_units
from analyze.toys.trials.programs import heads, xor_network
from train.toys.programs.attention import AttentionSettings
from train.toys.programs.parity import inputs


def bits(n: int = 4) -> np.ndarray:
    return inputs(n).double().numpy()


def test_a_sum_of_bits_has_no_joint_share_and_a_product_has_nothing_else() -> None:
    x = bits()
    assert xor_units.joint_share((x @ np.array([1.0, 2.0, -0.5, 0.3]))[:, None] + 7) == pytest.approx(0)
    assert xor_units.joint_share((x[:, 0] * x[:, 1])[:, None]) == pytest.approx(1)
    # relu(a + b) = (1 + a + b + ab) / 2 over +1 and -1: a third of its variance is joint.
    assert xor_units.joint_share(np.maximum(x[:, 0] + x[:, 1], 0)[:, None]) == pytest.approx(1 / 3)


def test_variance_is_split_by_the_number_of_bits_read_jointly() -> None:
    x = bits()
    units = np.stack([x[:, 0], 2 * x[:, 1] * x[:, 2], 3 * x.prod(1)], 1)
    assert np.allclose(xor_units.energies(units), [[1, 0, 0], [0, 4, 0], [0, 0, 0], [0, 0, 9]])


def test_a_rotation_of_units_leaves_the_joint_share_alone() -> None:
    units = np.maximum(bits() @ np.random.default_rng(0).standard_normal((4, 6)), 0)
    assert xor_units.joint_share(xor_units.rotated(units, 1)) == pytest.approx(xor_units.joint_share(units))
    assert not np.allclose(xor_units.unit_shares(xor_units.rotated(units, 1)), xor_units.unit_shares(units))


def test_a_dead_unit_has_no_share() -> None:
    x = bits()
    assert len(xor_units.unit_shares(np.stack([x[:, 0], 0 * x[:, 0]], 1))) == 1


@pytest.mark.parametrize("basis", ["difference", "sum"])
def test_a_basis_is_known_again_whatever_the_order_signs_and_scale(basis: str) -> None:
    network = xor_network(basis)
    assert several_bases.basis_of(network, 0) == basis
    made = several_bases.copies(network, 0, 30, seed=3)
    assert {several_bases.basis_of(made, i) for i in range(30)} == {basis}
    assert not torch.allclose(made["W1"][0], made["W1"][1])


def test_a_neuron_that_passes_nothing_on_is_no_part_of_a_basis() -> None:
    network = xor_network("sum")
    network["W1"][0, 2] = torch.tensor([1.0, -1.0])
    assert several_bases.basis_of(network, 0) == "sum"
    network["W2"][0, 2] = 0.5
    assert several_bases.basis_of(network, 0) == "difference and sum"
    network["W1"][0, 2] = torch.tensor([1.0, 0.0])
    assert several_bases.basis_of(network, 0) == "other and sum"


def test_entropy_is_in_bits() -> None:
    assert several_bases.entropy(["a"] * 4) == 0
    assert several_bases.entropy(["a", "b"] * 4) == pytest.approx(1)


def test_a_group_that_learned_too_little_says_so() -> None:
    assert "3 starts learned the task" in several_bases.of_group(xor_network("sum"), [0, 0, 0], 0).why_not


def test_latents_that_point_the_same_way_count_once() -> None:
    angle = np.radians([0, 1, 2, 90, 91, 180])
    rows = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert circle.distinct(rows * np.array([1, 2, 3, 1, 1, 5])[:, None]) == 3
    assert circle.distinct(rows[:0]) == 0


def test_growth_is_one_where_all_live_and_zero_at_a_plateau() -> None:
    assert circle.growth([20, 40, 80], [20, 40, 80]) == pytest.approx(1)
    assert circle.growth([20, 40, 80], [20, 20, 20]) == pytest.approx(0)


def test_heads_that_take_back_what_another_wrote_are_needed_both() -> None:
    parameters = heads(np.random.default_rng(0), both=True, noise=0.0)
    found = attention_heads.ablate(AttentionSettings(sources="shared"), parameters)
    assert found.needed.tolist() == [[2] * 8]
    assert found.interaction[0] < -0.2
    assert found.shared.tolist() == [1.0]


def test_heads_that_share_out_the_trigrams_are_needed_one_at_a_time() -> None:
    parameters = heads(np.random.default_rng(0), both=False, noise=0.0)
    found = attention_heads.ablate(AttentionSettings(sources="own"), parameters)
    assert found.needed.tolist() == [[1] * 8]
    assert found.shared.tolist() == [0.0]
    own = [int(found.each[0, :, b].argmax()) for b in range(8)]
    assert own == [0, 1] * 4
