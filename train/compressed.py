"""Bytes of a file, a block at a time, with what `.gz` or `.zst` packed unpacked."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train.errors import BadInput

PACKED = (".gz", ".zst")


def unpacked_name(name: str) -> str:
    """`name` in small letters without its `.gz` or `.zst`, so that its ending says what the file holds."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def is_packed(path: Path) -> bool:
    """Whether the file's name ends in `.gz` or `.zst`."""
    return path.name.lower().endswith(PACKED)


def file_blocks(path: Path, name: str, block_bytes: int) -> Iterator[bytes]:
    """The consecutive blocks of a file, of at most `block_bytes` each; none is empty.

    Args:
        name: what messages call the file.

    Raises:
        BadInput: a packed file that is damaged or cut short.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        while True:
            try:
                block = file.read(block_bytes)
            except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
                raise BadInput(f"{name}: not a whole .gz file ({failure})") from None
            except OSError as failure:
                if failure.strerror is None and is_packed(path):  # pyarrow's, of what it unpacks
                    raise BadInput(f"{name}: not a whole .zst file ({failure})") from None
                raise
            if not block:
                return
            yield block


def _opened(path: Path) -> Any:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rb")
    if path.name.lower().endswith(".zst"):
        import pyarrow  # comes with `datasets`; Python has no zstd before 3.14

        return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
    return path.open("rb")
