"""Checkpoints under attack: what a file claims is checked before anything is read or allocated."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.checkpoints import refused, use_all_of
from tests.train.faults import edit_json, raw_safetensors
from tests.train.faults import reseal as resealed
from train import load
from train.checkpoint import open_step
from train.config import ModelConfig
from train.errors import BadInput, EnvironmentProblem, PolysemError, exit_with_one_line
from train.files import MANIFEST, RECORD
from train.hashes import sha256
from train.lineage import Lineage


def f32(shape: list[int], start: int, stop: int) -> dict:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


HOSTILE_TENSORS = [
    b"",
    b"\0" * 8,
    raw_safetensors({}, b"", length=2**63),
    raw_safetensors({}, b"", length=2**64 - 1),
    raw_safetensors({}, b"", length=10**8 - 1),
    raw_safetensors(b"{" * 1000, b""),
    raw_safetensors(b"[" * 100_000, b""),
    raw_safetensors(b'{"a": 1e999}', b""),
    raw_safetensors(b"\xff\xfe", b""),
    raw_safetensors({"head.weight": f32([5, 4], 0, 80)}, b"\0" * 4),
    raw_safetensors({"head.weight": f32([2**40, 2**20], 0, 80)}, b"\0" * 80),
    raw_safetensors({"head.weight": f32([2**63, 2], 0, 80)}, b"\0" * 80),
    raw_safetensors({"head.weight": f32([5, 4], 80, 0)}, b"\0" * 80),
    raw_safetensors({"head.weight": f32([-5, -4], 0, 80)}, b"\0" * 80),
    raw_safetensors({"a": f32([20], 0, 80), "b": f32([20], 0, 80)}, b"\0" * 80),
    raw_safetensors({"../../etc/passwd": f32([20], 0, 80)}, b"\0" * 80),
    raw_safetensors({"\x1b[31m" + "long" * 10_000: f32([20], 0, 80)}, b"\0" * 80),
    raw_safetensors({"__metadata__": {"lineage": "[" * 100_000}}, b""),
    raw_safetensors({"__metadata__": {"lineage": "[]"}}, b""),
    raw_safetensors({"__metadata__": {"lineage": "{}"}, "layers.x": f32([20], 0, 80)}, b"\0" * 80),
]


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors", "lineage.safetensors"])
@pytest.mark.parametrize("content", HOSTILE_TENSORS, ids=range(len(HOSTILE_TENSORS)))
def test_a_hostile_safetensors_file_is_refused_even_when_sealed_anew(step, name, content):
    path = step / name
    if name == "model.safetensors":
        # As large as the config needs, so that the size alone does not give it away.
        content = content + b"\0" * max(0, path.stat().st_size - len(content))
    path.write_bytes(content)
    resealed(step)
    refused(step)


def change_tensors(path: Path, change) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, key: tensors[key].view(-1)[3].fill_(float("nan")), "holds a value that is not finite"),
        (lambda tensors, key: tensors[key].view(-1)[0].fill_(float("-inf")), "holds a value that is not finite"),
        (lambda tensors, key: tensors.update({key: tensors[key].view(-1)}), r"is \[48\], its config says"),
        (lambda tensors, key: tensors.update({key: tensors[key].half().repeat(1, 2)}), "its config says"),
        (lambda tensors, key: tensors.update({key: tensors[key].view(torch.int32)}), "is I32, not F32"),
        (lambda tensors, key: tensors.update({key: tensors[key].to(torch.bfloat16)}), ""),
        (lambda tensors, key: tensors.update({key + "x": tensors.pop(key)}), "is missing|is unknown"),
        (lambda tensors, key: tensors.pop(key), ""),
        (lambda tensors, key: tensors.update({"more": torch.zeros(1)}), "'more' is unknown"),
    ],
)
def test_tensors_that_the_config_does_not_call_for_are_refused(step, name, change, message):
    key = "layers.0.mlp.fc_in.weight" + ("" if name.startswith("model") else "/exp_avg")
    change_tensors(step / name, lambda tensors: change(tensors, key))
    resealed(step)
    refused(step, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 16384, "n_heads": 2}, "asks for .* bytes of weights"),
        ({"d_vocab": 2**20}, "asks for .* bytes of weights"),
        ({"widths": [2**24]}, "asks for .* bytes of weights"),
        ({"d_model": 10**6}, "d_model: Input should be less than or equal to 16384"),
        ({"n_layers": 10**12}, "n_layers: Input should be less"),
        ({"widths": [12] * 100_000}, "100000 widths for 1 layers"),
        ({"n_heads": 3}, "3 heads do not divide"),
        ({"n_heads": 0}, "n_heads"),
        ({"d_model": "4"}, "d_model: Input should be a valid integer, got '4'"),
        ({"d_model": True}, "d_model"),
        ({"d_model": None}, "key 'd_model' is missing"),
        ({"d_modle": 4}, "unknown key 'd_modle'; did you mean 'd_model'?"),
        ({"x" * 10**6: 4}, "unknown key"),
        ({"act": "tanh"}, "act: Input should be"),
        ({"mlp_ln_eps": [0.0]}, "every epsilon must lie between 0 and 1"),
        ({"mlp_ln_eps": [float("nan")]}, "mlp_ln_eps"),
    ],
)
def test_a_config_is_checked_for_form_and_against_the_weights_before_anything_is_allocated(
    step, monkeypatch, changes, message
):
    edit_json(step / "config.json", **changes)
    resealed(step)
    monkeypatch.setattr("train.checkpoint.Transformer", lambda *args, **keywords: pytest.fail("allocated"))
    monkeypatch.setattr("train.files.sha256_file", lambda path: pytest.fail("read"))
    refused(step, message)


def test_a_sparse_file_of_the_size_that_a_hostile_config_claims_is_neither_read_nor_allocated(step, monkeypatch):
    edit_json(step / "config.json", d_model=16384, n_heads=2, widths=[2**21])
    resealed(step)
    config = ModelConfig.model_validate_json((step / "config.json").read_bytes())
    os.truncate(step / "model.safetensors", 4 * config.n_params + 100)
    manifest = json.loads((step / MANIFEST).read_bytes())
    manifest["files"]["model.safetensors"]["bytes"] = 4 * config.n_params + 100
    (step / MANIFEST).write_text(json.dumps(manifest))
    monkeypatch.setattr("train.files.sha256_file", lambda path: pytest.fail("read"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 2**37}))
    with pytest.raises(EnvironmentProblem, match="bytes, this process may have"):
        open_step(step)


@pytest.mark.parametrize("name", ["optim.safetensors", "lineage.safetensors", "tokenizer.json", "state.json", RECORD])
def test_a_sparse_file_of_a_terabyte_next_to_the_weights_is_not_read(step, monkeypatch, name):
    os.truncate(step / name, 2**40)
    manifest = json.loads((step / MANIFEST).read_bytes())
    manifest["files"][name]["bytes"] = 2**40
    (step / MANIFEST).write_text(json.dumps(manifest))
    monkeypatch.setattr("train.files.sha256_file", lambda path: pytest.fail("read"))
    refused(step, f"{name}: {2**40} bytes where at most")


HOSTILE_JSON = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xff{}",
    b"{}" + b" " * 2**27,
    b'{"a":' * 100_000,
    b"[" * 2**23,
    b'{"n": ' + b"9" * 5000 + b"}",
    b'{"step": NaN}',
]


@pytest.mark.parametrize("name", ["config.json", "state.json", RECORD, MANIFEST])
@pytest.mark.parametrize("content", HOSTILE_JSON, ids=range(len(HOSTILE_JSON)))
def test_giant_deep_or_broken_json_is_refused(step, name, content):
    (step / name).write_bytes(content)
    if name != MANIFEST:
        resealed(step)
    refused(step, name)


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, [1]])
def test_another_format_version_is_named(step, version):
    resealed(step, format_version=version)
    refused(step, "format version .*, this polysem reads version 1")


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {"config.json": None},
        {"config.json": {"bytes": 1}},
        {"config.json": {"bytes": "1", "sha256": ""}},
        {"config.json": {"bytes": True, "sha256": ""}},
        {"config.json": {"bytes": 1, "sha256": 5}},
        {"../../config.json": {"bytes": 1, "sha256": ""}},
    ],
)
def test_a_file_that_is_not_a_manifest_is_refused(step, files):
    edit_json(step / MANIFEST, files=files)
    refused(step, "files|no place|missing")


def test_a_manifest_that_reaches_outside_of_its_directory_is_refused(step):
    (step.parent / "outside").write_bytes(b"x")
    manifest = json.loads((step / MANIFEST).read_bytes())
    manifest["files"]["../outside"] = {"bytes": 1, "sha256": sha256(b"x")}
    (step / MANIFEST).write_text(json.dumps(manifest))
    refused(step, "has no place in a checkpoint")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": None}, "key 'step' is missing"),
        ({"step": "7"}, "step: Input should be a valid integer"),
        ({"step": True}, "step"),
        ({"step": -7}, "step"),
        ({"run": "../../somewhere"}, "run"),
        ({"run": "/etc"}, "run"),
        ({"run": ".."}, "is not a name"),
        ({"run": "a\nb/c"}, "run"),
        ({"data": None}, "key 'data' is missing"),
        ({"data": {"hash": "x"}}, "data.tokenizer_sha256"),
        ({"evaluation": {"loss": float("nan")}}, "evaluation"),
        ({"evaluation": []}, "evaluation"),
        ({"start": "elsewhere"}, "start"),
        ({"factor": 0}, "factor"),
        ({"n_params": 3}, "n_params is 3, config.json makes"),
        ({"log_offset": -1}, "log_offset"),
    ],
)
def test_a_state_that_readers_could_not_use_is_refused(step, changes, message):
    edit_json(step / "state.json", **changes)
    resealed(step)
    refused(step, message)


def test_a_tokenizer_of_other_weights_is_refused(step):
    (step / "tokenizer.json").write_bytes(b'{"version": "2.0"}\n')
    resealed(step)
    refused(step, "is not the tokenizer that the model was trained with")


@pytest.mark.parametrize(
    "parents",
    [{0: [*range(11)]}, {1: [*range(12)]}, {-1: [*range(12)]}, {0: [0] * 11 + [12]}, {0: [0] * 11 + [-1]}, {0: []}],
)
def test_a_lineage_of_other_neurons_is_refused(step, pristine, parents):
    lineage = load(pristine).lineage
    assert lineage is not None
    wrong = {layer: np.array(each, dtype=np.int32) for layer, each in parents.items()}
    forged = Lineage(lineage.plan, wrong, lineage.receipt, lineage.parent_hash)
    (step / "lineage.safetensors").write_bytes(forged.to_bytes())
    resealed(step)
    refused(step, "lineage.safetensors")


def test_errors_name_a_file_on_one_line_that_a_terminal_can_show(step, capsys):
    change_tensors(step / "model.safetensors", lambda tensors: tensors.update({"\x1b]0;owned\x07": torch.zeros(1)}))
    resealed(step)
    with pytest.raises(SystemExit) as left:
        exit_with_one_line(lambda: use_all_of(step), debug=False)
    said = capsys.readouterr().err
    assert left.value.code == BadInput.exit_code
    assert "\x1b" not in said
    assert "\\x1b]0;owned\\x07" in said
    assert said.count("\n") == 1
    assert issubclass(BadInput, PolysemError)
