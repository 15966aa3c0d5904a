"""How much of its work a collection does at once."""

from dataclasses import dataclass

WIDEST_BLOCK = 256
"""Neurons whose activations are transposed together, at most."""


@dataclass(frozen=True)
class CollectSettings:
    """Sizes that bound memory and time.

    The first two decide in which order fp64 sums are added up, so a result records them. The others change no result.
    """

    micro_batch_tokens: int = 2048
    """Tokens of a forward pass: 8 rows of 256."""
    chunk_bytes: int = 2**29
    """Activations (bf16) of a chunk of the stream in memory, where the sample does not hold all tokens."""
    block_bytes: int = 2**26
    """Activations (bf16) that one thread transposes at a time."""
    spill_bytes: int = 2**30
    """Size of the work file of sums per token below which it is not merged."""
    unmerged_bytes: int = 4 * 2**30
    """What that file may grow by, once it was merged, before it is merged again."""
    band_stages: tuple[int, ...] = (1024, 16384)
    """Tokens, in order of their hashes, after which only groups of examples that can still change are searched on."""
    threaded_bytes: int = 2**24
    """Activations (fp32) of a micro-batch up to which threads run several at once; torch shares larger ones well."""
    save_seconds: float = 30.0
    """Time between two saved states, at least."""
    save_cost: float = 30.0
    """Time between two saved states, at least, as a multiple of the time that the last one took."""

    def micro_batch_rows(self, n_ctx: int) -> int:
        """Rows of a micro-batch."""
        return max(1, self.micro_batch_tokens // n_ctx)

    def chunk_rows(self, n_ctx: int, n_neurons: int) -> int:
        """Rows of a chunk of the stream: a whole number of micro-batches, near `chunk_bytes`."""
        size = self.micro_batch_rows(n_ctx)
        return size * max(1, self.chunk_bytes // (2 * n_neurons * size * n_ctx))

    def block_width(self, n_tokens: int) -> int:
        """Neurons to transpose at a time: a power of 2 within `block_bytes`, at least 1 and at most 256."""
        fitting = max(1, self.block_bytes // (2 * n_tokens))
        return min(WIDEST_BLOCK, 1 << (fitting.bit_length() - 1))

    def uses_threads(self, n_bytes: int, n_threads: int) -> bool:
        """Whether threads run several micro-batches at once, each with activations of that size."""
        return n_threads > 1 and n_bytes <= self.threaded_bytes


DEFAULT = CollectSettings()
