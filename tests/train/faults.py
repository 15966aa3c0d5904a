"""Faults for tests to inject: system calls that fail, directories that an attacker has changed and sealed anew."""

import builtins
import errno
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from train.files import MANIFEST, seal

CALLS = ("open", "fsync", "rename", "replace", "mkdir", "chmod", "scandir")


@contextmanager
def failing_call(number: int, action: Callable[[], Any]) -> Iterator[list[str]]:
    """Inside the block the `number`-th file system call does `action` first; yields the names of the calls made."""
    made: list[str] = []

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            made.append(name)
            if len(made) == number:
                action()
            return real(*args, **keywords)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counting(name, getattr(os, name)))
        counted = counting("io.open", io.open)
        patch.setattr(io, "open", counted)
        patch.setattr(builtins, "open", counted)
        yield made


def disk_error(number: int) -> Callable[[], None]:
    """An action that fails as a disk does."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def reseal(directory: Path, **facts: Any) -> None:
    """What an attacker does after a change: a manifest that fits."""
    before = json.loads((directory / MANIFEST).read_bytes())
    before.pop("files")
    (directory / MANIFEST).unlink()
    seal(directory, before | facts)


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None takes one away."""
    values = json.loads(path.read_bytes()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def edit_bytes(path: Path, change: Callable[[bytearray], Any]) -> None:
    """Change a file in place."""
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def raw_safetensors(header: Any, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file with any header, truthful or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail where the block waits, as for a FIFO that nobody writes to."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
