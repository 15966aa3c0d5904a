"""What a collection takes of memory and disk, known before it runs.

Most of the memory does not grow with the tokens: the weights, a few micro-batches of activations, about 20 kB a neuron
for moments, histogram, examples and their tables. To these comes a block of neurons of the sample for each thread, or,
where the sample holds only a part of the tokens, a chunk of the stream of 512 MB.

Sums per token are sparse because a dense table is too large. For 51,200 neurons and 48,262 token ids one fp32 figure
takes 4 x 51,200 x 48,262 = 9.9 GB, and the three figures in full precision 49 GB. The sparse table has an entry of 24
bytes for each pair of a neuron and a token id on which it fired. In trained layers of 256 neurons, over 228 thousand
tokens of 4,096 ids, these were 3.5 % of all pairs for relu, 6.6 % for solu_ln and 20 % for gelu_new. At such densities
the wide layer and large vocabulary above would take 2.1, 3.9 and 12 GB on disk. In memory there is never more than a
block of 256 neurons.
"""

from dataclasses import dataclass

from analyze.activations.band_examples import N_BANDS, N_IN_BAND
from analyze.activations.histograms import N_BINS
from analyze.activations.settings import CollectSettings
from analyze.activations.source import SourceFacts
from analyze.activations.store import HALVES
from analyze.activations.token_sample import Plan
from analyze.activations.token_sums import BLOCK, ENTRY_BYTES
from analyze.activations.top_examples import N_EXAMPLES

PROGRAM_BYTES = 600_000_000
"""Python with torch, what else a collection imports, and what the allocators of two threads keep."""
EXAMPLE_BYTES = 4 + 4 + 8 + 4 + 8


@dataclass(frozen=True)
class Requirement:
    """Bytes, at most, as far as they can be known before the run."""

    memory: int
    disk: int


def required(
    facts: SourceFacts, plan: Plan, d_vocab: int, settings: CollectSettings, threads: int, kept: int = 0
) -> Requirement:
    """What it takes to collect these neurons over the tokens of a plan.

    Args:
        kept: bytes that the source keeps for another hook.
    """
    n, n_sampled = facts.n_neurons, len(plan.tokens)
    micro_batch = settings.micro_batch_rows(facts.n_ctx) * facts.n_ctx
    chunk = min(settings.chunk_rows(facts.n_ctx, n), plan.n_rows) * facts.n_ctx
    transposed = n_sampled if plan.share == 1 else chunk
    per_neuron = 4 * N_BINS + EXAMPLE_BYTES * len(HALVES) * (N_EXAMPLES + N_BANDS * N_IN_BAND) + 100
    tables = 3 * per_neuron  # rows of histograms, bands and examples, written and read back
    of_tokens = 40 * n_sampled + 100 * transposed
    passing = 20 * micro_batch * n * (threads + 1 if settings.uses_threads(4 * micro_batch * n, threads) else 1)
    transposing = threads * (2 * settings.block_width(transposed) + 40) * transposed
    writing = 2 * ENTRY_BYTES * min(BLOCK, n) * min(d_vocab, plan.n_tokens)
    buffered = 0 if plan.share == 1 else 2 * chunk * n
    memory = PROGRAM_BYTES + 4 * facts.n_params + per_neuron * n + of_tokens + buffered + kept
    memory += max(passing, transposing, writing) + tables * n
    entries = n * min(d_vocab, plan.n_tokens)
    return Requirement(memory, 2 * n_sampled * n + 40 * n_sampled + 3000 * n + 2 * ENTRY_BYTES * entries)
