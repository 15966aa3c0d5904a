"""Hashes of files: taken once a process, and again when a file has been written or exchanged since."""

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_DATED_BACK = 10 * 10**9
"""Nanoseconds; the coarsest file systems keep times to 2 seconds."""
_SETTLED = 2 * 10**9
"""Nanoseconds after which a later write shows in the times of a file."""


def sha256(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Identity = tuple[int, ...]

_known: dict[Identity, str] = {}


def known_sha256(path: Path) -> str:
    """As `sha256_file`, but a process reads a file once.

    It is read again when its bytes, inode, or time of writing or of change are others: a file whose old date was put
    back has a new time of change. A file that was written in the last two seconds is not remembered, since a further
    write might show in none of them.
    """
    status, now = path.stat(), time.time_ns()
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if (digest := _known.get(identity)) is None:
        digest = sha256_file(path)
        if abs(now - status.st_ctime_ns) > _SETTLED:
            _known[identity] = digest
    return digest


@dataclass(frozen=True)
class Hashed:
    """The hash of a file, and which file that is: device, inode, bytes, time of writing (ns)."""

    sha256: str
    identity: Identity

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Hashed":
        """Of a finished file whose hash was taken while it was written."""
        return cls(sha256, _dated_back(path))

    def is_of(self, path: Path) -> bool:
        """Whether `path` is this very file, or a link to it, and nobody has written it since."""
        return self.identity == _identity(path)


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def hashed(path: Path) -> Hashed:
    """Hash a finished file of a directory that is sealed later (see `train.files.publishing`)."""
    identity = _dated_back(path)
    return Hashed(sha256_file(path), identity)


def _dated_back(path: Path) -> Identity:
    """The identity of a finished file, after dating it back, so that every later write shows, even one within the
    clock tick of the last."""
    when = time.time_ns() - _DATED_BACK
    with suppress(OSError):
        os.utime(path, ns=(when, when))
    identity = _identity(path)
    # Of a file system that keeps no such times: the file is hashed anew when it is sealed.
    return () if time.time_ns() - identity[-1] < _SETTLED else identity
