"""Neurons that carry a feature are found where they were planted."""

import numpy as np
import pytest
import torch

from analyze.interventions.carriers import carriers
from tests.analyze.interventions.planted_circuit import CARRIERS, planted_circuit, rows, where
from train.errors import BadInput

ROWS = rows()


@pytest.mark.parametrize("n_layers", [1, 2])
def test_planted_carriers_come_first_and_by_strength(n_layers: int) -> None:
    found = carriers(planted_circuit(n_layers), ROWS, where(ROWS), layer=0, most=10)
    assert tuple(found.order[:3]) == CARRIERS
    assert found.rise[2] > 0.8 * found.whole
    assert found.rise[2] > 0.5
    assert found.elsewhere[2] < 0.1  # the mean, put where they are silent, does not harm
    assert found.needed(0.9) in (2, 3)
    assert found.gini > 0.9


def test_a_random_order_needs_many_more() -> None:
    found = carriers(planted_circuit(), ROWS, where(ROWS), layer=0, most=40)
    needed = found.needed(0.5)
    assert needed is not None
    assert np.median(found.needed_at_random(0.5)) > 3 * needed


def test_greedy_choice_finds_them_too_and_never_does_worse() -> None:
    model = planted_circuit()
    ranked = carriers(model, ROWS, where(ROWS), layer=0, most=5)
    chosen = carriers(model, ROWS, where(ROWS), layer=0, most=5, greedy=3)
    assert set(chosen.order[:3]) == set(CARRIERS)
    assert chosen.rise[2] >= ranked.rise[2] - 1e-6
    assert sorted(chosen.order) == list(range(40))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_stopping_at_a_share_needs_as_many_neurons(share: float) -> None:
    whole = carriers(planted_circuit(), ROWS, where(ROWS), layer=0, most=40, orders=0)
    found = carriers(planted_circuit(), ROWS, where(ROWS), layer=0, most=40, orders=0, until=share)
    needed = whole.needed(share)
    assert needed is not None
    assert found.needed(share) == needed == len(found.rise) < len(whole.rise)
    np.testing.assert_array_equal(found.rise, whole.rise[:needed])
    np.testing.assert_array_equal(found.alone, whole.alone)
    assert found.whole == whole.whole
    assert not len(found.elsewhere)


def test_only_computing_behind_the_last_mlp_gives_what_whole_passes_give() -> None:
    import analyze.interventions.carriers as module

    model = planted_circuit()
    positions = where(ROWS).nonzero()[:50]
    means = module._means(model, ROWS, 0)
    for neurons in ([], [3], [3, 11, 0]):
        torch.testing.assert_close(
            module._behind_the_last_mlp(model, ROWS, positions, 0, means)(neurons),
            module._by_whole_passes(model, ROWS, positions, 0, means)(neurons),
            atol=1e-5,
            rtol=0,
        )


def test_a_feature_that_no_neuron_carries_has_no_k() -> None:
    model = planted_circuit()
    model.mlp(0).fc_out.weight.zero_()
    found = carriers(model, ROWS, where(ROWS), layer=0, most=5)
    assert found.needed(0.5) is None
    assert abs(found.whole) < 1e-5


def test_a_feature_with_few_tokens_is_refused() -> None:
    few = torch.zeros_like(where(ROWS))
    few[0, :5] = True
    with pytest.raises(BadInput, match="stands at 5 tokens; at least 20"):
        carriers(planted_circuit(), ROWS, few, layer=0)
