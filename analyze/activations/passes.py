"""The passes over the tokens that make a collection.

Thresholds come from quantiles, and quantiles need every value first. So the first pass runs the source over all tokens
for moments and the strongest examples, and writes the sample. If the sample holds all tokens, everything else is read
from it, a block of neurons at a time. If it holds a part, the first pass also counts histograms, the sample gives the
quantiles, and a second pass runs the source again for what needs the thresholds. Both passes then cut the stream into
chunks that fit in memory, and count them a block of neurons at a time.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import BFloat16, Float, Int, Int16
from torch import Tensor
from tqdm import tqdm

from analyze.activations.bf16_keys import transposed_keys
from analyze.activations.firing import Firing
from analyze.activations.histograms import Histograms, Tally
from analyze.activations.moments import QuantileRows, Quantiles, Rates, StreamMoments
from analyze.activations.resume import Say, State, WorkDirectory, arrays_of
from analyze.activations.sample import BLOCK, SAMPLE_FILE, SampleFile, SampleWriter, blocks
from analyze.activations.settings import CollectSettings
from analyze.activations.source import CheckpointSource, NeuronSource
from analyze.activations.store import TokenSample
from analyze.activations.threads import in_order, one_torch_thread
from analyze.activations.token_sample import (
    Plan,
    SortedTokens,
    concatenated,
    counted_in_sample,
    counted_tokens,
    is_sampled,
)
from analyze.activations.token_sums import TokenTable
from analyze.activations.top_examples import TopExamples
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.filesystem import fsync_path
from train.hashes import Hashed, hashed

ReadKeys = Callable[[int, int], Int16[np.ndarray, "n t"]]


class MicroBatch(NamedTuple):
    """Activations of some rows, without BOS and separators."""

    stop: int
    """The row behind its last one."""
    values: Float[Tensor, "t n"]
    tokens: TokenSample


def micro_batches(
    tokens: TokenFile, n_rows: int, size: int, batch: int, first: int = 0
) -> Iterator[Int[Tensor, "rows row"]]:
    """Rows from `first` on in stream order, `size` at a time (the last may be fewer), read `batch` at a time."""
    waiting = torch.empty(0, tokens.n_ctx + 1, dtype=torch.int64)
    for begin in range(first, n_rows, batch):
        waiting = torch.cat((waiting, tokens.plain_rows(begin, min(batch, n_rows - begin))))
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield waiting


class Passes:
    """One collection while it runs.

    Args:
        batch: rows read at a time.
    """

    def __init__(
        self,
        source: NeuronSource,
        tokens: TokenFile,
        plan: Plan,
        work: WorkDirectory,
        settings: CollectSettings,
        batch: int,
    ) -> None:
        n, n_ctx = source.facts.n_neurons, tokens.n_ctx
        self.source, self.tokens, self.plan, self.work = source, tokens, plan, work
        self.settings, self.n_neurons, self.batch = settings, n, batch
        self.size, self.chunk_rows = settings.micro_batch_rows(n_ctx), settings.chunk_rows(n_ctx, n)
        self.is_whole = plan.share == 1
        self.moments, self.examples = StreamMoments(n), TopExamples(n)
        self._reset_counts()
        self.sample = SampleFile(work.path / SAMPLE_FILE, len(plan.tokens), n)
        self.rows = self.second_rows = self.written = 0
        """Rows that each pass has read, and tokens of the sample that are written."""
        # One buffer for both passes: the allocator does not always reuse what was freed.
        self._buffer = None if self.is_whole else ChunkBuffer(min(self.chunk_rows, plan.n_rows) * n_ctx, n)
        self._n_threads = max(1, torch.get_num_threads())
        # Other sources may depend on the order of the calls, and on one thread.
        may_use_threads = isinstance(source, CheckpointSource) and source.device.type == "cpu"
        self._uses_threads = may_use_threads and settings.uses_threads(4 * n * self.size * n_ctx, self._n_threads)
        self._pool, self._disk = ThreadPoolExecutor(self._n_threads), ThreadPoolExecutor(2)
        self.sample_hash: Hashed | None = None
        """Of the sample, when all passes are done."""

    def _reset_counts(self) -> None:
        self.tally = Tally(self.n_neurons)
        self.quantiles = QuantileRows(self.n_neurons, self.plan.tokens.is_fit)
        self.firing = Firing(self.n_neurons, self.tokens.d_vocab, self.work.path, self.settings)

    def run(self, say: Say) -> tuple[Quantiles, Rates]:
        """Make all passes, or what is left of them.

        Raises:
            BadInput: values that are not finite.
            Stopped: a signal asked for it; the state is saved.
        """
        saved = self.work.load(say)
        if saved is not None and self._restore(saved):
            say(f"{self.work.out}: goes on at {self._share():.0%}")
        facts = self.source.facts
        self._progress = tqdm(
            total=self._total_rows() * self.tokens.n_ctx,
            initial=(self.rows + self.second_rows) * self.tokens.n_ctx,
            desc=f"{facts.run} step {facts.step} L{facts.layer}.{facts.hook}",
            unit="tok",
            unit_scale=True,
            disable=None,
            file=sys.stderr,
        )
        try:
            with self._progress, torch.no_grad():
                if self.rows < self.plan.n_rows:
                    self._first_pass()
                # The sample must be on disk in the end, and hashed: both happen meanwhile.
                synced = self._disk.submit(fsync_path, self.sample.path)
                digest = self._disk.submit(hashed, self.sample.path)
                if self.is_whole:
                    self._read_whole_sample()
                else:
                    if not self.second_rows:
                        self._read_quantiles()
                    self._second_pass()
                synced.result()
                self.sample_hash = digest.result()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._disk.shutdown(cancel_futures=True)
        rates = Rates(
            firing_rate=self.firing.fired / self.plan.n_tokens,
            n_documents_fired=self.firing.documents,
            negative_share=Histograms(self.tally.counts).negative_share(),
            negative_mass=self.tally.negative_mass(),
        )
        return self.quantiles.values, rates

    def remainder(self) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Count, sum and sum of squares of the bf16 values at or below each neuron's threshold."""
        count = self.plan.n_tokens - self.firing.fired
        some = count > 0
        total = np.where(some, self.tally.sums - self.firing.total, 0.0)
        return count, total, np.where(some, np.maximum(self.tally.squares - self.firing.squares, 0.0), 0.0)

    def _micro_batches(self, first: int) -> Generator[MicroBatch, None, None]:
        """Micro-batches from a row on, in order; counts them on the progress bar."""

        def batches() -> Iterator[tuple[int, Int[Tensor, "rows row"]]]:
            begin = first
            for rows in micro_batches(self.tokens, self.plan.n_rows, self.size, self.batch, first):
                yield begin, rows
                begin += len(rows)

        if self._uses_threads:
            results = in_order(self._run_source, batches(), self._n_threads)
        else:
            results = (self._run_source(batch) for batch in batches())
        with closing(results):
            for batch in results:
                self._progress.update((batch.stop - first) * self.tokens.n_ctx)
                first = batch.stop
                yield batch

    @torch.no_grad()
    def _run_source(self, batch: tuple[int, Int[Tensor, "rows row"]]) -> MicroBatch:
        """Run the source on a micro-batch, given as its first row and its tokens."""
        n_ctx, size = self.tokens.n_ctx, self.size
        first, rows = batch
        padded = torch.zeros(size, n_ctx, dtype=torch.int64)
        padded[: len(rows)] = rows[:, :n_ctx]
        values = self.source.activations(padded).reshape(size * n_ctx, self.n_neurons)
        stop = first + len(rows)
        if self.is_whole:
            flat, counted = counted_in_sample(self.plan.tokens, first, stop, n_ctx)
        else:
            flat, counted = counted_tokens(self.tokens, first, rows, self.plan.is_fit)
        return MicroBatch(stop, values.index_select(0, torch.from_numpy(flat)), counted)

    def _first_pass(self) -> None:
        buffer = self._buffer
        with (
            SampleWriter(self.sample.path, len(self.plan.tokens), self.n_neurons, self.written) as writer,
            closing(self._micro_batches(self.rows)) as batches,
        ):
            for batch in batches:
                self.rows = batch.stop
                if len(batch.tokens):
                    self._add(batch, writer)
                    self._check_finite()
                if buffer is not None:
                    if not self._ends_chunk(batch):
                        continue
                    if len(buffer):
                        self._each_block(len(buffer), buffer.read_keys, self._add_to_tally)
                        buffer.clear()
                self._save_or_stop(writer.sync)

    def _ends_chunk(self, batch: MicroBatch) -> bool:
        return batch.stop % self.chunk_rows == 0 or batch.stop >= self.plan.n_rows

    def _add(self, batch: MicroBatch, writer: SampleWriter) -> None:
        """Add a micro-batch to all that the first pass collects; another thread does half of it if one is idle."""
        values, tokens = batch.values, batch.tokens

        def in_numpy() -> None:
            self.examples.update(values, tokens)
            self.moments.update_range(values)

        future = self._pool.submit(in_numpy) if self._n_threads > 1 and not self._uses_threads else None
        with one_torch_thread():
            self.moments.update_sums(values)
            low = values.bfloat16()
            chosen = is_sampled(tokens.stream_position, self.plan.share)
            writer.append(low if chosen.all() else low[torch.from_numpy(chosen)])
            self.written = writer.written
            if self._buffer is not None:
                self._buffer.add(low, tokens)
        in_numpy() if future is None else future.result()

    def _check_finite(self) -> None:
        broken = self.moments.not_finite()
        if broken:
            facts = self.source.facts
            raise BadInput(
                f"{facts.name}: layer {facts.layer}, hook {facts.hook}: {len(broken)} of "
                f"{facts.n_neurons} neurons (first: {broken[0]}) give values that are not finite"
            )

    def _each_block(
        self, n_tokens: int, read_keys: ReadKeys, count: Callable[[int, Int16[np.ndarray, "n t"]], TokenTable | None]
    ) -> None:
        """Read the keys of each block of neurons, on all threads, and give them to `count`."""

        def work(first: int) -> TokenTable | None:
            return count(first, read_keys(first, min(first + width, self.n_neurons)))

        width = self.settings.block_width(n_tokens)
        starts = range(0, self.n_neurons, width)
        for first, table in zip(starts, self._pool.map(work, starts)):
            if table is not None:
                self.firing.sums.add(first, table)
            if self.is_whole and self.work.stop_requested:
                # As if no block had been read: a state cannot hold a part of them.
                self._reset_counts()
                self._save_or_stop(lambda: fsync_path(self.sample.path))

    def _add_to_tally(self, first: int, keys: Int16[np.ndarray, "n t"]) -> None:
        for neuron, row in enumerate(keys, start=first):
            self.tally.add(neuron, np.sort(row))

    def _add_to_quantiles(self, first: int, keys: Int16[np.ndarray, "n t"]) -> None:
        for neuron, row in enumerate(keys, start=first):
            self.quantiles.add(neuron, row, np.sort(row))

    def _read_whole_sample(self) -> None:
        """Everything that needs all values of a neuron, from a sample that holds all tokens."""
        # Local names, since a stop replaces the attributes while threads still work.
        quantiles, tally, firing = self.quantiles, self.tally, self.firing
        firing.start_chunk(SortedTokens.of(self.plan.tokens))

        def count(first: int, keys: Int16[np.ndarray, "n t"]) -> TokenTable:
            for neuron, row in enumerate(keys, start=first):
                ordered = np.sort(row)
                quantiles.add(neuron, row, ordered)
                tally.add(neuron, ordered)
            firing.set_thresholds(first, quantiles.values.p9999[first : first + len(keys)])
            return firing.add(first, keys)

        self._each_block(len(self.plan.tokens), self.sample.read_keys, count)

    def _read_quantiles(self) -> None:
        self._each_block(len(self.plan.tokens), self.sample.read_keys, self._add_to_quantiles)
        self.firing.set_thresholds(0, self.quantiles.values.p9999)

    def _second_pass(self) -> None:
        buffer = self._buffer
        assert buffer is not None
        with closing(self._micro_batches(self.second_rows)) as batches:
            for batch in batches:
                buffer.add(batch.values.bfloat16(), batch.tokens)
                if not self._ends_chunk(batch):
                    continue
                if len(buffer):
                    self.firing.start_chunk(SortedTokens.of(buffer.tokens()))
                    self._each_block(len(buffer), buffer.read_keys, self.firing.add)
                    self.firing.sums.compact()
                    buffer.clear()
                self.second_rows = batch.stop
                self._save_or_stop(self.firing.sums.sync)

    def _total_rows(self) -> int:
        return self.plan.n_rows * (1 if self.is_whole else 2)

    def _share(self) -> float:
        return (self.rows + self.second_rows) / self._total_rows()

    def _save_or_stop(self, sync: Callable[[], None]) -> None:
        def state() -> State:
            sync()
            names = ("rows", "second_rows", "written")
            facts = {name: getattr(self, name) for name in names} | {"count": self.moments.count}
            arrays = {f"{part}/{name}": array for part, own in self._arrays().items() for name, array in own.items()}
            return State(facts, arrays | {"spill": self.firing.sums.state()})

        if self.work.save_or_stop(state, self._share()):
            self.firing.sums.forget()

    def _arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """The arrays of everything that counts: what a state saves, and what a resumed collection overwrites."""
        parts = {
            "moments": self.moments,
            "tally": self.tally,
            "quantiles": self.quantiles.values,
            "firing": self.firing,
            "bands": self.firing.bands,
        }
        return {part: arrays_of(owner) for part, owner in parts.items()} | {"examples": self.examples.state()}

    def _restore(self, saved: State) -> bool:
        """Go on from a state; False if its work files are gone."""
        if not self.sample.path.is_file() or not self.firing.sums.restore(saved.arrays["spill"]):
            return False
        facts = saved.facts
        self.rows, self.second_rows = facts["rows"], facts["second_rows"]
        self.written, self.moments.count = facts["written"], facts["count"]
        for part, own in self._arrays().items():
            for name, array in own.items():
                array[...] = saved.arrays[f"{part}/{name}"]
        prefix = "examples/"
        self.examples.reopen({k.removeprefix(prefix): v for k, v in saved.arrays.items() if k.startswith(prefix)})
        return True


