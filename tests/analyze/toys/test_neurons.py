"""Neurons: shares, dead neurons, outputs computed, and motifs planted one by one."""

import pytest
import torch

from analyze.toys.neurons import computed, count_motifs, dead, largest_share, motifs


def found(first: list[list[float]], last: list[list[float]]) -> dict[str, list[tuple]]:
    """Neurons and features of every motif; weights as rows: of neurons, and of outputs."""
    table: dict[str, list[tuple]] = {}
    for each in motifs(torch.tensor(first), torch.tensor(last)):
        table.setdefault(each.motif, []).append((each.neurons, each.features))
    return table


def test_the_share_of_the_largest_is_one_for_one_feature_and_evenly_split_for_all():
    shares = largest_share(torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0], [9.0, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(shares, torch.tensor([1.0, 1 / 3, 0.9, torch.nan]), equal_nan=True)


def test_a_neuron_is_dead_where_nothing_comes_in_or_nothing_goes_out():
    exposure = torch.tensor([[1.0, 0.2], [0.0, 0.0], [1.0, 0.0], [0.05, 0.0]])
    outgoing = torch.tensor([[1.0, 1.0, 0.0, 0.5], [0.0, 1.0, 0.001, 0.0]])
    assert dead(exposure, outgoing).tolist() == [False, True, True, False]


def test_neurons_of_a_model_without_weights_are_all_dead():
    assert dead(torch.zeros(2, 3), torch.ones(3, 2)).tolist() == [True, True]


def test_an_output_is_computed_where_its_loss_is_well_below_its_constants():
    assert computed(torch.tensor([0.0, 0.2, 0.3]), torch.tensor([1.0, 1.0, 1.0])).tolist() == [True, True, False]


def test_two_neurons_of_one_feature_from_either_side_are_a_mono_pair_positive_side_first():
    table = found([[-2.0, 0.1], [1.0, 0.0]], [[0.5, 1.0], [0.0, 0.0]])
    assert table == {"mono pair": [((1, 0), (0,))]}


def test_opposite_neurons_that_serve_two_features_are_an_antipodal_motif_and_no_mono_pair():
    table = found([[1.0, 0.8], [-1.0, -0.9]], [[0.8, 0.7], [0.7, 0.8]])
    assert table == {"antipodal": [((1, 0), (0, 1))]}


def test_opposite_neurons_with_a_negative_output_weight_are_no_pair():
    assert "mono pair" not in found([[1.0, 0.0], [-1.0, 0.0]], [[1.0, -1.0], [0.0, 0.0]])


def test_each_neuron_is_in_one_pair_at_most():
    first = [[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.05], [0.9, 0.0]]
    assert found(first, [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])["mono pair"] == [((0, 1), (0,)), ((3, 2), (0,))]


def test_uneven_weights_flipped_at_the_output_with_an_inhibitor_are_an_asymmetric_motif():
    # Neuron 0 answers to 2 x0 + 0.5 x1 and gives 0.5 to output 0, 2 to output 1; what x0 leaves there, 4, neuron 1
    # takes away.
    first, last = [[2.0, 0.5], [1.0, 0.0]], [[0.5, 0.0], [2.0, -4.0]]
    assert found(first, last) == {"asymmetric": [((0, 1), (0, 1))], "inhibitor": [((1,), (0,))]}


def test_uneven_weights_without_an_inhibitor_on_the_same_side_are_no_asymmetric_motif():
    assert found([[2.0, 0.5]], [[0.5], [2.0]]) == {}
    table = found([[2.0, 0.5], [-1.0, 0.0]], [[0.5, 0.0], [2.0, -4.0]])
    assert set(table) == {"inhibitor"}


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_motifs_do_not_change_where_input_weights_are_scaled_up_and_output_weights_down(scale):
    first = torch.tensor([[2.0, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    last = torch.tensor([[0.5, 0.0, 0.0, 0.0], [2.0, -4.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    expected = {"asymmetric": 1, "inhibitor": 1, "mono pair": 1}
    assert count_motifs(first, last) == count_motifs(first * scale, last / scale) == expected
