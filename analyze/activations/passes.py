"""The passes over the tokens that make a collection.

Thresholds come from quantiles, and quantiles need every value first. So the first sweep runs the source over all
tokens for moments and the strongest examples, and writes the sample. Where the sample holds all tokens, it is then
read back, a block of neurons at a time, for everything else. Where it holds a part, histograms are made in the first
sweep, quantiles come from the sample, and a second sweep runs the source again for what needs the thresholds; both
go by pieces of the stream that are held in memory, turned and counted a block of neurons at a time.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor
from tqdm import tqdm

from analyze.activations.ahead import ahead, goes_ahead, one_torch_thread
from analyze.activations.bf16_keys import turned
from analyze.activations.firing import Firing, blocks_for
from analyze.activations.histograms import Histograms, Tally
from analyze.activations.moments import QuantileRows, Quantiles, Rates, SampledStatistics, StreamMoments
from analyze.activations.pieces import piece_of
from analyze.activations.resume import Say, State, Unfinished
from analyze.activations.sample import BLOCK, SAMPLE_FILE, SampleFile, SampleWriter, blocks
from analyze.activations.source import CheckpointSource, NeuronSource
from analyze.activations.store import TokenSample
from analyze.activations.token_sample import Plan, is_sampled, joined, kept_again, kept_tokens
from analyze.activations.token_sums import TokenTable
from analyze.activations.top_examples import TopExamples
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import Hashed, fsync_path, hashed

ReadKeys = Callable[[int, int], Int16[np.ndarray, "n t"]]
Passed = tuple[int, Float[Tensor, "t n"], TokenSample]
"""Rows passed so far, and the next micro-batch's values and tokens, without BOS and separators."""


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


