"""Tokenizing in shards: the same ids for any number of them, of processes and of kills; a damaged one is one line."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.commands import Command
from tests.train.data.test_prepare import config, jsonl, stories, texts_of
from train.data import packing
from train.data import prepare as module
from train.data.corpora import Limits
from train.data.prepare import prepare
from train.data.spool import Spool
from train.data.tokens import TokenFile
from train.errors import BadInput, Damaged

N = 600
SMALL = Limits(shard_chars=8_000, batch_chars=1_000)


@pytest.fixture
def wanted(tmp_path: Path) -> Any:
    return config(jsonl(tmp_path / "a.jsonl", stories(N)))


def stream(directory: Path, split: str) -> np.ndarray:
    tokens = TokenFile.open(directory, split)
    return tokens.stream(0, tokens.n_tokens)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def encoded_numbers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first offset of every shard that is encoded from now on, in this process."""
    real, seen = packing.encode, []

    def noted(documents: Any, *words: Any, **named: Any) -> Any:
        seen.append(int(documents.offset[0]))
        return real(documents, *words, **named)

    monkeypatch.setattr(packing, "encode", noted)
    return seen


def test_shards_hold_the_ids_of_one_file_and_are_read_as_one(wanted: Any, tmp_path: Path) -> None:
    whole = prepare(wanted, tmp_path / "whole")
    several = prepare(wanted, tmp_path / "several", limits=SMALL, jobs=1)
    assert "shards" not in whole.facts
    assert (whole.facts["format_version"], several.facts["format_version"]) == (1, 2)
    counts = several.facts["shards"]["fit"]
    assert len(counts) > 5
    assert (
        several.facts["n_tokens"]
        == whole.facts["n_tokens"]
        == {s: sum(several.facts["shards"][s]) for s in ("fit", "eval")}
    )
    assert texts_of(several) == texts_of(whole)
    for split in ("fit", "eval"):
        one, other = (TokenFile.open(each.directory, split) for each in (whole, several))
        assert torch.equal(one.plain_rows(0, one.n_rows), other.plain_rows(0, other.n_rows))
        assert torch.equal(one.rows(7, 3, 50), other.rows(7, 3, 50))
        assert (one.document_of_rows(0, one.n_rows) == other.document_of_rows(0, one.n_rows)).all()
        across = counts[0] - 3
        assert (one.stream(across, 6) == other.stream(across, 6)).all() if split == "fit" else True
    assert (whole.directory / "documents.parquet").read_bytes() == (
        several.directory / "documents.parquet"
    ).read_bytes()
    assert sorted(name for name in files(several.directory) if "fit" in name)[0] == "tokens-fit-000000.bin"
    assert prepare(wanted, several.directory).found


@pytest.mark.parametrize("budget", [None, 5_000])
def test_the_number_of_processes_changes_no_byte(wanted: Any, tmp_path: Path, budget: int | None) -> None:
    wanted = wanted.model_copy(update={"tokens": budget})
    alone = prepare(wanted, tmp_path / "1", limits=SMALL, jobs=1)
    several = prepare(wanted, tmp_path / "3", limits=SMALL, jobs=3)
    assert files(alone.directory) == files(several.directory)
    assert not list(tmp_path.glob(".preparing*"))


def test_a_budget_ends_at_the_same_document_in_any_shards(wanted: Any, tmp_path: Path) -> None:
    wanted = wanted.model_copy(update={"tokens": 5_000})
    whole = prepare(wanted, tmp_path / "whole")
    for number, chars in enumerate((3_000, 8_000, 20_000)):
        several = prepare(wanted, tmp_path / str(number), limits=Limits(shard_chars=chars), jobs=1)
        assert several.facts["n_tokens"] == whole.facts["n_tokens"]
        for split in ("fit", "eval"):
            assert (stream(several.directory, split) == stream(whole.directory, split)).all()


PROGRAM = """
import sys, time
from pathlib import Path
from train.configfile import load_config
from train.data import packing
from train.data.config import DataConfig
from train.data.document import Limits
from train.data.prepare import prepare
from train.data.unfinished import Unfinished

real = Unfinished.finish

def slow(*words):
    shard = real(*words)
    time.sleep(0.2)
    return shard

Unfinished.finish = slow
limits = Limits(shard_chars=8_000, batch_chars=1_000)
prepare(load_config(DataConfig, sys.argv[1]), sys.argv[2], limits=limits, jobs=int(sys.argv[3]))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_killed_while_it_tokenizes_is_gone_on_from_to_the_same_bytes(
    wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    whole = prepare(wanted, tmp_path / "whole", limits=SMALL, jobs=1)
    recipe, work = whole.directory / "data.toml", tmp_path / ".preparing-killed"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(recipe), str(tmp_path / "killed"), str(jobs)])
    while process.poll() is None and len(list(work.glob("0*.json"))) < 3:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    finished = len(list(work.glob("0*.json")))
    encoded, read = encoded_numbers(monkeypatch), []
    monkeypatch.setattr(module, "_read", lambda *_: read.append("again"))
    monkeypatch.setattr(packing, "train_tokenizer", lambda *_: pytest.fail("fitted again"))
    resumed = prepare(wanted, tmp_path / "killed", limits=SMALL, jobs=1)
    assert not read
    assert 3 <= finished == resumed.n_resumed == len(whole.facts["shards"]["fit"]) - len(encoded)
    assert f"  {finished} finished shards of an earlier start were taken" in resumed.notes()
    assert files(resumed.directory) == files(whole.directory)
    assert not work.exists()


@pytest.fixture
def stopped(wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a preparation of tmp_path/out leaves that was interrupted after four shards."""
    with monkeypatch.context() as patch:
        real, left = packing.encode, [4]

        def interrupted(*words: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*words, **named)

        patch.setattr(packing, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    return tmp_path / ".preparing-out"


@pytest.mark.parametrize("what", ["fit", "eval", "lengths"])
@pytest.mark.parametrize("damage", ["a bit", "gone"])
def test_a_finished_shard_that_does_not_match_its_hash_is_one_line_that_says_what_to_do(
    wanted: Any, stopped: Path, tmp_path: Path, what: str, damage: str
) -> None:
    path = stopped / f"000002-{what}"
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Damaged, match=rf"000002-{what}: this shard does not match its hash; remove .*000002\.json and"):
        prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    (stopped / "000002.json").unlink()
    made = prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    assert made.n_resumed == 3
    assert files(made.directory) == files(prepare(wanted, tmp_path / "whole", limits=SMALL, jobs=1).directory)


