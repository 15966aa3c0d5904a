"""Sealed directories and atomic files while the disk, the machine or a neighbour fails."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.train.faults import CALLS, DISK_ERRORS, at_most, disk_error, failing_call
from train.errors import BadInput
from train.files import (
    MANIFEST,
    discard,
    found_or_made,
    publishing,
    read_manifest,
    remove_directory,
    verify,
    write_atomic,
)
from train.filesystem import unique_number
from train.hashes import hashed, sha256_file


def publish(final: Path, text: str, replace: bool = False) -> None:
    with publishing(final, {"kind": "test", "says": text}, replace=replace) as aside:
        (aside / "a.txt").write_text(text)
        (aside / "b.bin").write_bytes(text.encode() * 1000)


def says(final: Path) -> str | None:
    """What a whole result says; None where there is none. A part of one fails."""
    if not final.exists():
        return None
    manifest = verify(final)
    assert (final / "a.txt").read_text() == manifest["says"]
    return manifest["says"]


def beside(final: Path) -> list[str]:
    return sorted(path.name for path in final.parent.iterdir() if path != final)


@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("replace", [False, True])
def test_a_call_that_fails_while_publishing_leaves_the_earlier_result_or_the_whole_new_one(tmp_path, error, replace):
    """A failpoint at each system call in turn, until there is none left to fail."""
    final, number, outcomes = tmp_path / "result", 0, set()
    while True:
        number += 1
        if final.exists():
            remove_directory(final)
        if replace:
            publish(final, "old")
        with failing_call(number, disk_error(error)) as made:
            try:
                publish(final, "new", replace)
                failed = False
            except OSError:
                failed = True
        found = says(final)
        outcomes.add((failed, found))
        assert found in ("new", "old" if replace else None)
        assert failed or found == "new"
        assert not beside(final) or (found == "new" and all(name.startswith(".del-") for name in beside(final)))
        if len(made) < number:
            break
    assert number > 12
    assert outcomes >= {(False, "new"), (True, "old" if replace else None)}


DYING = f"""
import builtins, io, os, sys
from pathlib import Path
from train.files import publishing

def install(number, after):
    made = 0
    def wrap(real):
        def call(*args, **keywords):
            nonlocal made
            made += 1
            if made == number and not after:
                os._exit(9)
            result = real(*args, **keywords)
            if made == number:
                os._exit(9)
            return result
        return call
    for name in {CALLS!r}:
        setattr(os, name, wrap(getattr(os, name)))
    io.open = builtins.open = wrap(io.open)

def publish(final, text):
    with publishing(final, {{"kind": "test", "says": text}}, replace=True) as aside:
        (aside / "a.txt").write_text(text)

root, number, done = Path(sys.argv[1]), 0, False
while not done:
    number += 1
    done = True
    for after in (False, True):
        final = root / f"{{number}}-{{after}}" / "result"
        publish(final, "old")
        child = os.fork()
        if not child:
            install(number, after)
            publish(final, "new")
            os._exit(0)
        done = done and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(number)
"""


def test_a_death_at_any_call_while_publishing_leaves_no_half_result(tmp_path):
    """The process ends at once, before or after each call. Only between the two renames is nothing in place."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path)], check=True, capture_output=True, text=True, timeout=300
    )
    assert int(done.stdout) > 10
    outcomes = [says(place / "result") for place in sorted(tmp_path.iterdir())]
    assert {"old", "new"} <= set(outcomes)
    assert outcomes.count(None) <= 2
    for place in tmp_path.iterdir():
        publish(place / "result", "again", replace=True)  # what lies beside does not stand in the way
        assert says(place / "result") == "again"


