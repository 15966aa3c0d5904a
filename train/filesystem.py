"""What a file system must be able to do, tried before long work; what is merely nice is done without."""

import errno
import os
import shutil
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from train.errors import BadInput, EnvironmentProblem

_UNSUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
"""What network and FAT file systems say of calls that they do not have."""


def unique_number() -> str:
    """Digits that no other thread on any machine that is alive has, and that are the same at every call."""
    # Not the process's number alone: in containers that share a file system every process has the same.
    return f"{zlib.crc32(os.fsencode(socket.gethostname())):010d}{threading.get_native_id():07d}"


def sync(handle: int, path: Path) -> None:
    """Force an open file to disk. A file system that cannot is no failure: one warning a directory."""
    try:
        os.fsync(handle)
    except OSError as failure:
        if failure.errno not in _UNSUPPORTED:
            raise
        _warn(str(path.parent), str(failure.strerror))


@cache
def _warn(directory: str, reason: str) -> None:
    print(
        f"warning: {directory}: its file system cannot force files to disk ({reason}); a power failure may lose "
        "the newest of them",
        flush=True,
    )


def fsync_path(path: Path) -> None:
    """Force a file or directory to disk; many network file systems do not know how to force a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if path.is_dir():
            with suppress_unsupported():
                os.fsync(handle)
        else:
            sync(handle, path)
    finally:
        os.close(handle)


class suppress_unsupported(suppress):
    """Suppresses an OSError that says that the file system does not have the call."""

    def __init__(self) -> None:
        super().__init__(OSError)

    def __exit__(self, kind: object, failure: object, trace: object) -> bool:
        """Whether the block ended in such an error."""
        return isinstance(failure, OSError) and failure.errno in _UNSUPPORTED


def make_readable(path: Path) -> None:
    """Mode 0644 (safetensors writes 0600), where files have modes of their own."""
    with suppress_unsupported():
        path.chmod(0o644)


def _rename_over(place: Path) -> None:
    for name in ("old", "new"):
        (place / name).write_bytes(name.encode())
    (place / "new").replace(place / "old")
    if (place / "old").read_bytes() != b"new":
        raise OSError(errno.EIO, "the old file is still there")


def _rename_directory(place: Path) -> None:
    (place / "a").mkdir()
    (place / "a" / "file").write_bytes(b"a")
    (place / "a").rename(place / "b")
    if (place / "b" / "file").read_bytes() != b"a":
        raise OSError(errno.EIO, "its file is gone")


def _write_inside(place: Path) -> None:
    handle = os.open(place / "sample", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, 1000)
        os.pwrite(handle, b"inside", 500)
        if os.pread(handle, 6, 500) != b"inside":
            raise OSError(errno.EIO, "other bytes are read back")
    finally:
        os.close(handle)


def _synced(place: Path) -> None:
    (place / "synced").write_bytes(b"synced")
    fsync_path(place / "synced")


_FEATURES: dict[str, Callable[[Path], None]] = {
    "force a file to disk": _synced,
    "rename a file over another": _rename_over,
    "rename a directory": _rename_directory,
    "write in the middle of a file": _write_inside,
}
"""What results are written with. Locks are tried by taking them (`train.files.locked`); links are not needed."""

_tried: set[Path] = set()


def require_features(directory: Path) -> None:
    """Fail early where a result could not be written in `directory` in the end. Tried once a process.

    Raises:
        EnvironmentProblem: names what its file system cannot do, or why it cannot be written.
    """
    if (whole := directory.absolute()) in _tried:
        return
    place = directory / f".tmp-probe-{unique_number()}"
    what = ""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for feature, tried in _FEATURES.items():
            what = feature
            tried(place)
    except OSError as failure:
        lacks = what and failure.errno in {*_UNSUPPORTED, errno.EIO}
        problem = f"its file system cannot {what}" if lacks else "cannot be written"
        how = "; choose a directory on another one" if lacks else ""
        raise EnvironmentProblem(f"{directory}: {problem} ({failure.strerror}){how}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    _tried.add(whole)


def require_file_place(path: Path, option: str) -> None:
    """Refuse, before long work, a place where no file could be written at its end.

    Raises:
        BadInput: a directory, or one in a directory that is not there.
    """
    if path.is_dir():
        raise BadInput(f"{option}: {path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise BadInput(f"{option}: there is no directory {path.parent}")


def free_space(path: Path) -> int:
    """Free bytes of the disk that `path` lies on, or will lie on."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def require_space(directory: Path, n_bytes: int) -> None:
    """Fail early where the disk cannot take `n_bytes` more, or cannot take a result at all.

    Raises:
        EnvironmentProblem: too little free space, or see `require_features`.
    """
    require_features(directory)
    free = shutil.disk_usage(directory).free
    if free < n_bytes:
        raise EnvironmentProblem(f"{directory}: {free / 1e6:.0f} MB free where {n_bytes / 1e6:.0f} MB are needed")
