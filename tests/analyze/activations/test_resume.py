import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations.collect import collect_source
from analyze.activations.directory import beside
from analyze.activations.sample import SampleFile
from analyze.activations.settings import CollectSettings
from tests.analyze.activations.collected import LENGTHS, N_CTX, FakeSource, quiet, write_data
from train.data.tokens import TokenFile
from train.errors import BadInput, Stopped
from train.files import MANIFEST, manifest_hash

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")


SMALL = CollectSettings(micro_batch_tokens=4 * N_CTX, chunk_bytes=2 * 6 * 8 * N_CTX)
"""Micro-batches of four rows, chunks of eight."""
collect_in_chunks = partial(collect_source, settings=SMALL)


class Stopping(FakeSource):
    """Sends the process a signal in its `at`-th micro-batch."""

    def __init__(self, at: int, number: int) -> None:
        super().__init__()
        self.at, self.number = at, number

    def activations(self, tokens: torch.Tensor) -> torch.Tensor:
        if len(self.calls) == self.at:
            os.kill(os.getpid(), self.number)
        return super().activations(tokens)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("at", "sample_tokens"), [(0, None), (5, None), (5, 300), (40, 300)])
def test_a_collection_that_a_signal_stopped_goes_on_and_ends_bit_identical(
    tokens: TokenFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    sample_tokens: int | None,
    number: signal.Signals,
) -> None:
    collect_in_chunks(
        FakeSource(), tokens, tmp_path / "a" / "L0.mid", sample_tokens=sample_tokens, say=quiet, settings=SMALL
    )
    out, said = tmp_path / "b" / "L0.mid", list[str]()
    with pytest.raises(Stopped, match=r"stopped with \d+% done; the same command goes on from there") as stopped:
        collect_in_chunks(Stopping(at, number), tokens, out, sample_tokens=sample_tokens, say=quiet)
    assert stopped.value.exit_code == 75
    assert not out.exists()
    rest = FakeSource()
    collect_in_chunks(rest, tokens, out, sample_tokens=sample_tokens, say=said.append)
    assert any("goes on at" in line for line in said)
    assert 0 < len(rest.calls) < -(-tokens.n_rows // 4) * (1 if sample_tokens is None else 2)
    assert [manifest_hash(one) for one in (out, beside(out, "sample"))] == [
        manifest_hash(tmp_path / "a" / name) for name in ("L0.mid", "L0.mid.sample")
    ]
    assert sorted(path.name for path in out.parent.iterdir()) == ["L0.mid", "L0.mid.sample"]


KILLED = """
import os, signal, sys
from pathlib import Path
from analyze.activations.collect import collect_source
from analyze.activations.settings import CollectSettings
from tests.analyze.activations.collected import FakeSource, N_CTX
from train.data.tokens import TokenFile

settings = CollectSettings(
    micro_batch_tokens=4 * N_CTX, chunk_bytes=2 * 6 * 8 * N_CTX, save_seconds=0.0, save_cost=0.0
)
data, out, at, sample = sys.argv[1:]

class Dying(FakeSource):
    def activations(self, tokens):
        if len(self.calls) == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().activations(tokens)

tokens = TokenFile.open(data, "eval")
collect_source(Dying(), tokens, Path(out), sample_tokens=int(sample) or None, settings=settings)
"""


@pytest.mark.parametrize(("at", "sample_tokens"), [(9, 0), (9, 300), (40, 300)])
def test_a_collection_that_was_killed_goes_on_from_its_last_state(
    tokens: TokenFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, sample_tokens: int
) -> None:
    wanted = sample_tokens or None
    out = tmp_path / "b" / "L0.mid"
    arguments = [sys.executable, "-c", KILLED, str(tokens.directory), str(out), str(at), str(sample_tokens)]
    assert subprocess.run(arguments, check=False, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    states = list((out.parent / ".unfinished-L0.mid").glob("state-*"))
    assert states
    said: list[str] = []
    rest = FakeSource()
    collect_in_chunks(rest, tokens, out, sample_tokens=wanted, say=said.append)
    assert any("goes on at" in line for line in said)
    collect_in_chunks(FakeSource(), tokens, tmp_path / "a" / "L0.mid", sample_tokens=wanted, say=quiet)
    assert manifest_hash(out) == manifest_hash(tmp_path / "a" / "L0.mid")
    assert manifest_hash(beside(out, "sample")) == manifest_hash(tmp_path / "a" / "L0.mid.sample")


DYING_AT_THE_END = KILLED.replace(
    "tokens = TokenFile",
    """
import analyze.activations.collect as collect
import train.files
died, real = sys.argv.pop(), train.files.seal

def seal(directory, *rest):
    if directory.name.startswith(".tmp-L0.mid.sample") == (died != "sealing the rest"):
        if not directory.name.startswith(".tmp-state"):
            os.kill(os.getpid(), signal.SIGKILL)
    real(directory, *rest)

train.files.seal = seal
tokens = TokenFile""",
    1,
).replace("out, at, sample = sys.argv[1:]", "out, at, sample = sys.argv[1:5]")


@pytest.mark.parametrize("sample_tokens", [0, 300])
@pytest.mark.parametrize("died", ["sealing the sample", "writing its manifest", "sealing the rest"])
def test_killed_after_the_sample_moved_to_its_place_a_collection_goes_on_with_it(
    tokens: TokenFile, tmp_path: Path, sample_tokens: int, died: str
) -> None:
    out, n_all = tmp_path / "b" / "L0.mid", -(-tokens.n_rows // 4)
    words = [sys.executable, "-c", DYING_AT_THE_END, str(tokens.directory), str(out), "-1", str(sample_tokens), died]
    ended = subprocess.run(words, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("Error")) == (-signal.SIGKILL, 0)
    assert not (out.parent / ".unfinished-L0.mid" / "sample.safetensors").exists()
    assert beside(out, "sample").exists() == (died == "sealing the rest")
    if died == "writing its manifest":  # a power failure can leave it empty
        (aside,) = out.parent.glob(".tmp-L0.mid.sample-*")
        (aside / MANIFEST).touch()
    said: list[str] = []
    rest = FakeSource()
    collect_in_chunks(rest, tokens, out, sample_tokens=sample_tokens or None, say=said.append)
    assert any("goes on at" in line for line in said)
    assert len(rest.calls) < n_all
    collect_in_chunks(FakeSource(), tokens, tmp_path / "a" / "L0.mid", sample_tokens=sample_tokens or None, say=quiet)
    for name in ("L0.mid", "L0.mid.sample"):
        assert manifest_hash(out.parent / name) == manifest_hash(tmp_path / "a" / name)
    assert sorted(path.name for path in out.parent.iterdir()) == ["L0.mid", "L0.mid.sample"]


def stopped_at(tokens: TokenFile, out: Path) -> Path:
    """A collection stopped after a few micro-batches; the directory of what it left."""
    with pytest.raises(Stopped):
        collect_in_chunks(Stopping(5, signal.SIGTERM), tokens, out, say=quiet)
    return out.parent / f".unfinished-{out.name}"


@pytest.mark.parametrize("damage", ["state", "sample", "other"])
def test_a_state_that_is_damaged_or_of_something_else_is_not_used(
    tokens: TokenFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "b" / "L0.mid"
    left = stopped_at(tokens, out)
    if damage == "state":
        path = next(left.glob("state-*")) / "state.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    if damage == "sample":
        (left / "sample.safetensors").unlink()
    source = FakeSource(seed=1) if damage == "other" else FakeSource()
    said: list[str] = []
    collect_in_chunks(source, tokens, out, say=said.append)
    assert not any("goes on at" in line for line in said)
    assert len(source.calls) == -(-tokens.n_rows // 4)
    assert not left.exists()


def test_two_collections_of_one_result_do_not_run_at_once(tokens: TokenFile, tmp_path: Path) -> None:
    data = tokens

    class Meeting(FakeSource):
        def activations(self, tokens: torch.Tensor) -> torch.Tensor:
            with pytest.raises(BadInput, match="another run is writing here"):
                collect_in_chunks(FakeSource(), data, tmp_path / "L0.mid", say=quiet)
            return super().activations(tokens)

    collect_in_chunks(Meeting(), data, tmp_path / "L0.mid", max_tokens=N_CTX, say=quiet)


def test_a_signal_while_the_sample_is_read_back_stops_too(
    tokens: TokenFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SampleFile.read_keys

    def interrupted(self: SampleFile, first: int, stop: int) -> np.ndarray:
        if first == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return read(self, first, stop)

    out = tmp_path / "b" / "L0.mid"
    with monkeypatch.context() as patch:
        patch.setattr(SampleFile, "read_keys", interrupted)
        with pytest.raises(Stopped, match="100% done"):
            collect_source(FakeSource(), tokens, out, say=quiet, settings=replace(SMALL, block_bytes=1))
    rest = FakeSource()
    collect_in_chunks(rest, tokens, out, say=quiet)
    assert rest.calls == []
    collect_in_chunks(FakeSource(), tokens, tmp_path / "a" / "L0.mid", say=quiet)
    assert manifest_hash(out) == manifest_hash(tmp_path / "a" / "L0.mid")
