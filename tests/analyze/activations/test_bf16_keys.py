import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyze.activations.bf16_keys import few_places, sort_keys, transposed_keys


@pytest.mark.parametrize(("n_tokens", "n_neurons"), [(1, 1), (5, 3), (1024, 8), (2500, 256), (1025, 6)])
def test_a_block_turned_by_tiles_holds_the_sort_keys_of_its_values(n_tokens: int, n_neurons: int) -> None:
    values = torch.randn(n_tokens, n_neurons + 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    values[::3] = 0.0
    values[1::3] = -0.0
    bits = values.view(torch.int16).numpy()[:, 1:-1]
    keys = transposed_keys(lambda low, high: bits[low:high], n_tokens, n_neurons)
    assert np.array_equal(keys, sort_keys(values[:, 1:-1]).numpy().T)


@given(arrays(bool, st.integers(0, 100), elements=st.sampled_from([False] * 20 + [True])))
def test_few_places_are_the_places(mask: np.ndarray) -> None:
    assert np.array_equal(few_places(mask), np.flatnonzero(mask))
    assert np.array_equal(few_places(~mask), np.flatnonzero(~mask))
    wide = np.concatenate((np.zeros(5000, dtype=bool), mask, np.zeros(3, dtype=bool)))
    assert np.array_equal(few_places(wide), np.flatnonzero(wide))
