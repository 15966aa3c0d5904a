"""Directories that are whole or not there: written aside, hashed, synced, renamed into place, locked."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from train.errors import BadInput, EnvironmentProblem

MANIFEST = "MANIFEST.json"


def sha256(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """One spelling for one value (sorted keys, no spaces, no NaN), fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def fsync_path(path: Path) -> None:
    """Force a file or directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: readers see the old file or the new one, never a part."""
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    fsync_path(path.parent)


def remove_directory(path: Path) -> None:
    """Delete a directory so that a crash leaves it whole or under a name that nobody reads."""
    aside = path.with_name(f".del-{path.name}-{os.getpid()}")
    path.rename(aside)
    shutil.rmtree(aside)


@contextmanager
def publishing(final: Path, facts: dict[str, Any] | None = None, replace: bool = False) -> Iterator[Path]:
    """Write a directory aside, then seal it and rename it to `final`.

    Inside the block, write plain files into the yielded directory. On leaving, every file is synced and
    listed with its bytes and sha256 in MANIFEST.json beside `facts`, and the directory appears at `final`
    in one rename. If the block raises, nothing appears.

    Raises:
        BadInput: `final` exists and `replace` is false.
    """
    if final.exists() and not replace:
        raise BadInput(f"{final}: is already there; choose another --out or remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".tmp-{final.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        seal(aside, facts or {})
        if final.exists():
            remove_directory(final)
        aside.rename(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    fsync_path(final.parent)


def seal(directory: Path, facts: dict[str, Any]) -> None:
    """Sync every file of a flat directory and write its MANIFEST.json (bytes and sha256 of each, `facts`)."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(directory.iterdir()):
        if path.name == MANIFEST:
            continue
        path.chmod(0o644)
        fsync_path(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    body = json.dumps({**facts, "files": files}, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with (directory / MANIFEST).open("w") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fsync_path(directory)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The MANIFEST.json of a sealed directory.

    Raises:
        BadInput: it is missing or is not a manifest.
    """
    path = directory / MANIFEST
    try:
        if path.stat().st_size > 2**26:
            raise BadInput(f"{path}: larger than 64 MiB, which no manifest is")
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{path}: not there; {directory} is not a whole result") from None
    except (ValueError, RecursionError) as failure:
        raise BadInput(f"{path}: not valid JSON ({failure})") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BadInput(f"{path}: key 'files' is missing")
    return manifest


def verify(directory: Path) -> dict[str, Any]:
    """Check that a sealed directory holds exactly the regular files its manifest names, unchanged.

    Returns:
        The manifest.

    Raises:
        BadInput: a file is missing, extra, a link, of another size or of another hash.
    """
    manifest = read_manifest(directory)
    named: dict[str, Any] = manifest["files"]
    present = {entry.name for entry in os.scandir(directory)} - {MANIFEST}
    for name in sorted(set(named) ^ present):
        raise BadInput(f"{directory / name}: {'missing' if name in named else 'not named in its manifest'}")
    for name, facts in sorted(named.items()):
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise BadInput(f"{path}: not a regular file")
        if path.stat().st_size != facts["bytes"]:
            raise BadInput(f"{path}: {path.stat().st_size} bytes where the manifest says {facts['bytes']}")
        if sha256_file(path) != facts["sha256"]:
            raise BadInput(f"{path}: content does not match its hash in the manifest (tampered or damaged)")
    return manifest


def manifest_hash(directory: Path) -> str:
    """The identity of a sealed directory: the sha256 of its MANIFEST.json."""
    return sha256_file(directory / MANIFEST)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the kernel lock of a run's directory; it dies with the process, so it cannot go stale.

    Raises:
        BadInput: another process holds it.
        EnvironmentProblem: the directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as failure:
        raise EnvironmentProblem(f"{directory}: cannot be written ({failure.strerror})") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(f"{directory}: another run is writing here; wait for it or choose another --out") from None
        yield
    finally:
        os.close(handle)


def require_space(directory: Path, n_bytes: int) -> None:
    """Fail early when the disk cannot take `n_bytes` more.

    Raises:
        EnvironmentProblem: too little free space.
    """
    free = shutil.disk_usage(directory).free
    if free < n_bytes:
        raise EnvironmentProblem(f"{directory}: {free / 1e6:.0f} MB free where {n_bytes / 1e6:.0f} MB are needed")