class ChunkBuffer:
    """A chunk of the stream as it fills up: bf16 activations of all neurons, and their tokens."""

    def __init__(self, n_tokens: int, n_neurons: int) -> None:
        # A block of neurons lies together, as in the sample: to transpose whole rows takes four times as long.
        self._blocks = [torch.empty(n_tokens, stop - first, dtype=torch.bfloat16) for first, stop in blocks(n_neurons)]
        self._tokens: list[TokenSample] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, values: BFloat16[Tensor, "t n"], tokens: TokenSample) -> None:
        """Append a micro-batch."""
        for block, (first, stop) in zip(self._blocks, blocks(values.shape[1])):
            block[self._length : self._length + len(values)] = values[:, first:stop]
        self._tokens.append(tokens)
        self._length += len(values)

    def clear(self) -> None:
        """Start the next chunk."""
        self._tokens, self._length = [], 0

    def tokens(self) -> TokenSample:
        """The tokens so far."""
        return concatenated(self._tokens)

    def read_keys(self, first: int, stop: int) -> Int16[np.ndarray, "n t"]:
        """Sort keys of neurons first..stop of one block, a row for each neuron."""
        begin = first // BLOCK * BLOCK
        bits = self._blocks[first // BLOCK].view(torch.int16).numpy()[:, first - begin : stop - begin]
        return transposed_keys(lambda low, high: bits[low:high], self._length, stop - first)