def test_a_failure_inside_the_block_publishes_nothing(tmp_path):
    final = tmp_path / "result"
    publish(final, "old")

    def interrupted() -> None:
        with publishing(final, replace=True) as aside:
            (aside / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert says(final) == "old"
    assert beside(final) == []


def test_a_hash_taken_before_is_sealed_and_not_taken_again(tmp_path, monkeypatch):
    (tmp_path / "work").write_bytes(b"whole")
    known = {"a.bin": hashed(tmp_path / "work")}
    asked = []
    monkeypatch.setattr("train.files.sha256_file", lambda path: asked.append(path.name) or sha256_file(path))
    with publishing(tmp_path / "out", known=known, adopted={"a.bin": tmp_path / "work"}) as aside:
        (aside / "b.bin").write_bytes(b"other")
    assert asked == ["b.bin"]
    assert set(verify(tmp_path / "out")["files"]) == {"a.bin", "b.bin"}


@pytest.mark.parametrize("text", [b"whole and more", b"other"])
@pytest.mark.parametrize("kind", ["written", "exchanged", "written meanwhile"])
def test_no_hash_is_sealed_of_what_a_file_was_before(tmp_path, monkeypatch, kind, text):
    work = tmp_path / "work"
    work.write_bytes(b"whole")

    def read_then_written(path):
        found = sha256_file(path)
        path.write_bytes(text)
        return found

    with monkeypatch.context() as patched:
        if kind == "written meanwhile":
            patched.setattr("train.files.sha256_file", read_then_written)
        known = {"a.bin": hashed(work)}
    if kind == "written":
        work.write_bytes(text)
    elif kind == "exchanged":
        (tmp_path / "other").write_bytes(text)
        (tmp_path / "other").replace(work)
    with publishing(tmp_path / "out", known=known, adopted={"a.bin": work}):
        pass
    verify(tmp_path / "out")


@pytest.mark.parametrize("error", DISK_ERRORS)
def test_an_adopted_file_is_sealed_or_back_where_it_was_whatever_call_fails(tmp_path, error):
    final, work, number = tmp_path / "result", tmp_path / "work", 0
    while True:
        number += 1
        discard(final)
        work.write_bytes(b"hours of work")
        with failing_call(number, disk_error(error)) as made:
            try:
                with publishing(final, adopted={"a.bin": work}):
                    pass
            except OSError:
                pass
        assert final.exists() != work.exists()
        assert ((final / "a.bin") if final.exists() else work).read_bytes() == b"hours of work"
        if len(made) < number:
            break
    assert number > 8


PUBLISHER = """
import sys, time
from pathlib import Path
from train.errors import BadInput
from train.files import publishing, verify
final, replace, me = Path(sys.argv[1]), sys.argv[2] == "replace", sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(60):
    try:
        with publishing(final, {"says": f"{me}-{turn}"}, replace=replace) as aside:
            (aside / "a.txt").write_text(f"{me}-{turn}")
    except BadInput as failure:
        assert "is already there" in str(failure)
        print("refused", flush=True)
        break
"""


@pytest.mark.parametrize("replace", [True, False])
def test_of_processes_that_publish_one_directory_at_once_none_fails_and_none_is_lost(tmp_path, replace):
    final = tmp_path / "result"
    words = [sys.executable, "-c", PUBLISHER, str(final), "replace" if replace else "once"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ExitStack() as stack:
        publishers = [
            stack.enter_context(subprocess.Popen([*words, str(each)], text=True, **pipes)) for each in range(4)
        ]
        for publisher in publishers:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
        ended = [publisher.communicate(timeout=60) for publisher in publishers]
    assert [(publisher.returncode, error) for publisher, (_, error) in zip(publishers, ended)] == [(0, "")] * 4
    said = verify(final)["says"]
    assert (final / "a.txt").read_text() == said
    assert said.endswith("-59" if replace else "-0")
    assert [output for output, _ in ended].count("refused\n") == (0 if replace else 4)
    assert beside(final) == []


@pytest.mark.parametrize("kind", ["directory", "file", "link", "dangling"])
def test_an_output_directory_in_use_is_refused_before_any_work(tmp_path, kind):
    final = tmp_path / "result"
    if kind == "directory":
        final.mkdir()
    elif kind == "file":
        final.write_text("precious")
    else:
        final.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is already there"):
        publish(final, "new")
    assert beside(final) == []
    publish(final, "new", replace=True)
    assert says(final) == "new"
    assert tmp_path.exists()


def test_a_result_cannot_be_put_below_a_file(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="file"):
        publish(tmp_path / "file" / "result", "new")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("name", ["with blanks", "münchen-漢字-🦆", "line\nbreak", "x" * 255, "ü" * 127])
def test_a_result_may_have_any_name(tmp_path, name):
    publish(tmp_path / name, "old")
    publish(tmp_path / name, "new", replace=True)
    assert says(tmp_path / name) == "new"
    remove_directory(tmp_path / name)
    assert not (tmp_path / name).exists()
    write_atomic(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_leftovers_of_a_dead_process_with_the_same_id_do_no_harm(tmp_path):
    """A process that is started again in its container has the same small number."""
    final = tmp_path / "result"
    publish(final, "old")
    for kind in ("tmp", "del"):
        (tmp_path / f".{kind}-result-{unique_number()}").mkdir()
        (tmp_path / f".{kind}-result-{unique_number()}" / "part").write_text("half")
    publish(final, "new", replace=True)
    assert says(final) == "new"
    (tmp_path / f".del-result-{unique_number()}").mkdir()
    (tmp_path / f".del-result-{unique_number()}" / "part").write_text("half")
    remove_directory(final)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", DISK_ERRORS)
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, error):
    path, number = tmp_path / "file", 0
    while True:
        number += 1
        path.write_bytes(b"old")
        with failing_call(number, disk_error(error)) as made:
            try:
                write_atomic(path, b"new" * 1000)
                failed = False
            except OSError:
                failed = True
        assert path.read_bytes() in ((b"old", b"new" * 1000) if failed else (b"new" * 1000,))
        assert beside(path) == []
        if len(made) < number:
            break
    assert number > 4


def test_a_manifest_is_not_read_through_a_fifo_a_link_or_a_directory(tmp_path):
    publish(tmp_path / "result", "new")
    manifest = tmp_path / "result" / MANIFEST
    manifest.rename(tmp_path / "elsewhere")
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(tmp_path / "elsewhere", path)):
        make(manifest)
        with at_most(10), pytest.raises(BadInput, match="not a regular file"):
            read_manifest(tmp_path / "result")
        manifest.rmdir() if manifest.is_dir() else manifest.unlink()
    with pytest.raises(BadInput, match="not a whole result"):
        read_manifest(tmp_path / "result")


def test_a_result_is_made_once_and_again_when_what_it_depends_on_changes(tmp_path):
    final, made = tmp_path / "result", []

    def make(aside: Path) -> dict[str, int]:
        made.append(aside)
        (aside / "a.txt").write_text(str(len(made)))
        return {"loss": len(made)}

    assert not found_or_made(final, {"kind": "test", "depends": {"b": 1.0, "a": (1, 2)}}, make)
    assert found_or_made(final, {"depends": {"a": [1, 2], "b": 1.0}, "kind": "test"}, make)
    assert not found_or_made(final, {"kind": "test", "depends": {"a": [1, 3], "b": 1.0}}, make)
    assert verify(final)["loss"] == len(made) == 2
    with pytest.raises(BadInput, match="already there"):
        found_or_made(final, {"kind": "other"}, make, replace=False)


def test_a_directory_that_is_not_a_result_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="not a whole result"):
        found_or_made(tmp_path / "mine", {}, lambda aside: None)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
