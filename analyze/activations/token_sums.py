"""What each neuron did on each token id: sums over the tokens on which it fired, in a sparse table.

For every neuron and token id: how many of the id's tokens lie above the neuron's firing threshold, and the sum and
sum of squares of the activations there (bf16 values as in the sample, added up in fp64). All that does not exceed the
threshold is one remainder for each neuron. How often each id occurs is known too. That bounds the mean over an id's
tokens: those that did not fire lie between the neuron's minimum and its threshold.

An entry takes ENTRY_BYTES on disk; memory.py says how many entries there are.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Int

from analyze.activations.settings import DEFAULT
from train.errors import BadInput
from train.files import verify_file
from train.filesystem import fsync_path

TOKEN_SUMS_FILE = "token_sums.safetensors"
BLOCK = 256
"""Neurons of a block of the file."""
COLUMNS = (("token", "<i4"), ("count", "<i4"), ("sum", "<f8"), ("squares", "<f8"))
ENTRY_BYTES = sum(np.dtype(kind).itemsize for _, kind in COLUMNS)
_DTYPES = {"<i4": "I32", "<f8": "F64", "<i8": "I64"}
_HEADER_BYTES_A_TENSOR = 160


@dataclass(frozen=True)
class TokenTable:
    """The entries of some neurons one after another, those of a neuron in ascending order of token ids."""

    starts: Int[np.ndarray, "starts"]
    """Index of each neuron's first entry; and last, the number of entries."""
    token: Int[np.ndarray, "e"]
    count: Int[np.ndarray, "e"]
    sum: Float[np.ndarray, "e"]
    squares: Float[np.ndarray, "e"]

    def of(self, index: int) -> "TokenTable":
        """The entries of one neuron; `index` counts from the first neuron of this table."""
        part = slice(self.starts[index], self.starts[index + 1])
        length = part.stop - part.start
        return TokenTable(np.array([0, length]), *(getattr(self, name)[part] for name, _ in COLUMNS))


def concatenated_tables(tables: list[TokenTable]) -> TokenTable:
    """Tables of consecutive neurons as one table."""
    lengths = np.concatenate([np.diff(table.starts) for table in tables])
    columns = (np.concatenate([getattr(table, name) for table in tables]) for name, _ in COLUMNS)
    return TokenTable(np.concatenate(([0], np.cumsum(lengths))), *columns)


