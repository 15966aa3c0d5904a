"""`export --format hub`, push and pull: a local directory, and a stand-in for the hub over HTTP."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.commands import Command
from tests.train.export.hub import Hub, local_hub
from train.checkpoint import load
from train.errors import BadInput, EnvironmentProblem
from train.files import seal


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("HF_TOKEN", "none-of-anybody")
    with local_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


def scores_for(checkpoint, place: Path) -> Path:
    directory = place / "run" / "step-000000020" / "L0.mid.scores"
    directory.mkdir(parents=True)
    (directory / "scores.parquet").write_bytes(b"a table")
    seal(directory, {"kind": "scores", "meta": {"checkpoint_hash": checkpoint.hash}})
    return place


def test_a_local_export_opens_as_the_same_checkpoint_and_in_transformers(trained, tmp_path, train_command: Command):
    from transformers import AutoModelForCausalLM

    checkpoint, out = load(trained / "wide"), tmp_path / "out"
    results = scores_for(checkpoint, tmp_path / "results")
    words = ("export", trained / "wide", "--format", "hub", "--out", out, "--results", results)
    said = train_command(*words)
    assert said.code == 0, said
    again = load(f"hf:{out}")
    assert again.hash == checkpoint.hash
    assert again.state == checkpoint.state
    assert again.lineage is not None
    assert again.optimizer_state().keys() == checkpoint.optimizer_state().keys()
    theirs = AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True).eval()
    tokens = torch.arange(16)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, checkpoint.model()(tokens))
    assert (out / "results" / "L0.mid" / "scores.parquet").read_bytes() == b"a table"
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers")
    for part in (checkpoint.hash, "100% ", "results/L0.mid/scores.parquet", "trust_remote_code", "Widened: exact"):
        assert part in card
    index = json.loads((out / "polysem.json").read_text())
    assert index["checkpoint_hash"] == checkpoint.hash
    assert set(index["files"]) | {"polysem.json"} == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    }
    assert train_command(*words).out.startswith("found")
    (out / "README.md").write_text("mine")
    assert train_command(*words).is_refusal(2, "README.md")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_a_push_and_a_pull_by_name_give_the_same_checkpoint_also_without_the_hub(
    trained, tmp_path, train_command: Command, hub: Hub, monkeypatch
):
    checkpoint, out = load(trained / "gelu"), tmp_path / "out"
    words = ("export", trained / "gelu", "--format", "hub", "--out", out, "--push", "user/gelu", "--private")
    said = train_command(*words)
    assert said.code == 0, said
    assert hub.private == {"user/gelu": True}
    assert {"README.md", "config.json", "checkpoint/MANIFEST.json"} <= hub.repositories["user/gelu"].keys()
    assert 'load("hf:user/gelu")' in hub.repositories["user/gelu"]["README.md"].decode()
    pulled = load("hf:user/gelu")
    assert pulled.hash == checkpoint.hash
    assert pulled.directory.is_relative_to(tmp_path / "home")
    for revision in (hub.commit_of("user/gelu"), "main"):
        assert load(f"hf:user/gelu@{revision}").hash == checkpoint.hash
    # Commands take the same name.
    again = train_command("export", "hf:user/gelu", "--format", "hf", "--out", tmp_path / "hf")
    assert again.code == 0, again
    with pytest.raises(BadInput, match="has no revision 'other'"):
        load("hf:user/gelu@other")
    with pytest.raises(BadInput, match="nothing called 'user/other' on the hub"):
        load("hf:user/other")
    hub.repositories["user/empty"] = {"README.md": b"nothing"}
    with pytest.raises(BadInput, match="no polysem checkpoint"):
        load("hf:user/empty")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load("hf:user/gelu").hash == checkpoint.hash
    with pytest.raises(EnvironmentProblem, match=r"hf:user/new: the hub cannot be reached"):
        load("hf:user/new")


def test_a_hub_that_cannot_be_reached_leaves_what_was_exported(
    trained, tmp_path, train_command: Command, hub: Hub, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    out = tmp_path / "out"
    words = ("export", trained / "gelu", "--format", "hub", "--out", out, "--push", "user/gelu")
    said = train_command(*words)
    assert said.code == 3
    assert said.err.strip().splitlines()[-1].startswith("error: hf:user/gelu: the hub cannot be reached")
    assert str(out) in said.err
    assert load(f"hf:{out}").step == 20
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    assert "pushed to" in train_command(*words).out


def test_bare_names_are_paths_and_bad_names_are_one_line(trained, tmp_path, monkeypatch, train_command: Command):
    (tmp_path / "empty/folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty/folder")  # where no `../x` lies
    with pytest.raises(BadInput, match="no such directory"):
        load("user/name")
    for name in ("hf:", "hf:name", "hf:a/b/c", "hf:../x"):
        with pytest.raises(BadInput, match="neither a directory nor a name"):
            load(name)
    with pytest.raises(BadInput, match="has no folder checkpoint"):
        load(f"hf:{tmp_path}")
    words = ("export", trained / "gelu", "--format", "hub", "--out", tmp_path / "out")
    assert train_command(*words, "--push", "name").is_refusal(2, "--push name")
    assert train_command(*words, "--results", tmp_path).is_refusal(2, "--results", "no scores")
    (tmp_path / "out").mkdir()
    assert train_command(*words).is_refusal(2, "already there")


def test_the_card_needs_the_data_that_it_credits(trained, tmp_path, train_command: Command):
    moved = tmp_path / "run"
    shutil.copytree(trained / "gelu", moved)
    other = tmp_path / "other"
    shutil.copytree(trained / "data", other)
    manifest = json.loads((other / "MANIFEST.json").read_text())
    (other / "MANIFEST.json").write_text(json.dumps({**manifest, "also": 1}))
    words = ("export", moved, "--format", "hub", "--out", tmp_path / "out")
    assert train_command(*words, "--data", other).is_refusal(2, "--data", "not the data")
    assert not (tmp_path / "out").exists()
