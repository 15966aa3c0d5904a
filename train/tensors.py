"""Tensors in safetensors files: written as OSErrors say, read without trusting the file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from train.errors import BadInput


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors from any device, in sorted order.

    Raises:
        OSError: they could not be written.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
    try:
        save_file(plain, path, metadata)
    except SafetensorError as failure:  # a full disk among others
        raise OSError(f"{path.name}: {failure}") from None


def tensor_names(path: Path) -> set[str]:
    """Names of the tensors in a file.

    Raises:
        BadInput: not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (SafetensorError, OSError) as failure:
        raise BadInput(f"{path}: not a readable safetensors file ({failure})") from None


def read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """fp32 tensors of a file in sorted order, checked before anything is allocated for them.

    Args:
        shapes: names and shapes that the file must hold, exactly.

    Raises:
        BadInput: not safetensors, other names, shapes or dtypes, or a value that is not finite.
    """
    names = tensor_names(path)
    for name in sorted(names ^ shapes.keys()):
        raise BadInput(f"{path}: tensor '{name}' is {'missing' if name in shapes else 'unknown'}")
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in sorted(names):
                header = file.get_slice(name)
                shape, dtype = tuple(header.get_shape()), header.get_dtype()
                if shape != shapes[name]:
                    raise BadInput(f"{path}: tensor '{name}' is {list(shape)}, its config says {list(shapes[name])}")
                if dtype != "F32":
                    raise BadInput(f"{path}: tensor '{name}' is {dtype}, not F32")
            for name in sorted(names):
                tensors[name] = file.get_tensor(name)
                if not bool(torch.isfinite(tensors[name]).all()):
                    raise BadInput(f"{path}: tensor '{name}' holds a value that is not finite")
    except (SafetensorError, OSError) as failure:
        raise BadInput(f"{path}: not a readable safetensors file ({failure})") from None
    return tensors