@pytest.mark.parametrize("name", ["texts", "documents.parquet", "tokenizer.json"])
def test_what_was_read_or_fitted_and_is_damaged_is_one_line(
    wanted: Any, stopped: Path, tmp_path: Path, name: str
) -> None:
    path = stopped / name
    data = path.read_bytes()
    at = len(data) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    for record in stopped.glob("0*.json"):
        record.unlink()  # so that every text is read again
    with pytest.raises(Damaged, match=rf"{name}: .*; remove .*\.preparing-out and prepare again"):
        prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)


@pytest.mark.parametrize("change", ["config", "text", "shards"])
def test_other_inputs_begin_anew(
    wanted: Any, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    limits = SMALL
    if change == "config":
        wanted = wanted.model_copy(update={"d_vocab": 290})
    elif change == "text":
        jsonl(tmp_path / "a.jsonl", stories(N, "tale"))
    else:
        limits = Limits(shard_chars=9_000)
    encoded = encoded_numbers(monkeypatch)
    made = prepare(wanted, tmp_path / "out", limits=limits, jobs=1)
    assert (made.n_resumed, len(encoded)) == (0, len(made.facts["shards"]["fit"]))
    assert files(made.directory) == files(prepare(wanted, tmp_path / "whole", limits=limits, jobs=1).directory)


def test_a_preparation_that_runs_is_not_disturbed_by_another(wanted: Any, stopped: Path, tmp_path: Path) -> None:
    from train.files import locked

    with locked(stopped), pytest.raises(BadInput, match=r"\.preparing-out: another run is writing here; wait for it"):
        prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    assert prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1).n_resumed == 4


def test_a_shard_changed_after_it_was_sealed_is_named(wanted: Any, tmp_path: Path) -> None:
    made = prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    tokens, path = TokenFile.open(made.directory), made.directory / "tokens-fit-000003.bin"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"tokens-fit-000003\.bin: content does not match its hash"):
        TokenFile.open(made.directory)
    with pytest.raises(BadInput, match=r"tokens-fit-000003\.bin: content does not match its hash"):
        tokens.rows(0, 0, 4)  # a run that has it open
    os.truncate(path, len(data) - 2)
    with pytest.raises(BadInput, match=r"tokens-fit-000003\.bin: \d+ bytes where"):
        TokenFile.open(made.directory, check_hashes=False)


def test_counts_of_shards_that_do_not_add_up_are_refused(wanted: Any, tmp_path: Path) -> None:
    made = prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    path = made.directory / "MANIFEST.json"
    facts = json.loads(path.read_text())
    facts["shards"]["fit"][0] += 1
    path.write_text(json.dumps(facts))
    with pytest.raises(BadInput, match=r"shards of \d+ fit tokens where there are \d+"):
        TokenFile.open(made.directory)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
@pytest.mark.parametrize("where", ["reading", "fitting", "encoding", "sealing"])
def test_whatever_stops_a_preparation_the_same_command_goes_on_to_the_same_bytes(
    wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, failure: BaseException
) -> None:
    whole = prepare(wanted, tmp_path / "whole", limits=SMALL, jobs=1)
    place, name = {
        "reading": (Spool, "add"),
        "fitting": (packing, "train_tokenizer"),
        "encoding": (packing, "encode"),
        "sealing": (module, "to_toml"),
    }[where]
    real, left = getattr(place, name), [5 if where in ("reading", "encoding") else 0]

    def failing(*words: Any, **named: Any) -> Any:
        if not left[0]:
            raise failure
        left[0] -= 1
        return real(*words, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing)
        with pytest.raises(type(failure)):
            prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    assert not (tmp_path / "out").exists()
    made = prepare(wanted, tmp_path / "out", limits=SMALL, jobs=1)
    assert made.n_resumed == {"encoding": 5, "sealing": len(whole.facts["shards"]["fit"])}.get(where, 0)
    assert files(made.directory) == files(whole.directory)
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "whole", "out"}


def test_the_command_takes_the_cores_to_use_and_changes_no_byte(
    tmp_path: Path, train_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")  # which the command sets, put back
    jsonl(tmp_path / "a.jsonl", stories(N))
    recipe = tmp_path / "data.toml"
    keys = "d_vocab = 300\nn_ctx = 8\neval_share = 0.3"
    recipe.write_text(f'name = "t"\n{keys}\n[[sources]]\nkind = "files"\nweight = 1\npaths = ["{tmp_path}/a.jsonl"]\n')
    assert train_command("prepare", recipe, "--out", tmp_path / "none", "--jobs", 0).is_refusal(2, "--jobs 0")
    for jobs in (1, 2):
        said = train_command("prepare", recipe, "--out", tmp_path / str(jobs), "--jobs", jobs)
        assert (said.code, os.environ["RAYON_NUM_THREADS"]) == (0, str(jobs)), said
    assert files(tmp_path / "1") == files(tmp_path / "2")
