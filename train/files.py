"""Directories that are whole or not there: written aside, hashed, synced, renamed into place, locked."""

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout, lock_descriptor

from train.errors import BadInput, Damaged, EnvironmentProblem, is_text
from train.filesystem import fsync_path, make_readable, require_features, sync, unique_number
from train.hashes import Hashed, known_sha256, sha256, sha256_file

MANIFEST = "MANIFEST.json"
MAX_MANIFEST_BYTES = 2**26

RECORD = "record.json"
"""A file of this name is verified like any other, but the directory's identity does not cover it: it says what does
not determine the result, such as the commit of the code."""

LOCK = ".lock"
LOCK_SECONDS = 0.5
"""How long a run waits for the lock: `train status` holds it for the instant in which it asks for it."""

_ATTEMPTS = 100
"""How often a result is renamed into place while other processes put theirs there at the same time."""


def read_regular(path: Path, limit: int) -> bytes:
    """Read a file of an untrusted directory: follow no link, wait for no FIFO.

    Raises:
        BadInput: not there, not a regular file, not readable, larger than `limit` bytes.
    """
    try:
        # Checked before opening, since opening alone can wait (a FIFO) or act (a device).
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BadInput(f"{path}: not a regular file")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            data = file.read(limit + 1)
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None
    if len(data) > limit:
        raise BadInput(f"{path}: larger than {limit} bytes")
    return data


def read_json(path: Path, limit: int) -> Any:
    """The JSON in a file of an untrusted directory.

    Raises:
        BadInput: not JSON, or see `read_regular`.
    """
    try:
        return json.loads(read_regular(path, limit))
    except (ValueError, RecursionError) as failure:
        raise BadInput(f"{path}: not valid JSON ({failure})") from None


