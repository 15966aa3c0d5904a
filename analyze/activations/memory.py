"""What a collection and a scoring take of memory and disk, known before they run.

Most of the memory does not grow with the tokens: the weights, a few micro-batches of activations, about 20 kB a neuron
for moments, histogram, examples and their tables. To these comes a block of neurons of the sample for each thread, or,
where the sample holds only a part of the tokens, a chunk of the stream of 512 MB.

Sums per token are sparse because a dense table is too large. For 51,200 neurons and 48,262 token ids one fp32 figure
takes 4 x 51,200 x 48,262 = 9.9 GB, and the three figures in full precision 49 GB. The sparse table has an entry of 24
bytes for each pair of a neuron and a token id on which it fired. In trained layers of 256 neurons, over 228 thousand
tokens of 4,096 ids, these were 3.5 % of all pairs for relu, 6.6 % for solu_ln and 20 % for gelu_new. At such densities
the wide layer and large vocabulary above would take 2.1, 3.9 and 12 GB on disk. In memory there is never more than a
block of 256 neurons.

No part of the analysis holds tokens x neurons or token ids x neurons of a whole layer: whatever grows with either goes
by blocks of 256 neurons, by chunks of the stream, or by micro-batches. So a layer of 51,200 neurons with 48,262 token
ids stays within 16 GB of memory (docs/big-models.md, `benchmarks/paper_size.py`).
"""

from dataclasses import dataclass

from analyze.activations.band_examples import N_BANDS, N_IN_BAND
from analyze.activations.duplicates import SKETCH
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


SCORING_PROGRAM_BYTES = 900_000_000
"""A scoring process with its libraries, and the text, grammar and labels that it reads."""
DENSITY = 0.2
"""Pairs of a neuron and a token id with a firing, of all pairs: the largest of the densities above."""


@dataclass(frozen=True)
class Size:
    """How much is collected."""

    n_neurons: int
    n_params: int
    """Of the model that is run."""
    n_ctx: int
    d_vocab: int
    n_rows: int
    n_tokens: int
    """That the source reads."""
    n_sampled: int
    """That the sample holds; all of them where it is as many."""

    @property
    def is_whole(self) -> bool:
        """Whether the sample holds every token."""
        return self.n_sampled == self.n_tokens


@dataclass(frozen=True)
class Requirement:
    """Bytes, at most, as far as they can be known before the run."""

    memory: int
    disk: int
    likely_disk: int
    """Where neurons fire on as few token ids as DENSITY says."""


def size_of(facts: SourceFacts, plan: Plan, d_vocab: int) -> Size:
    """The size of a collection by its plan."""
    n_sampled = plan.n_tokens if plan.share == 1 else min(len(plan.tokens), plan.n_tokens - 1)
    return Size(facts.n_neurons, facts.n_params, facts.n_ctx, d_vocab, plan.n_rows, plan.n_tokens, n_sampled)


def required(size: Size, settings: CollectSettings, threads: int, kept: int = 0) -> Requirement:
    """What it takes to collect so many neurons over so many tokens.

    Args:
        kept: bytes that the source keeps for another hook.
    """
    n, n_sampled, d_vocab = size.n_neurons, size.n_sampled, size.d_vocab
    micro_batch = settings.micro_batch_rows(size.n_ctx) * size.n_ctx
    chunk = min(settings.chunk_rows(size.n_ctx, n), size.n_rows) * size.n_ctx
    transposed = n_sampled if size.is_whole else chunk
    per_neuron = 4 * N_BINS + EXAMPLE_BYTES * len(HALVES) * (N_EXAMPLES + N_BANDS * N_IN_BAND) + 100
    tables = 3 * per_neuron  # rows of histograms, bands and examples, written and read back
    of_tokens = 40 * n_sampled + 100 * transposed
    passing = 20 * micro_batch * n * (threads + 1 if settings.uses_threads(4 * micro_batch * n, threads) else 1)
    transposing = threads * (2 * settings.block_width(transposed) + 40) * transposed
    writing = 2 * ENTRY_BYTES * min(BLOCK, n) * min(d_vocab, size.n_tokens)
    buffered = 0 if size.is_whole else 2 * chunk * n
    memory = PROGRAM_BYTES + 4 * size.n_params + per_neuron * n + of_tokens + buffered + kept
    memory += max(passing, transposing, writing) + tables * n
    entries = n * min(d_vocab, size.n_tokens)
    certain = 2 * n_sampled * n + 40 * n_sampled + 3000 * n
    likely = ENTRY_BYTES * entries * DENSITY
    # The work file is merged into another of at most its size, and copied into the sealed one in the end.
    growing = 0 if size.is_whole else min(settings.unmerged_bytes, 2 * likely)
    most = certain + 2 * ENTRY_BYTES * entries + (0 if size.is_whole else settings.unmerged_bytes)
    return Requirement(memory, most, int(certain + 2 * likely + growing))


def to_score(n_neurons: int, n_tokens: int) -> int:
    """Bytes that one process takes at most to score: the program, the sketch that finds duplicates, and five copies of
    a block of neurons.

    Args:
        n_tokens: of the sample.
    """
    return SCORING_PROGRAM_BYTES + 4 * SKETCH * n_neurons + 5 * 4 * n_tokens * min(BLOCK, n_neurons)
