"""What counts as a strong firing of a neuron."""

import numpy as np
import torch

from analyze.activations.strong_firings import STRONG, rectified, strong_firings
from analyze.scores.blocks import columns_of


def test_strong_firings_are_rectified_at_the_median_and_cut_by_the_fit_maximum():
    a = torch.tensor([[1.0], [1.0], [5.0], [2.0], [1.5], [9.0]])
    is_fit = np.array([True, True, True, True, True, False])
    found = strong_firings(a + 10, np.array([11.0]), is_fit)
    assert STRONG * 4 == 1
    assert found[:, 0].tolist() == [0, 0, 4, 0, 0, 8], "2 is at the threshold, not above it"


def test_what_is_done_by_tiles_is_done_to_all_tokens():
    values = torch.randn(1300, 5, generator=torch.Generator().manual_seed(0))
    median = np.linspace(-0.2, 0.2, 5)
    expected = (values - torch.from_numpy(median.astype(np.float32))).clamp(min=0)
    assert torch.equal(rectified(values.clone(), median), expected)
    columns = np.array([0, 3, 4])
    assert torch.equal(columns_of(values, columns), values[:, columns])
