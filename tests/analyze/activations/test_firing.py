from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations import firing as firing_module
from analyze.activations.bf16_keys import sort_keys
from analyze.activations.firing import Firing, adds_exactly
from tests.analyze.activations.chunks import D_VOCAB, add_in_chunks, stream_of


def key(value: float) -> int:
    return int(sort_keys(torch.tensor([value]).bfloat16())[0])


def test_sums_are_exact_only_where_the_values_span_few_octaves_above_zero() -> None:
    assert adds_exactly(key(0.1), key(3.0), 2**18)
    assert not adds_exactly(key(-0.1), key(3.0), 2)
    assert not adds_exactly(0, key(3.0), 2)
    assert not adds_exactly(key(1e-6), key(1e6), 2)
    assert adds_exactly(key(1.0), key(1.0), 2**36)
    assert not adds_exactly(key(1.0), key(1.0), 2**37)


def test_where_sums_are_said_to_be_exact_they_are() -> None:
    rng = np.random.default_rng(0)
    for octaves in range(12):
        values = torch.from_numpy(2.0 ** rng.uniform(0, octaves + 1, 4000)).bfloat16()
        keys = sort_keys(values).numpy()
        numbers = [int(one) for one in (values.double() * 128).tolist()]  # in units of the last place of the smallest
        if adds_exactly(int(keys.min()), int(keys.max()), len(keys)):
            assert sum(one * one for one in numbers) <= 2**53
    assert not adds_exactly(key(1.0), key(2.0**14), 4000)


@pytest.mark.parametrize("ends", [[], [700, 701]])
def test_the_sums_are_the_same_bit_for_bit_by_id_and_in_stream_order(
    tmp_path: Path, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    tokens = stream_of(2000, rng)
    values = rng.standard_normal((2000, 4)).astype(np.float32)
    found = []
    for exactly in (adds_exactly, lambda *_: False):
        monkeypatch.setattr(firing_module, "adds_exactly", exactly)
        one = Firing(4, D_VOCAB, tmp_path)
        one.set_thresholds(0, np.array([3.0, 2.0, 5.0, 1.0]))
        add_in_chunks(one, tokens, values, ends)
        found.append((one.total, one.squares, [table for _, table in one.sums.tables()]))
    (total, squares, tables), (slow_total, slow_squares, slow_tables) = found
    assert np.array_equal(total, slow_total)
    assert np.array_equal(squares, slow_squares)
    for fast, slow in zip(tables, slow_tables):
        for name in ("starts", "token", "count", "sum", "squares"):
            assert np.array_equal(getattr(fast, name), getattr(slow, name))
