"""Activations of every neuron on a sample of tokens: in memory, or as bf16 blocks of neurons in one file."""

import json
import os
import struct
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from analyze.activations.bf16_keys import transposed_keys
from train.errors import BadInput
from train.files import verify_file
from train.filesystem import sync

BLOCK = 256
"""Neurons of a block: `block.000` has neurons 0 to 255 as a contiguous [t, 256] tensor, and so on."""

SAMPLE_FILE = "sample.safetensors"


@runtime_checkable
class Sample(Protocol):
    """Activations of every neuron on the sampled tokens, readable by neurons or by tokens."""

    def read(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Neurons first..stop on all tokens: a float32 copy."""
        ...

    def read_tokens(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """All neurons on tokens first..stop: a float32 copy."""
        ...


class MemorySample:
    """A sample in memory, [t, n]: planted neurons, rotations, tests."""

    def __init__(self, values: Float[Tensor, "t n"]) -> None:
        self.values = values

    def read(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Neurons first..stop: a float32 copy."""
        return self.values[:, first:stop].to(torch.float32, copy=True)

    def read_tokens(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Tokens first..stop: a float32 copy."""
        return self.values[first:stop].to(torch.float32, copy=True)


def blocks(n_neurons: int) -> list[tuple[int, int]]:
    """(first, stop) of each block of neurons: [(0, 256), (256, 512), ...]; the last may be narrower."""
    return [(first, min(first + BLOCK, n_neurons)) for first in range(0, n_neurons, BLOCK)]


class SampleWriter:
    """Fills a safetensors file token by token: the header first, then each block at its offset.

    `safetensors` itself writes only whole tensors, and a sample of a wide layer is larger than memory.

    Args:
        written: tokens that an earlier writer left in the file; the next ones follow them.
    """

    def __init__(self, path: Path, n_tokens: int, n_neurons: int, written: int = 0) -> None:
        self.path, self.n_tokens, self.written = path, n_tokens, written
        self.blocks = blocks(n_neurons)
        header: dict[str, dict[str, object]] = {}
        self._starts: list[int] = []
        end = 0
        for index, (first, stop) in enumerate(self.blocks):
            start, end = end, end + 2 * n_tokens * (stop - first)
            self._starts.append(start)
            shape = [n_tokens, stop - first]
            header[f"block.{index:03d}"] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
        self._data = 8 + len(text)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | (0 if written else os.O_TRUNC), 0o644)
        os.pwrite(self._handle, struct.pack("<Q", len(text)) + text, 0)
        os.ftruncate(self._handle, self._data + end)

    def append(self, activations: Float[Tensor, "t n"]) -> None:
        """Write the next tokens to every block, in bf16."""
        low = activations.to(torch.bfloat16)
        for (first, stop), start in zip(self.blocks, self._starts):
            block = low[:, first:stop].contiguous().view(torch.int16).numpy()
            offset = self._data + start + 2 * self.written * (stop - first)
            rest = memoryview(block.data).cast("B")
            while rest:
                count = os.pwrite(self._handle, rest, offset)
                rest, offset = rest[count:], offset + count
        self.written += len(low)

    def sync(self) -> None:
        """Force all that was written to the disk."""
        sync(self._handle, self.path)

    def __enter__(self) -> "SampleWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file; RuntimeError if it has fewer tokens than its header says."""
        os.close(self._handle)
        if kind is None and self.written != self.n_tokens:
            raise RuntimeError(f"{self.written} rows written into a sample of {self.n_tokens}")


class SampleFile:
    """A sample on disk, where a block is one contiguous read.

    Args:
        sealed: whether its directory is sealed; then a process hashes the file before it reads a part of it.
    """

    def __init__(self, path: Path, n_tokens: int, n_neurons: int, sealed: bool = False) -> None:
        self.path, self.n_tokens, self.n_neurons, self.sealed = path, n_tokens, n_neurons, sealed

    def read(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Neurons first..stop, float32.

        Raises:
            BadInput: the sample has been deleted or does not fit.
        """
        return self._read((0, self.n_tokens), (first, stop))

    def read_tokens(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Tokens first..stop, float32.

        Raises:
            BadInput: the sample has been deleted or does not fit.
        """
        return self._read((first, stop), (0, self.n_neurons))

    def read_keys(self, first: int, stop: int) -> Int16[np.ndarray, "n t"]:
        """Sort keys (bf16_keys.py) of neurons first..stop of one block, a row for each neuron.

        Raises:
            BadInput: the sample has been deleted or does not fit.
        """
        begin = first // BLOCK * BLOCK
        width = min(BLOCK, self.n_neurons - begin)
        if self.sealed:
            verify_file(self.path)
        try:
            with self.path.open("rb") as file:
                offset = 8 + struct.unpack("<Q", file.read(8))[0]
                if offset + 2 * self.n_tokens * self.n_neurons != self.path.stat().st_size:
                    raise BadInput(f"{self.path}: of another size than its collection; collect again")
                offset += 2 * self.n_tokens * begin

                def bits(low: int, high: int) -> Int16[np.ndarray, "t n"]:
                    data = os.pread(file.fileno(), 2 * (high - low) * width, offset + 2 * low * width)
                    rows = np.frombuffer(data, dtype="<i2").reshape(high - low, width)
                    return rows[:, first - begin : stop - begin]

                return transposed_keys(bits, self.n_tokens, stop - first)
        except (OSError, struct.error) as failure:
            raise BadInput(f"{self.path}: {failure}; collect again") from None

    def _read(self, tokens: tuple[int, int], neurons: tuple[int, int]) -> Tensor:
        from safetensors import SafetensorError, safe_open

        if not self.path.is_file():
            raise BadInput(f"{self.path}: the sample has been deleted; collect again")
        if self.sealed:
            verify_file(self.path)
        out = torch.empty(tokens[1] - tokens[0], neurons[1] - neurons[0])
        try:
            with safe_open(self.path, "pt") as file:
                for index, (begin, end) in enumerate(blocks(self.n_neurons)):
                    low, high = max(begin, neurons[0]), min(end, neurons[1])
                    if low >= high:
                        continue
                    block = file.get_slice(f"block.{index:03d}")
                    if block.get_shape() != [self.n_tokens, end - begin]:
                        raise BadInput(f"{self.path}: block.{index:03d} is {block.get_shape()}; collect again")
                    values = block[tokens[0] : tokens[1], low - begin : high - begin]
                    out[:, low - neurons[0] : high - neurons[0]] = values
        except (SafetensorError, OSError) as failure:
            raise BadInput(f"{self.path}: {failure}; collect again") from None
        return out
