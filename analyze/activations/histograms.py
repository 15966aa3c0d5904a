"""How often each neuron's activation (in bf16, as in the sample) fell into each of a fixed set of logarithmic bins.

Negative values, positive values and zero have bins of their own. Every octave of |a| from 2^-32 to 2^16 is cut into 8
equal steps; everything smaller shares one bin, and so does everything larger. The largest bf16 number of any other bin
is at most 1.12 times its smallest. So the bins give a quantile to within 12 %, and their middle to within 6 %.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int16, UInt32

from analyze.activations.bf16_keys import from_sort_keys

LOWEST_OCTAVE, HIGHEST_OCTAVE = -32, 16
STEPS = 8
"""Bins of an octave."""

# bf16 has 7 bits of mantissa below its exponent (bias 127); the key of -a is -1 - (key of a), and that of -0 is -1.
_EDGES = np.arange((LOWEST_OCTAVE + 127) << 7, ((HIGHEST_OCTAVE + 127) << 7) + 1, 128 // STEPS)
FIRST_KEYS: Int16[np.ndarray, "edges"] = np.concatenate((-_EDGES[::-1], [-1, 1], _EDGES)).astype(np.int16)
"""Smallest sort key (bf16_keys.py) of every bin but the first; bins ascend with a."""
N_BINS = len(FIRST_KEYS) + 1
ZERO_BIN = N_BINS // 2
_LARGEST = 0x7F7F
"""Key of the largest finite bf16 number."""
LOWEST: Float[np.ndarray, "bins"] = from_sort_keys(np.concatenate(([-1 - _LARGEST], FIRST_KEYS)).astype(np.int16))
"""Smallest bf16 number of each bin."""
HIGHEST: Float[np.ndarray, "bins"] = from_sort_keys(np.concatenate((FIRST_KEYS - 1, [_LARGEST])).astype(np.int16))
"""Largest bf16 number of each bin."""


@dataclass(frozen=True)
class Histograms:
    """Tokens of each neuron in each bin, over all tokens that the source read."""

    counts: UInt32[np.ndarray, "n bins"]

    def quantile(self, share: float) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Lower and upper bound, as bf16 numbers, of the first value with at least `share` of all at or below it."""
        upto = np.cumsum(self.counts, axis=1, dtype=np.int64)
        rank = np.maximum(np.ceil(share * upto[:, -1] - 1e-9), 1)
        place = (upto >= rank[:, None]).argmax(axis=1)
        return LOWEST[place], HIGHEST[place]

    def negative_share(self) -> Float[np.ndarray, "n"]:
        """Share of tokens below zero."""
        return self.counts[:, :ZERO_BIN].sum(axis=1) / self.counts.sum(axis=1)

    def table(self) -> pl.DataFrame:
        """A row for each bin that is not empty: neuron, bin, count."""
        neuron, place = np.nonzero(self.counts)
        count = self.counts[neuron, place]
        return pl.DataFrame({"neuron": neuron.astype(np.int32), "bin": place.astype(np.int16), "count": count})


def from_table(table: pl.DataFrame, n_neurons: int) -> Histograms:
    """Read `Histograms.table` back."""
    counts = np.zeros((n_neurons, N_BINS), dtype=np.uint32)
    counts[table["neuron"].to_numpy(), table["bin"].to_numpy()] = table["count"].to_numpy()
    return Histograms(counts)


class Tally:
    """Histograms, and sums in fp64, of bf16 values that arrive in chunks.

    The values of a chunk are added in ascending order, so its sums do not depend on the order of its tokens.
    """

    def __init__(self, n_neurons: int) -> None:
        self.counts = np.zeros((n_neurons, N_BINS), dtype=np.uint32)
        self.sums = np.zeros(n_neurons)
        self.squares = np.zeros(n_neurons)
        self.negative = np.zeros(n_neurons)
        """Sum of the values below zero."""

    def add(self, neuron: int, ordered: Int16[np.ndarray, "t"]) -> None:
        """Add some tokens of a neuron: its sort keys in ascending order; t >= 1."""
        ends = np.searchsorted(ordered, FIRST_KEYS)
        self.counts[neuron] += np.diff(ends, prepend=0, append=len(ordered)).astype(np.uint32)
        starts = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
        values = from_sort_keys(ordered[starts])
        parts = np.diff(starts, append=len(ordered)) * values
        self.sums[neuron] += parts.sum()
        self.squares[neuron] += (parts * values).sum()
        self.negative[neuron] += parts[: np.searchsorted(values, 0.0)].sum()

    def negative_mass(self) -> Float[np.ndarray, "n"]:
        """Share of the sum of |a| that comes from values below zero; 0 where all are zero."""
        mass = self.sums - 2 * self.negative
        return np.divide(-self.negative, mass, out=np.zeros_like(mass), where=mass > 0)