class Sweeps:
    """One collection while it runs.

    Args:
        size: rows of a canonical micro-batch.
        piece_rows: rows of a piece where the sample does not hold all tokens; a multiple of `size`.
        batch: rows read at a time.
    """

    def __init__(
        self,
        source: NeuronSource,
        tokens: TokenFile,
        plan: Plan,
        work: Unfinished,
        size: int,
        piece_rows: int,
        batch: int,
    ) -> None:
        n = source.facts.n_neurons
        self.source, self.tokens, self.plan, self.work = source, tokens, plan, work
        self.n_neurons, self.size, self.piece_rows, self.batch = n, size, piece_rows, batch
        self.is_whole = plan.share == 1
        self.moments, self.examples = StreamMoments(n), TopExamples(n)
        self._begin_counting()
        self.sample = SampleFile(work.directory / SAMPLE_FILE, len(plan.tokens), n)
        self.rows = self.second_rows = self.written = 0
        """Rows that each sweep has passed, and tokens of the sample that are written."""
        # One for both sweeps: what is given back to the allocator is not always found again.
        held = min(piece_rows, plan.n_rows) * tokens.n_ctx
        self._piece = None if self.is_whole else Gathered(held, n)
        self._n_threads = max(1, torch.get_num_threads())
        # Other sources may depend on being asked in order, and by one thread.
        is_free = isinstance(source, CheckpointSource) and not torch.cuda.is_available()
        self._goes_ahead = is_free and goes_ahead(4 * n * size * tokens.n_ctx, self._n_threads)
        self._pool, self._disk = ThreadPoolExecutor(self._n_threads), ThreadPoolExecutor(2)
        self.sample_hash: Hashed | None = None
        """Of the sample, once all sweeps are made."""

    def _begin_counting(self) -> None:
        self.tally = Tally(self.n_neurons)
        self.quantiles = QuantileRows(self.n_neurons, self.plan.tokens.is_fit)
        self.firing = Firing(self.n_neurons, self.tokens.d_vocab, self.work.directory)

    def run(self, say: Say) -> SampledStatistics:
        """Make all sweeps, or what is left of them.

        Raises:
            BadInput: values that are not finite.
            Stopped: asked by a signal; the state is saved.
        """
        saved = self.work.load(say)
        if saved is not None and self._take_up(saved):
            say(f"{self.work.out}: goes on at {self._share():.0%}")
        total = self.plan.n_rows * self.tokens.n_ctx * (1 if self.is_whole else 2)
        facts = self.source.facts
        self._progress = tqdm(
            total=total,
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
                    self._first()
                # What must be on the disk in the end gets there meanwhile, and its hash is taken.
                synced = self._disk.submit(fsync_path, self.sample.path)
                digest = self._disk.submit(hashed, self.sample.path)
                if self.is_whole:
                    self._read_whole()
                else:
                    if not self.second_rows:
                        self._read_quantiles()
                    self._second()
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
        return SampledStatistics(self.quantiles.found, rates)

    def remainder(self) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Count, sum and sum of squares of the bf16 values at or below each neuron's threshold."""
        count = self.plan.n_tokens - self.firing.fired
        some = count > 0
        total = np.where(some, self.tally.sums - self.firing.total, 0.0)
        return count, total, np.where(some, np.maximum(self.tally.squares - self.firing.squares, 0.0), 0.0)

    def _passed(self, first: int) -> Generator[Passed, None, None]:
        """Micro-batches from a row on, in order."""

        def batches() -> Iterator[tuple[int, Int[Tensor, "rows row"]]]:
            begin = first
            for rows in micro_batches(self.tokens, self.plan.n_rows, self.size, self.batch, first):
                yield begin, rows
                begin += len(rows)

        if not self._goes_ahead:
            yield from map(self._pass, batches())
            return
        with closing(ahead(self._pass, batches(), self._n_threads)) as given:
            yield from given

    @torch.no_grad()
    def _pass(self, batch: tuple[int, Int[Tensor, "rows row"]]) -> Passed:
        """Run the source on a micro-batch, given with its first row."""
        n_ctx, size = self.tokens.n_ctx, self.size
        first, rows = batch
        padded = torch.zeros(size, n_ctx, dtype=torch.int64)
        padded[: len(rows)] = rows[:, :n_ctx]
        values = self.source.activations(padded).reshape(size * n_ctx, self.n_neurons)
        stop = first + len(rows)
        if self.is_whole:
            flat, kept = kept_again(self.plan.tokens, first, stop, n_ctx)
        else:
            flat, kept = kept_tokens(self.tokens, first, rows, self.plan.is_fit)
        return stop, values.index_select(0, torch.from_numpy(flat)), kept

    def _first(self) -> None:
        path, held = self.sample.path, len(self.plan.tokens)
        piece = self._piece
        with (
            SampleWriter(path, held, self.n_neurons, self.written) as writer,
            closing(self._passed(self.rows)) as passed,
        ):
            for rows, values, kept in passed:
                self._progress.update((rows - self.rows) * self.tokens.n_ctx)
                self.rows = rows
                if len(kept):
                    self._pass_on(values, kept, writer)
                    self._check_finite()
                if piece is not None:
                    if rows % self.piece_rows and rows < self.plan.n_rows:
                        continue
                    if len(piece):
                        self._each_block(len(piece), piece.read_keys, self._tally)
                        piece.clear()
                self._boundary(writer.sync)

    def _pass_on(self, values: Float[Tensor, "t n"], kept: TokenSample, writer: SampleWriter) -> None:
        """Give a micro-batch to what the first sweep collects; half of the work to another thread that has none."""

        def in_numpy() -> None:
            self.examples.update(values, kept)
            self.moments.update_range(values)

        found = self._pool.submit(in_numpy) if self._n_threads > 1 and not self._goes_ahead else None
        with one_torch_thread():
            self.moments.update_sums(values)
            low = values.bfloat16()
            chosen = is_sampled(kept.stream_position, self.plan.share)
            writer.append(low if chosen.all() else low[torch.from_numpy(chosen)])
            self.written = writer.written
            if self._piece is not None:
                self._piece.add(low, kept)
        in_numpy() if found is None else found.result()

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
        """Turn a piece a block of neurons at a time, on all threads, and give each block to `count`."""

        def work(block: tuple[int, int]) -> TokenTable | None:
            return count(block[0], read_keys(*block))

        parts = blocks_for(self.n_neurons, n_tokens)
        for (first, _), table in zip(parts, self._pool.map(work, parts)):
            if table is not None:
                self.firing.sums.add(first, table)
            if self.is_whole and self.work.asked:
                self._stop_reading()

    def _tally(self, first: int, keys: Int16[np.ndarray, "n t"]) -> None:
        for neuron, row in enumerate(keys, start=first):
            self.tally.add(neuron, np.sort(row))

    def _quantiles(self, first: int, keys: Int16[np.ndarray, "n t"]) -> None:
        for neuron, row in enumerate(keys, start=first):
            self.quantiles.add(neuron, row, np.sort(row))

    def _read_whole(self) -> None:
        """Everything that needs all values of a neuron, from the sample that holds them all."""
        # By names of their own, since a stop begins new ones while threads are still at work on these.
        quantiles, tally, firing = self.quantiles, self.tally, self.firing
        begun = firing.begin(piece_of(self.plan.tokens))

        def count(first: int, keys: Int16[np.ndarray, "n t"]) -> TokenTable:
            for neuron, row in enumerate(keys, start=first):
                ordered = np.sort(row)
                quantiles.add(neuron, row, ordered)
                tally.add(neuron, ordered)
            firing.know(first, quantiles.found.p9999[first : first + len(keys)])
            return begun.add(first, keys)

        self._each_block(len(self.plan.tokens), self.sample.read_keys, count)

    def _stop_reading(self) -> None:
        """Stop as if no block had been read: what a state holds of them is not whole."""
        self._begin_counting()
        self._boundary(lambda: fsync_path(self.sample.path))

    def _read_quantiles(self) -> None:
        self._each_block(len(self.plan.tokens), self.sample.read_keys, self._quantiles)
        self.firing.know(0, self.quantiles.found.p9999)

    def _second(self) -> None:
        piece = self._piece
        assert piece is not None
        shown = self.second_rows
        with closing(self._passed(self.second_rows)) as passed:
            for rows, values, kept in passed:
                self._progress.update((rows - shown) * self.tokens.n_ctx)
                shown = rows
                piece.add(values.bfloat16(), kept)
                if rows % self.piece_rows and rows < self.plan.n_rows:
                    continue
                if len(piece):
                    self._each_block(len(piece), piece.read_keys, self.firing.begin(piece_of(piece.tokens())).add)
                    self.firing.sums.compact()
                    piece.clear()
                self.second_rows = rows
                self._boundary(self.firing.sums.sync)

    def _share(self) -> float:
        return (self.rows + self.second_rows) / (self.plan.n_rows * (1 if self.is_whole else 2))

    def _boundary(self, sync: Callable[[], None]) -> None:
        def state() -> State:
            sync()
            return self._state()

        if self.work.boundary(state, self._share()):
            self.firing.sums.forget()

    def _parts(self) -> dict[str, dict[str, np.ndarray]]:
        found = {field.name: getattr(self.quantiles.found, field.name) for field in fields(Quantiles)}
        parts = {"moments": self.moments.state(), "examples": self.examples.state(), "tally": self.tally.state()}
        return parts | {"quantiles": found, "firing": self.firing.state()}

    def _state(self) -> State:
        facts = {
            "rows": self.rows,
            "second_rows": self.second_rows,
            "written": self.written,
            "count": self.moments.count,
        }
        arrays = {f"{part}/{name}": array for part, held in self._parts().items() for name, array in held.items()}
        return State(facts, arrays | {"spill": self.firing.sums.state()})

    def _take_up(self, saved: State) -> bool:
        """Go on from a state; False where the work files it speaks of are not there."""
        facts: dict[str, Any] = saved.facts
        if not self.sample.path.is_file() or not self.firing.sums.take_up(saved.arrays["spill"]):
            return False
        self.rows, self.second_rows = facts["rows"], facts["second_rows"]
        self.written, self.moments.count = facts["written"], facts["count"]
        for part, held in self._parts().items():
            for name, array in held.items():
                array[...] = saved.arrays[f"{part}/{name}"]
        prefix = "examples/"
        self.examples.reopen({k.removeprefix(prefix): v for k, v in saved.arrays.items() if k.startswith(prefix)})
        return True


class Gathered:
    """A piece of the stream as it comes in: bf16 values of all neurons, and the tokens they are of."""

    def __init__(self, n_tokens: int, n_neurons: int) -> None:
        # A block of neurons lies together, as in the sample: turning it from whole rows takes four times as long.
        self._blocks = [torch.empty(n_tokens, stop - first, dtype=torch.bfloat16) for first, stop in blocks(n_neurons)]
        self._tokens: list[TokenSample] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, values: Tensor, tokens: TokenSample) -> None:
        """Take the next micro-batch."""
        for block, (first, stop) in zip(self._blocks, blocks(values.shape[1])):
            block[self._length : self._length + len(values)] = values[:, first:stop]
        self._tokens.append(tokens)
        self._length += len(values)

    def clear(self) -> None:
        """Begin the next piece."""
        self._tokens, self._length = [], 0

    def tokens(self) -> TokenSample:
        """The tokens so far."""
        return joined(self._tokens)

    def read_keys(self, first: int, stop: int) -> Int16[np.ndarray, "n t"]:
        """Sort keys of neurons first..stop, a row a neuron; the neurons are of one block."""
        begin = first // BLOCK * BLOCK
        bits = self._blocks[first // BLOCK].view(torch.int16).numpy()[:, first - begin : stop - begin]
        return turned(lambda low, high: bits[low:high], self._length, stop - first)