@dataclass(frozen=True)
class TokenSums:
    """The sums of a layer. They stay in their file and are read a block of neurons at a time."""

    path: Path
    n_neurons: int
    sealed: bool = False
    """Whether its directory is sealed; then a process hashes the file before it reads a part of it."""

    def block(self, first: int, stop: int) -> TokenTable:
        """Entries of neurons first..stop; reads no others from the file.

        Raises:
            BadInput: no such neurons, or the file has been deleted or does not fit.
        """
        if not 0 <= first < stop <= self.n_neurons:
            raise BadInput(f"neurons {first}..{stop}: the layer has {self.n_neurons}")
        tables = []
        for index in range(first // BLOCK, (stop - 1) // BLOCK + 1):
            low, high = max(first - index * BLOCK, 0), min(stop - index * BLOCK, BLOCK)
            starts = self._read(f"starts.{index:03d}")[low : high + 1]
            part = (int(starts[0]), int(starts[-1]))
            columns = (
                # safetensors cannot give a slice of nothing, which is what dead neurons have
                self._read(f"{name}.{index:03d}", part) if part[0] < part[1] else np.zeros(0, dtype=kind)
                for name, kind in COLUMNS
            )
            tables.append(TokenTable(starts - starts[0], *columns))
        return concatenated_tables(tables)

    def occurrences(self) -> Int[np.ndarray, "vocab"]:
        """How often each token id occurs among all tokens that the source read."""
        return self._read("occurrences")

    def remainder(self) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Count, sum and sum of squares of each neuron's activations that do not exceed its threshold."""
        count, total, squares = (self._read(f"remainder.{name}") for name in ("count", "sum", "squares"))
        return count, total, squares

    def mean_bounds(
        self, neuron: int, minimum: float, threshold: float
    ) -> tuple[Float[np.ndarray, "vocab"], Float[np.ndarray, "vocab"]]:
        """Lower and upper bound of the neuron's mean over the tokens of each id; NaN where the id does not occur."""
        table, occurs = self.block(neuron, neuron + 1), self.occurrences().astype(np.float64)
        total, count = np.zeros_like(occurs), np.zeros_like(occurs)
        total[table.token], count[table.token] = table.sum, table.count
        with np.errstate(invalid="ignore"):
            low, high = ((total + (occurs - count) * rest) / occurs for rest in (minimum, threshold))
        return low, high

    def _read(self, name: str, part: tuple[int, int] | None = None) -> Any:
        from safetensors import SafetensorError, safe_open

        if not self.path.is_file():
            raise BadInput(f"{self.path}: the sums have been deleted with the sample; collect again")
        if self.sealed:
            verify_file(self.path)
        try:
            with safe_open(self.path, "np") as file:
                return file.get_tensor(name) if part is None else file.get_slice(name)[part[0] : part[1]]
        except (SafetensorError, OSError) as failure:
            raise BadInput(f"{self.path}: {failure}; collect again") from None


class Spill:
    """The work file of entries: the sums of each chunk and block of neurons. It only grows, until it is merged.

    Args:
        directory: where the file lies, as `sums-<generation>.bin`.
        merge_bytes: below this size it is not merged.
        unmerged_bytes: what it may grow by before it is merged again. When it is merged changes no result: the sums of
            an entry are added up from the first part to the last in any case.
    """

    def __init__(
        self, directory: Path, d_vocab: int, merge_bytes: int, unmerged_bytes: int = DEFAULT.unmerged_bytes
    ) -> None:
        self.directory, self.d_vocab = directory, d_vocab
        self.merge_bytes, self.unmerged_bytes = merge_bytes, unmerged_bytes
        self.generation = self.n_bytes = self._compacted = 0
        self._parts: list[tuple[int, int, int]] = []
        """First neuron, number of neurons and number of entries of each part, in the order of the file."""

    @property
    def path(self) -> Path:
        """The file of this generation."""
        return self.directory / f"sums-{self.generation:03d}.bin"

    def add(self, first: int, table: TokenTable) -> None:
        """Append a chunk's entries of a block of neurons from `first` on."""
        part = (first, len(table.starts) - 1, len(table.token))
        with self.path.open("r+b" if self.n_bytes else "wb") as file:
            file.seek(self.n_bytes)
            file.write(np.diff(table.starts).astype("<i8").tobytes())
            for name, kind in COLUMNS:
                file.write(getattr(table, name).astype(kind).tobytes())
        self._parts.append(part)
        self.n_bytes += _size(part)

    def tables(self) -> Iterator[tuple[int, TokenTable]]:
        """First neuron and merged entries of each block of neurons, in ascending order."""
        offsets = np.cumsum([0, *map(_size, self._parts)])
        of_block: dict[int, list[int]] = {}
        for index, (first, _, _) in enumerate(self._parts):
            of_block.setdefault(first, []).append(index)
        with self.path.open("rb") as file:
            for first in sorted(of_block):
                parts = [_read_part(file, int(offsets[i]), self._parts[i]) for i in of_block[first]]
                yield first, merged(parts, self.d_vocab)

    def compact(self) -> None:
        """Merge the file if it has grown to several times the size that it had when merged, or by `unmerged_bytes`."""
        grown = min(3 * self._compacted, self._compacted + self.unmerged_bytes)
        if self.n_bytes < max(self.merge_bytes, grown):
            return
        fresh = Spill(self.directory, self.d_vocab, self.merge_bytes, self.unmerged_bytes)
        fresh.generation = self.generation + 1
        for first, table in self.tables():
            fresh.add(first, table)
        self.generation, self._parts, self.n_bytes = fresh.generation, fresh._parts, fresh.n_bytes
        self._compacted = self.n_bytes

    def sync(self) -> None:
        """Force the file to the disk."""
        if self.n_bytes:
            fsync_path(self.path)

    def forget(self) -> None:
        """Delete the files of earlier generations; call it when no saved state needs them."""
        for path in self.directory.glob("sums-*.bin"):
            if path != self.path:
                path.unlink()

    def state(self) -> Int[np.ndarray, "rows 3"]:
        """What another process needs to go on with the file as it is: a row for the file, then a row for each part."""
        own = (self.generation, self.n_bytes, self._compacted)
        return np.array([own, *self._parts], dtype=np.int64)

    def restore(self, state: Int[np.ndarray, "rows 3"]) -> bool:
        """Go on with the file of a state and overwrite what lies behind its end. False if the file is not there."""
        own, *parts = state.tolist()
        self.generation, self.n_bytes, self._compacted = own
        self._parts = [tuple(part) for part in parts]
        return self.n_bytes == 0 or (self.path.is_file() and self.path.stat().st_size >= self.n_bytes)


def _size(part: tuple[int, int, int]) -> int:
    _, n_neurons, n_entries = part
    return 8 * n_neurons + ENTRY_BYTES * n_entries


def _read_part(file: BinaryIO, offset: int, part: tuple[int, int, int]) -> TokenTable:
    _, n_neurons, n_entries = part
    file.seek(offset)
    lengths = np.frombuffer(file.read(8 * n_neurons), dtype="<i8")
    columns = (np.frombuffer(file.read(np.dtype(kind).itemsize * n_entries), dtype=kind) for _, kind in COLUMNS)
    return TokenTable(np.concatenate(([0], np.cumsum(lengths))), *columns)


def merged(tables: list[TokenTable], d_vocab: int) -> TokenTable:
    """Tables of the same neurons as one table, added up in the order of the tables."""
    if len(tables) == 1:
        return tables[0]
    neurons = []
    for index in range(len(tables[0].starts) - 1):
        count = np.zeros(d_vocab, dtype=np.int32)
        total, squares = np.zeros(d_vocab), np.zeros(d_vocab)
        for table in tables:
            entries = table.of(index)
            count[entries.token] += entries.count
            total[entries.token] += entries.sum
            squares[entries.token] += entries.squares
        token = np.flatnonzero(count)
        starts = np.array([0, len(token)])
        neurons.append(TokenTable(starts, token.astype(np.int32), count[token], total[token], squares[token]))
    return concatenated_tables(neurons)


def write_token_sums(
    path: Path,
    tables: Iterator[tuple[int, TokenTable]],
    n_neurons: int,
    occurrences: Int[np.ndarray, "vocab"],
    remainder: tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]],
) -> None:
    """Write the file that TokenSums reads, a block of neurons at a time.

    Args:
        tables: first neuron and entries of blocks of neurons, in ascending order; their width divides BLOCK.
        remainder: count, sum and sum of squares of what does not exceed each neuron's threshold.
    """
    n_blocks = -(-n_neurons // BLOCK)
    reserved = -(-_HEADER_BYTES_A_TENSOR * (4 + n_blocks * (1 + len(COLUMNS))) // 8) * 8
    header: dict[str, dict[str, Any]] = {}
    end = 0
    with path.open("wb") as file:
        file.seek(8 + reserved)

        def put(name: str, array: np.ndarray, kind: str) -> None:
            nonlocal end
            data = array.astype(kind).tobytes()
            place = [end, end + len(data)]
            header[name] = {"dtype": _DTYPES[kind], "shape": list(array.shape), "data_offsets": place}
            file.write(data)
            end += len(data)

        put("occurrences", occurrences, "<i8")
        for name, array, kind in zip(("count", "sum", "squares"), remainder, ("<i8", "<f8", "<f8")):
            put(f"remainder.{name}", array, kind)
        waiting: list[TokenTable] = []
        n_waiting = done = 0
        for _, table in tables:
            waiting.append(table)
            n_waiting += len(table.starts) - 1
            if n_waiting == BLOCK or done + n_waiting == n_neurons:
                whole = concatenated_tables(waiting)
                put(f"starts.{done // BLOCK:03d}", whole.starts, "<i8")
                # Wider columns first, so that each is aligned.
                for name, kind in reversed(COLUMNS):
                    put(f"{name}.{done // BLOCK:03d}", getattr(whole, name), kind)
                done, n_waiting, waiting = done + n_waiting, 0, []
        text = json.dumps(header, separators=(",", ":")).encode().ljust(reserved)
        file.seek(0)
        file.write(struct.pack("<Q", len(text)) + text)