def canonical_json(value: Any) -> bytes:
    """The one spelling of a value that is hashed: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno(), path)


def _hidden(path: Path, kind: str) -> Path:
    """Where this thread keeps what is not yet (`tmp`) or no longer (`del`) at `path`; no reader looks there."""
    # `path` may have the longest name that the file system allows: this one must not be longer.
    name = os.fsencode(path.name)[:200].decode(errors="ignore")
    return path.with_name(f".{kind}-{name}-{unique_number()}")


def discard(path: Path) -> None:
    """Delete whatever is at `path`, as far as possible; for what no reader looks at."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`: readers see the old file or the new one, never a part."""
    aside = _hidden(path, "tmp")
    try:
        _write_synced(aside, data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    fsync_path(path.parent)


def remove_directory(path: Path) -> None:
    """Delete a directory so that a crash leaves it whole or under a name that nobody reads.

    On network file systems and FUSE a file that somebody has open stays for as long, under that name.
    """
    aside = _hidden(path, "del")
    discard(aside)  # of a dead process of the same number: in a container all have it
    path.rename(aside)
    discard(aside)


def clear_leftovers(final: Path) -> None:
    """Delete what processes that died were writing for `final`; the caller holds its lock, so no other one writes."""
    name = re.escape(_hidden(final, "tmp").name.rpartition("-")[0])
    for path in final.parent.iterdir() if final.parent.is_dir() else ():
        if re.fullmatch(rf"{name}-[0-9]+", path.name):
            discard(path)


@contextmanager
def publishing(
    final: Path,
    facts: dict[str, Any] | None = None,
    replace: bool = False,
    known: Mapping[str, Hashed] | None = None,
    adopted: Mapping[str, Path] | None = None,
) -> Iterator[Path]:
    """Write a directory aside, then seal it and rename it to `final`.

    Inside the block, write plain files into the yielded directory. At its end every file is synced and listed
    with its bytes and sha256 in MANIFEST.json, together with `facts`, and the directory appears at `final` in one
    rename. If anything fails, nothing appears, and what was at `final` before stays as it was. Of several processes
    that publish at the same instant, the last one's result stays.

    Args:
        known: hashes of files by name; a file that was written or exchanged since is hashed anew.
        adopted: large files that are finished elsewhere on the same file system, by the names that they get. They
            move in when the block ends, and back if anything fails after that.

    Raises:
        BadInput: `final` exists and `replace` is false.
    """
    if os.path.lexists(final) and not replace:
        raise _taken(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside, before, adopted = _hidden(final, "tmp"), _hidden(final, "del"), adopted or {}
    discard(aside)
    discard(before)
    aside.mkdir()
    try:
        yield aside
        for name, source in adopted.items():
            source.rename(aside / name)
        seal(aside, facts or {}, known)
        _put(aside, final, before, replace)
    except BaseException:
        if os.path.lexists(before) and not os.path.lexists(final):
            with suppress(OSError):  # another process has just put its result there
                before.rename(final)
        for name, source in adopted.items():
            if (aside / name).exists() and not source.exists():
                (aside / name).rename(source)  # before anything is discarded: it may be all there is
        discard(aside)
        raise
    try:
        fsync_path(final.parent)
    finally:
        discard(before)


def _put(aside: Path, final: Path, before: Path, replace: bool) -> None:
    """Rename `aside` to `final`, and what is there to `before`, whoever else does the same meanwhile."""
    for attempt in range(_ATTEMPTS):
        if replace and os.path.lexists(final):
            discard(before)
            with suppress(FileNotFoundError):
                final.rename(before)
        try:
            aside.rename(final)
            return
        except OSError:
            if not os.path.lexists(final) or attempt == _ATTEMPTS - 1:
                raise
            if not replace:
                raise _taken(final) from None


def _taken(final: Path) -> BadInput:
    return BadInput(f"{final}: is already there; choose another --out or remove it")


def found_or_made(
    final: Path, facts: dict[str, Any], make: Callable[[Path], dict[str, Any] | None], *, replace: bool = True
) -> bool:
    """Keep the sealed directory at `final` where its manifest says `facts`; else make it (see `publishing`).

    Args:
        facts: what the content depends on; JSON.
        make: writes the files into the directory it is given; may return further facts for the manifest.
        replace: whether a directory that says other facts gives way.

    Returns:
        Whether it was there.

    Raises:
        BadInput: something that is not a sealed directory is at `final`, a damaged one, or, without `replace`, one of
            other facts.
    """
    if os.path.lexists(final):
        there = read_manifest(final)
        if canonical_json({key: there.get(key) for key in facts}) == canonical_json(facts):
            verify(final)
            return True
    require_features(final.parent)
    manifest = dict(facts)
    with publishing(final, manifest, replace) as aside:
        manifest |= make(aside) or {}
    return False


def seal(directory: Path, facts: dict[str, Any], known: Mapping[str, Hashed] | None = None) -> None:
    """Sync every file of a flat directory and write its MANIFEST.json: `facts`, and bytes and sha256 of each file."""
    files: dict[str, dict[str, Any]] = {}
    known = known or {}
    for path in sorted(directory.iterdir()):
        if path.name == MANIFEST:
            continue
        make_readable(path)
        fsync_path(path)
        earlier = known.get(path.name)
        digest = earlier.sha256 if earlier is not None and earlier.is_of(path) else sha256_file(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    _write_synced(directory / MANIFEST, _manifest_bytes({**facts, "files": files}))
    fsync_path(directory)


def _manifest_bytes(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def read_manifest(directory: Path) -> dict[str, Any]:
    """The MANIFEST.json of a sealed directory.

    Raises:
        BadInput: it is missing or is not a manifest.
    """
    path = directory / MANIFEST
    if not os.path.lexists(directory):
        raise BadInput(f"{directory}: no such directory")
    if not os.path.lexists(path):
        raise BadInput(f"{path}: not there; {directory} is not a whole result")
    manifest = read_json(path, MAX_MANIFEST_BYTES)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BadInput(f"{path}: key 'files' is missing")
    for name, facts in manifest["files"].items():
        if not isinstance(facts, dict) or [type(facts.get(key)) for key in ("bytes", "sha256")] != [int, str]:
            raise BadInput(f"{path}: files.{name} does not say its bytes and sha256")
    return manifest


def verify(directory: Path) -> dict[str, Any]:
    """Check that a sealed directory holds exactly the regular files that its manifest names, unchanged.

    A process hashes a file once (see `train.hashes.known_sha256`): call it wherever a directory is read.

    Returns:
        The manifest.

    Raises:
        Damaged: a file is missing, extra, a link, of another size or of another hash.
    """
    manifest = read_manifest(directory)
    check_listing(directory, manifest)
    for name, facts in sorted(manifest["files"].items()):
        _check_hash(directory / name, facts)
    return manifest


def verify_file(path: Path) -> None:
    """As `verify`, of one file of a sealed directory: for large files, when they are read.

    Raises:
        Damaged: it is not in the manifest beside it, or is not the file that the manifest names.
    """
    facts = read_manifest(path.parent)["files"].get(path.name)
    if facts is None:
        raise Damaged(f"{path}: not named in its manifest")
    _check_size(path, facts)
    _check_hash(path, facts)


def _check_hash(path: Path, facts: dict[str, Any]) -> None:
    try:
        found = known_sha256(path)
    except OSError as failure:
        raise Damaged(f"{path}: cannot be read ({failure.strerror})") from None
    if found != facts["sha256"]:
        raise Damaged(
            f"{path}: content does not match its hash in the manifest (tampered or damaged); restore {path.parent}, or "
            "remove it and make it again"
        )


def _check_size(path: Path, facts: dict[str, Any]) -> None:
    if path.is_symlink() or not path.is_file():
        raise Damaged(f"{path}: not a regular file")
    if path.stat().st_size != facts["bytes"]:
        raise Damaged(f"{path}: {path.stat().st_size} bytes where the manifest says {facts['bytes']}")


def check_listing(directory: Path, manifest: dict[str, Any]) -> None:
    """Check the names, kinds and sizes of a directory's files against its manifest, without reading them.

    Raises:
        Damaged: a file missing, extra, not regular or of another size.
    """
    named: dict[str, Any] = manifest["files"]
    with os.scandir(directory) as entries:
        present = {entry.name for entry in entries} - {MANIFEST}
    for name in sorted(set(named) ^ present):
        raise Damaged(f"{directory / name}: {'missing' if name in named else 'not named in its manifest'}")
    for name, facts in sorted(named.items()):
        _check_size(directory / name, facts)


def manifest_hash(directory: Path) -> str:
    """The identity of a sealed directory: the sha256 of its MANIFEST.json, without the entry of a RECORD.

    Raises:
        BadInput: see `read_manifest`.
    """
    manifest = read_manifest(directory)
    data = read_regular(directory / MANIFEST, MAX_MANIFEST_BYTES)
    return sha256(data if manifest["files"].pop(RECORD, None) is None else _manifest_bytes(manifest))


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the kernel lock of a run's directory; it dies with the process, so it cannot go stale.

    Raises:
        BadInput: another process holds it, a file is in the directory's place, or its name is not text.
        EnvironmentProblem: the directory cannot be made, written or locked, or its file system lacks what results
            need (`train.filesystem.require_features`).
    """
    if not is_text(str(directory)):
        raise BadInput(f"{directory}: its name is not UTF-8 text; choose another --out")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput(f"{directory}: is taken by a file; choose another --out") from None
    except OSError as failure:
        raise EnvironmentProblem(f"{directory}: cannot be written ({failure.strerror})") from None
    lock = FileLock(directory / LOCK, LOCK_SECONDS, mode=0o644, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise BadInput(f"{directory}: another run is writing here; wait for it or choose another --out") from None
    except OSError as failure:
        what = "written" if failure.filename else "locked"
        raise EnvironmentProblem(f"{directory}: cannot be {what} ({failure.strerror})") from None
    try:
        require_features(directory)
        yield
    finally:
        lock.release()
        # Whoever deleted all that is in it may not have been able to delete the lock, which was open.
        with suppress(OSError):
            directory.rmdir()


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock of a run's directory; needs no right to write there."""
    try:
        handle = os.open(directory / LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False  # a run makes its lock before anything else
    try:
        return not lock_descriptor(handle, blocking=False)
    except OSError:
        return True
    finally:
        os.close(handle)
