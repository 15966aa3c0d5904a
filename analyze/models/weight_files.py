"""Single tensors out of weight files of any size, by memory map: safetensors and .bin, in one file or in shards."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from train.errors import BadInput
from train.hashes import sha256
from train.tl_legacy.weights import READABLE, read_pickled

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLE = ("model.safetensors", "pytorch_model.bin")


@runtime_checkable
class Weights(Protocol):
    """Tensors by name."""

    def names(self) -> set[str]:
        """What there is."""
        ...

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """One tensor in fp32, its own memory.

        Raises:
            BadInput: not there, of another shape, or of a type that is no float.
        """
        ...


class WeightFiles:
    """The weights of a directory. Nothing but the tensors that are asked for is read.

    Raises:
        BadInput: no weights, or a shard that the index names and that is missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in INDEXES:
            if (directory / name).is_file():
                self._file_of = self._from_index(directory / name)
                return
        for name in WHOLE:
            if (directory / name).is_file():
                self._file_of = dict.fromkeys(_names_in(directory / name), directory / name)
                return
        raise BadInput(f"{directory}: holds no weights ({' or '.join(WHOLE)}, whole or in shards)")

    def _from_index(self, path: Path) -> dict[str, Path]:
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
            files = {str(name): self.directory / str(file) for name, file in listed.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as failure:
            raise BadInput(f"{path}: not an index of shards ({failure})") from None
        for file in sorted(set(files.values())):
            if not file.is_file():
                raise BadInput(f"{file}: missing; {path.name} names it")
        return files

    def names(self) -> set[str]:
        """What there is."""
        return set(self._file_of)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """One tensor in fp32, its own memory."""
        if name not in self._file_of:
            raise BadInput(f"{self.directory}: its weights have no {name!r}")
        file = self._file_of[name]
        with _opened(file) as read:
            value = read(name)
            if tuple(value.shape) != shape:
                raise BadInput(f"{file}: tensor '{name}' is {list(value.shape)}, its config says {list(shape)}")
            if value.dtype not in READABLE:
                raise BadInput(f"{file}: tensor '{name}' is {str(value.dtype).removeprefix('torch.')}, no float type")
            return value.to(torch.float32, copy=True)


@contextmanager
def _opened(file: Path) -> Iterator:
    if file.suffix == ".bin":
        yield read_pickled(file).__getitem__
        return
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors.get_tensor
    except (SafetensorError, OSError) as failure:
        raise BadInput(f"{file}: not a readable safetensors file ({failure})") from None


def _names_in(file: Path) -> set[str]:
    if file.suffix == ".bin":
        return set(read_pickled(file))
    try:
        with safe_open(file, framework="pt") as tensors:
            return set(tensors.keys())
    except (SafetensorError, OSError) as failure:
        raise BadInput(f"{file}: not a readable safetensors file ({failure})") from None


class RandomWeights:
    """Weights at random initialisation, drawn by (seed, name) when they are asked for.

    Args:
        deviations: of a name, its standard deviation; 0: it is all ones.
    """

    def __init__(self, seed: int, deviations: "dict[str, float]") -> None:
        self._seed, self._deviations = seed, deviations

    def names(self) -> set[str]:
        """What there is."""
        return set(self._deviations)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """One tensor."""
        if name not in self._deviations:
            raise BadInput(f"random weights have no {name!r}")
        deviation = self._deviations[name]
        if deviation == 0:
            return torch.ones(shape)
        seed = int(sha256(f"{self._seed}/{name}".encode())[:15], 16)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * deviation
