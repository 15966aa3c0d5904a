"""wandb may fail in any way at any call: the run, its files and its exit code are those of a run without it."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from types import ModuleType

import pytest

from tests.train.fixtures import small_run
from tests.train.test_training_run import command, losses, write_config
from train.checkpoint import load, step_directory, steps
from train.errors import Diverged, Stopped
from train.training_run import run

CALLS = ("init", "log", "finish")


class FakeWandb(ModuleType):
    """A wandb whose `fails` raises, leaves, or hangs until `released`; it counts the calls of the others."""

    def __init__(self, fails: str = "", failure: BaseException | None = None):
        super().__init__("wandb")
        self.fails, self.failure = fails, failure
        self.made: dict[str, int] = dict.fromkeys(CALLS, 0)
        self.released = threading.Event()
        self.stdout = None
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.ids: list[str] = []
        self.resumed, self.step = False, 0

    def Settings(self, **settings: object) -> dict[str, object]:
        return settings

    def _call(self, name: str) -> None:
        self.made[name] += 1
        if name == self.fails:
            if self.failure is None:
                assert self.released.wait(60)
            else:
                raise self.failure

    def init(self, settings: dict[str, object], **words: object) -> "FakeWandb":
        if settings.get("console") != "off":
            self.stdout, sys.stdout = sys.stdout, sys.stderr  # wandb wraps both, and takes them back when it finishes
        self._call("init")
        self.ids.append(str(words["id"]))
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        self._call("log")
        self.lines.append((step, numbers))

    def finish(self) -> None:
        self._call("finish")
        if self.stdout is not None:
            sys.stdout = self.stdout


FAILURES = [
    OSError("no network"),
    RuntimeError("two\nlines"),
    SystemExit(0),
    SystemExit(7),
    KeyboardInterrupt(),
    GeneratorExit(),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("fails", CALLS)
def test_whatever_wandb_raises_is_one_warning_and_changes_no_file(
    finished, data, tmp_path, monkeypatch, capsys, fails, failure
):
    wandb = FakeWandb(fails, failure)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    stdout, out = sys.stdout, tmp_path / "gelu-s0"
    outcome = run(small_run(data, train__wandb="online"), out)
    assert wandb.made[fails] == 1
    assert sys.stdout is stdout
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: wandb did not") or warnings[0].startswith("warning: wandb stopped")
    assert outcome.checkpoint.hash == load(finished).hash
    assert losses(out) == losses(finished)
    assert {path.name for path in out.iterdir()} - {"wandb"} == {path.name for path in finished.iterdir()}


def test_a_wandb_that_works_gets_every_line_and_is_finished(data, tmp_path, monkeypatch, capsys):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    out = run(small_run(data, train__wandb="offline"), tmp_path / "gelu-s0").directory
    assert wandb.made == {"init": 1, "log": len(losses(out)), "finish": 1}
    assert "warning" not in capsys.readouterr().out


def test_a_wandb_that_is_not_installed_or_broken_is_one_warning(finished, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)  # import raises
    run(small_run(data, train__wandb="online"), tmp_path / "none" / "gelu-s0")
    monkeypatch.delitem(sys.modules, "wandb")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "wandb.py").write_text("raise SystemExit('a broken wheel')\n")
    monkeypatch.syspath_prepend(tmp_path / "broken")
    run(small_run(data, train__wandb="online"), tmp_path / "broken" / "gelu-s0")
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert [warning.split("(")[0] for warning in warnings] == ["warning: wandb did not start "] * 2
    for out in (tmp_path / "none" / "gelu-s0", tmp_path / "broken" / "gelu-s0"):
        assert load(out).hash == load(finished).hash
        assert (out / "README.md").exists()


@pytest.mark.parametrize("fails", CALLS)
def test_a_wandb_that_hangs_is_left_and_changes_nothing_when_it_wakes(
    finished, data, tmp_path, monkeypatch, capsys, fails
):
    monkeypatch.setattr("train.tracking.CALL_SECONDS", 0.3)
    monkeypatch.setattr("train.tracking.FINISH_SECONDS", 0.3)
    wandb, before = FakeWandb(fails), set(threading.enumerate())
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    stdout = sys.stdout
    out = run(small_run(data, train__wandb="online"), tmp_path / "gelu-s0").directory
    assert capsys.readouterr().out.count("warning: wandb") == 1
    assert load(out).hash == load(finished).hash
    with monkeypatch.context() as later:
        later.setattr(sys, "stdout", sys.stderr)  # whatever stands there by then
        wandb.released.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
        assert sys.stdout is sys.stderr
    assert sys.stdout is stdout


@pytest.mark.parametrize("failure", [SystemExit(0), OSError("gone"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("error", [Diverged("loss nan"), Stopped("start again to go on")], ids=repr)
def test_a_failing_finish_hides_no_exit_code(data, tmp_path, monkeypatch, train_command, error, failure):
    def stops(training: object) -> None:
        raise error

    monkeypatch.setattr("train.training_run.train", stops)
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb("finish", failure))
    config = write_config(data, tmp_path / "run.toml", train__wandb="online")
    said = train_command("run", config, "--out", tmp_path / "gelu-s0")
    assert said.is_refusal(error.exit_code, str(error))


@pytest.mark.slow
def test_the_real_wandb_without_a_key_is_one_warning_and_exit_0(finished, data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml", train__wandb="online"), tmp_path / "gelu-s0"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        command(config, out),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        env={**clean, "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: wandb did not start") == 1
    assert load(out).hash == load(finished).hash
    assert (out / "README.md").exists()
    assert steps(out) == steps(finished)


def cut_back(out: Path, step: int) -> None:
    """Make a finished run one that was killed after its checkpoint of `step`."""
    for later in steps(out):
        if later > step:
            rmtree(step_directory(out, later))


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_run_that_goes_on_is_the_same_run_in_wandb_and_lacks_no_line(data, tmp_path, monkeypatch, mode):
    first, second, out = FakeWandb(), FakeWandb(), tmp_path / "gelu-s0"
    monkeypatch.setitem(sys.modules, "wandb", first)
    run(small_run(data, train__wandb=mode), out)
    cut_back(out, 8)
    # A server that got what there was up to step 10; offline, wandb begins a file of its own.
    second.resumed, second.step = (True, 11) if mode == "online" else (False, 0)
    monkeypatch.setitem(sys.modules, "wandb", second)
    run(small_run(data, train__wandb=mode), out)
    assert first.ids == second.ids
    assert len(first.ids[0]) == 16
    sent = [(step, {key: value for key, value in numbers.items() if "loss" in key}) for step, numbers in second.lines]
    whole = [(step, {key: value for key, value in numbers.items() if "loss" in key}) for step, numbers in first.lines]
    assert sent == [(step, numbers) for step, numbers in whole if step >= second.step]
    assert sent


def test_every_number_of_a_line_is_mirrored_by_the_path_of_its_keys(data, tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run(small_run(data, train__wandb="offline"), tmp_path / "gelu-s0")
    names = {name for _, numbers in wandb.lines for name in numbers}
    assert {"train/loss", "train/norms/layers.0.mlp/update", "train/memory_bytes"} < names
    assert {"eval/loss", "eval/dead/layers.0/share"} < names


@pytest.mark.slow
def test_the_real_wandb_offline_holds_the_whole_run_in_its_last_file(data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml", train__wandb="offline"), tmp_path / "gelu-s0"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    for start in range(2):
        done = subprocess.run(
            command(config, out),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env={**clean, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stdout
        if start == 0:
            cut_back(out, 8)
    files = sorted((out / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert len({path.name for path in files}) == 1
    assert files[0].stem == f"run-{(out / 'wandb' / 'run-id').read_text()}"
    assert logged(files[0]) == logged(files[1]) == set(range(21))


def logged(path: Path) -> set[int]:
    """The steps of which a .wandb file holds numbers."""
    from wandb.proto import wandb_internal_pb2

    found = set()
    for data in log_records(path.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            found.add(record.history.step.num)
    return found


def log_records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, which begins 7 bytes into its first block."""
    at, parts = 0, b""
    while at + 7 <= len(data):
        left = 2**15 - (at + 7) % 2**15
        if left < 7:
            at += left
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""
