"""The ids of a split on disk: one file, or shards that follow one another, read as one stream."""

import os
import weakref
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from train.errors import BadInput
from train.files import verify_file

SPLITS: tuple[str, str] = ("fit", "eval")


def token_dtype(d_vocab: int) -> np.dtype[Any]:
    """The dtype of ids on disk: little-endian, two bytes where they fit."""
    return np.dtype("<u2" if d_vocab <= 2**16 else "<u4")


def shard_names(split: str, n_shards: int) -> list[str]:
    """The files of a split: tokens-fit.bin, or tokens-fit-000000.bin and so on where there are several."""
    if n_shards == 1:
        return [f"tokens-{split}.bin"]
    return [f"tokens-{split}-{number:06d}.bin" for number in range(n_shards)]


@dataclass(eq=False)
class TokenShards:
    """The shards of a split, opened when they are first read.

    Reads are `pread`s: a file cut short during a run is an error, where a memory map would kill the process.
    """

    directory: Path
    split: str
    counts: tuple[int, ...]
    """Tokens of each shard."""
    d_vocab: int

    @cached_property
    def _starts(self) -> list[int]:
        """Where in the stream each shard begins, and where the last one ends."""
        return [0, *accumulate(self.counts)]

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [self.directory / name for name in shard_names(self.split, len(self.counts))]

    @cached_property
    def _handles(self) -> list[int]:
        """The open files, after checking their sizes."""
        handles: list[int] = []
        for path, count in zip(self.paths, self.counts):
            try:
                handles.append(os.open(path, os.O_RDONLY))
            except OSError as failure:
                raise BadInput(f"{path}: cannot be opened ({failure.strerror})") from None
            weakref.finalize(self, os.close, handles[-1])
            n_bytes, expected = os.fstat(handles[-1]).st_size, count * token_dtype(self.d_vocab).itemsize
            if n_bytes != expected:
                raise BadInput(f"{path}: {n_bytes} bytes where the manifest's counts need {expected}")
        return handles

    def written(self) -> list[int]:
        """When each file was last written (ns)."""
        return [os.fstat(handle).st_mtime_ns for handle in self._handles]

    def require_unchanged(self, verified: list[int]) -> None:
        """Hash again what has been written since it was verified: a run may take days.

        Args:
            verified: `written()` of that time; brought up to date.
        """
        for number, (now, before) in enumerate(zip(self.written(), verified)):
            if now != before:
                verify_file(self.paths[number])
                verified[number] = now

    def read(self, first: int, count: int) -> np.ndarray:
        """Tokens `first` to `first + count`, which lie in the stream: [count], uint16 or uint32.

        Raises:
            BadInput: a file cut short.
        """
        number = int(np.searchsorted(self._starts, first, side="right")) - 1
        pieces = []
        while count > 0:
            within = first - self._starts[number]
            here = min(count, self.counts[number] - within)
            pieces.append(self._read(number, within, here))
            first, count, number = first + here, count - here, number + 1
        dtype = token_dtype(self.d_vocab)
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, dtype), *pieces])

    def _read(self, number: int, first: int, count: int) -> np.ndarray:
        dtype = token_dtype(self.d_vocab)
        size, offset, handle = count * dtype.itemsize, first * dtype.itemsize, self._handles[number]
        data = os.pread(handle, size, offset)
        while len(data) < size:
            # The kernel gives at most 2 GiB at once; nothing at all means the end.
            more = os.pread(handle, size - len(data), offset + len(data))
            if not more:
                raise BadInput(f"{self.paths[number]}: cut short; {size} bytes wanted at {offset}, {len(data)} there")
            data += more
        return np.frombuffer(data, dtype=dtype)
