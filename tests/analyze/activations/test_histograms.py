import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyze.activations.bf16_keys import sort_keys
from analyze.activations.histograms import HIGHEST, LOWEST, N_BINS, ZERO_BIN, Histograms, Tally, from_table

VALUES = arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.one_of(st.floats(-8, 8, width=32), st.sampled_from([0.0, -0.0, 1e-12, -1e-12, 3e5, -3e5, 0.125])),
)


def low(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).bfloat16().double().numpy()


def tally_of(values: np.ndarray, pieces: int = 1) -> Tally:
    tally = Tally(1)
    for piece in np.array_split(values, min(pieces, len(values))):
        tally.add(0, np.sort(sort_keys(torch.from_numpy(piece).bfloat16()).numpy()))
    return tally


@given(VALUES, st.floats(0, 1))
def test_quantiles_read_off_the_bins_bracket_the_exact_ones(values: np.ndarray, share: float) -> None:
    lowest, highest = Histograms(tally_of(values).counts).quantile(share)
    exact = np.quantile(low(values), share, method="inverted_cdf")
    assert lowest[0] <= exact <= highest[0]
    if 2.0**-32 <= abs(exact) < 2.0**16:
        assert np.isclose(exact, (lowest[0] + highest[0]) / 2, rtol=0.06, atol=0)


@given(VALUES, st.integers(1, 5))
def test_counts_do_not_depend_on_pieces_and_every_value_is_in_one_bin(values: np.ndarray, pieces: int) -> None:
    tally = tally_of(values, pieces)
    assert np.array_equal(tally.counts, tally_of(values).counts)
    exact = low(values)
    inside = (exact[:, None] >= LOWEST) & (exact[:, None] <= HIGHEST)
    assert np.array_equal(inside.sum(0), tally.counts[0])
    assert tally.counts.sum() == len(values)


@given(VALUES)
def test_values_below_zero_are_distinguished(values: np.ndarray) -> None:
    tally, exact = tally_of(values), low(values)
    assert Histograms(tally.counts).negative_share()[0] == (exact < 0).mean()
    mass = np.abs(exact).sum()
    wanted = -exact[exact < 0].sum() / mass if mass else 0.0
    assert np.isclose(tally.negative_mass()[0], wanted, rtol=1e-12)
    assert np.isclose(tally.sums[0], exact.sum(), rtol=1e-12, atol=1e-12 * mass)
    assert np.isclose(tally.squares[0], (exact**2).sum(), rtol=1e-12)


def test_bins_ascend_mirror_each_other_and_cut_octaves_into_eight() -> None:
    assert N_BINS == 2 * (48 * 8 + 2) + 1
    assert LOWEST[ZERO_BIN] == HIGHEST[ZERO_BIN] == 0
    assert np.all(HIGHEST[:-1] < LOWEST[1:])
    assert np.array_equal(LOWEST, -HIGHEST[::-1])
    lowest = LOWEST[ZERO_BIN + 2 :]
    assert lowest[0] == 2.0**-32
    assert lowest[-1] == 2.0**16
    assert np.array_equal(lowest[:17] / lowest[0], [*np.arange(8, 16) / 8, *np.arange(8, 17) / 4])


def test_the_table_on_disk_gives_the_same_counts() -> None:
    counts = np.random.default_rng(0).integers(0, 2, (3, N_BINS)).astype(np.uint32)
    table = Histograms(counts).table()
    assert table.columns == ["neuron", "bin", "count"]
    assert (table["count"] > 0).all()
    assert np.array_equal(from_table(table, 3).counts, counts)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_constant_neuron_has_its_value_in_every_quantile(share: float) -> None:
    lowest, highest = Histograms(tally_of(np.full(9, 0.3, dtype=np.float32)).counts).quantile(share)
    assert lowest[0] <= 0.3 <= highest[0]
