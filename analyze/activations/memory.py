"""What a collection takes of memory and disk, told before it runs.

Most of the memory does not grow with the tokens: the weights, a few micro-batches of activations, about 20 kB a neuron
for moments, histogram, examples and the tables made of them, and either a block of neurons of the sample a thread or,
where the sample holds only a part, a piece of the stream of 512 MB.

Sums per token are held sparsely because a dense table cannot be: for 51,200 neurons and 48,262 token ids one fp32
figure takes 4 x 51,200 x 48,262 = 9.9 GB, and the three kept here in full precision 49 GB. An entry of the sparse
table takes 24 bytes, and there are as many as pairs of a neuron and a token id on which it fired. In trained layers of
256 neurons, over 228 thousand tokens of 4,096 ids, these were 3.5 % of all pairs for relu, 6.6 % for solu_ln and 20 %
for gelu_new. At such densities the wide layer and large vocabulary above would take 2.1, 3.9 and 12 GB on disk; in
memory there is never more than a block of 256 neurons.
"""

from dataclasses import dataclass

from analyze.activations.ahead import goes_ahead
from analyze.activations.band_examples import N_BANDS, N_IN_BAND
from analyze.activations.histograms import N_BINS
from analyze.activations.pieces import width_for
from analyze.activations.source import SourceFacts
from analyze.activations.token_sample import Plan
from analyze.activations.token_sums import BLOCK, ENTRY_BYTES
from analyze.activations.top_examples import HALVES, N_EXAMPLES

PROGRAM_BYTES = 600_000_000
"""Python with torch, what else a collection imports, and what allocators of two threads keep."""


@dataclass(frozen=True)
class Needs:
    """Bytes, at most, as far as they can be known beforehand."""

    memory: int
    disk: int


def dense_bytes(n_neurons: int, d_vocab: int) -> int:
    """What one fp32 figure for every neuron and token id takes."""
    return 4 * n_neurons * d_vocab


def sparse_bytes(n_neurons: int, d_vocab: int, density: float) -> int:
    """What the sums per token take where a share `density` of the pairs of a neuron and an id has an entry."""
    return round(ENTRY_BYTES * n_neurons * d_vocab * density)


def needs(facts: SourceFacts, plan: Plan, d_vocab: int, micro_batch: int, piece: int, threads: int) -> Needs:
    """Of collecting these neurons over the tokens of a plan.

    Args:
        micro_batch: tokens of a micro-batch.
        piece: tokens of a piece of the stream, where the sample holds a part of them.
    """
    n, held = facts.n_neurons, len(plan.tokens)
    whole = plan.share == 1
    piece = min(piece, plan.n_rows * facts.n_ctx)
    turned = held if whole else piece
    an_example = 4 + 4 + 8 + 4 + 8
    per_neuron = 4 * N_BINS + an_example * len(HALVES) * (N_EXAMPLES + N_BANDS * N_IN_BAND) + 100
    tables = 3 * per_neuron  # rows of histograms, bands and examples, written and read back
    of_tokens = 40 * held + 100 * turned
    passing = 20 * micro_batch * n * (threads + 1 if goes_ahead(4 * micro_batch * n, threads) else 1)
    turning = threads * (2 * width_for(turned) + 40) * turned
    writing = 2 * ENTRY_BYTES * min(BLOCK, n) * min(d_vocab, plan.n_tokens)
    gathered = 0 if whole else 2 * piece * n
    memory = PROGRAM_BYTES + 4 * facts.n_params + per_neuron * n + of_tokens + gathered
    memory += max(passing, turning, writing) + tables * n
    entries = n * min(d_vocab, plan.n_tokens)
    return Needs(memory, 2 * held * n + 40 * held + 3000 * n + 2 * ENTRY_BYTES * entries)
