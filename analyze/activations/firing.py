"""What needs the firing thresholds first: rates, documents, sums per token id, examples by band; over all tokens."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16

from analyze.activations.band_examples import BandExamples
from analyze.activations.bf16_keys import from_sort_keys, key_below
from analyze.activations.settings import DEFAULT, CollectSettings
from analyze.activations.token_sample import SortedTokens
from analyze.activations.token_sums import Spill, TokenTable, concatenated_tables
from analyze.metrics import FIRING_SHARE


class Firing:
    """Counts and sums of every neuron above its threshold, over chunks of the stream in order.

    A token's place in the stream decides everything, so the chunks change nothing but the order in which fp64 sums are
    added up.

    Args:
        directory: where sums per token wait until they are written.
    """

    def __init__(self, n_neurons: int, d_vocab: int, directory: Path, settings: CollectSettings = DEFAULT) -> None:
        n = n_neurons
        self.thresholds = np.zeros(n, dtype=np.int16)
        self.bands = BandExamples(n, settings.band_stages)
        self.sums = Spill(directory, d_vocab, settings.spill_bytes, settings.unmerged_bytes)
        self.fired = np.zeros(n, dtype=np.int64)
        self.documents = np.zeros(n, dtype=np.int64)
        self.occurrences = np.zeros(d_vocab, dtype=np.int64)
        self.total = np.zeros(n)
        self.squares = np.zeros(n)
        self.open = np.zeros(n, dtype=bool)
        """Whether each neuron has fired in the document that the last chunk ended in."""
        self.last_document = np.full(1, -1, dtype=np.int64)
        self._fired_before = self.open
        """Whether each neuron fired before this chunk in the document that it begins in."""

    def set_thresholds(self, first: int, p9999: Float[np.ndarray, "n"]) -> None:
        """Set the thresholds of the neurons from `first` on, before any chunk of them is added."""
        self.thresholds[first : first + len(p9999)] = key_below(FIRING_SHARE * p9999)
        self.bands.set_edges(first, p9999)

    def start_chunk(self, chunk: SortedTokens) -> None:
        """Take the next chunk. Then add all of its blocks of neurons, in any order."""
        self.occurrences += np.bincount(chunk.tokens.ids, minlength=len(self.occurrences))
        self._chunk = chunk
        self._fired_before = self.open & (chunk.tokens.document[0] == self.last_document[0])
        self.last_document[0] = chunk.tokens.document[-1]

    def add(self, first: int, keys: Int16[np.ndarray, "n t"]) -> TokenTable:
        """Count a block of neurons from `first` on. Returns its sums per token, for `sums`."""
        self.bands.add(first, keys, self._chunk)
        return concatenated_tables([self._add_neuron(first + index, row) for index, row in enumerate(keys)])

    def _add_neuron(self, neuron: int, keys: Int16[np.ndarray, "t"]) -> TokenTable:
        """Everything about one neuron; `keys` in stream order."""
        chunk, threshold = self._chunk, self.thresholds[neuron]
        at = np.flatnonzero(keys > threshold)
        self.fired[neuron] += len(at)
        fired_in = np.maximum.reduceat(keys, chunk.document_starts) > threshold
        fired_in[0] |= self._fired_before[neuron]
        self.documents[neuron] += np.count_nonzero(fired_in) - int(self._fired_before[neuron])
        self.open[neuron] = fired_in[-1]
        if not len(at):
            nothing = np.zeros(0)
            return TokenTable(np.zeros(2, int), nothing.astype(np.int32), nothing.astype(np.int32), nothing, nothing)
        id_index = chunk.id_index.take(at)
        count = np.bincount(id_index, minlength=len(chunk.ids))
        present = np.flatnonzero(count)
        firing_keys = keys.take(at)
        if adds_exactly(int(threshold) + 1, int(firing_keys.max()), len(at)):
            values = from_sort_keys(firing_keys)
            total = np.bincount(id_index, values)[present]
            squares = np.bincount(id_index, values * values)[present]
        else:
            in_order = keys.take(chunk.by_id)
            values = from_sort_keys(in_order[in_order > threshold])
            starts = np.cumsum(count[present]) - count[present]
            total, squares = np.add.reduceat(values, starts), np.add.reduceat(values * values, starts)
        self.total[neuron] += total.sum()
        self.squares[neuron] += squares.sum()
        ends = np.array([0, len(present)])
        ids, counts = chunk.ids[present].astype(np.int32), count[present].astype(np.int32)
        return TokenTable(ends, ids, counts, total, squares)


def adds_exactly(lowest: int, highest: int, count: int) -> bool:
    """Whether sums of `count` bf16 values and of their squares are exact in fp64, whatever the order of addition.

    Above zero all values are multiples of the last place of the smallest one. Counted in it, the largest value has the
    8 bits of a bf16 number and one more for each octave between them.

    Args:
        lowest: a sort key at or below all of theirs.
        highest: the largest sort key.
    """
    bits = 8 + (highest >> 7) - max(lowest >> 7, 1)
    return lowest > 0 and count.bit_length() + 2 * bits <= 53
