"""Checkpoints under damage, accident and attack: what is opened is what was written, or it is refused."""

import functools
import json
import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.faults import DISK_ERRORS, at_most, disk_error, edit_bytes, edit_json, failing_call, raw_safetensors
from tests.train.faults import reseal as resealed
from train import load
from train.checkpoint import open_step, save_checkpoint, step_directory, steps
from train.config import ModelConfig, WidenPlan
from train.errors import BadInput, EnvironmentProblem, PolysemError
from train.files import MANIFEST, RECORD, manifest_hash
from train.hashes import sha256
from train.lineage import Lineage
from train.model import Transformer
from train.widening.widen import widen

TOKENIZER = b'{"version": "1.0"}\n'
SAFETENSORS = ("lineage.safetensors", "model.safetensors", "optim.safetensors")
NAMES = (*SAFETENSORS, "config.json", "state.json", "tokenizer.json", RECORD)


@functools.cache
def widened(seed: int) -> tuple[Transformer, Lineage]:
    narrow = ModelConfig(n_layers=1, d_model=4, n_heads=2, n_ctx=4, d_vocab=5, act="gelu_ln", widths=(6,))
    return widen(Transformer(narrow, seed), WidenPlan(layers=(0,), factor=2))


def write_step(run: Path, step: int = 7, seed: int = 0) -> Path:
    """A widened step with moments, of a few kilobytes."""
    model, lineage = widened(seed)
    moments = {}
    for name, value in model.named_parameters():
        if name.startswith("layers.0.mlp."):
            moments |= {f"{name}/exp_avg": value.detach() / 3, f"{name}/exp_avg_sq": value.detach().square()}
            moments[f"{name}/step"] = torch.tensor(float(step))
    state = {
        "run": run.name,
        "variant": "gelu",
        "root_variant": "gelu",
        "seed": seed,
        "step": step,
        "tokens": 16 * step,
        "tokens_before": 0,
        "rows_read": 4 * step,
        "n_params": model.config.n_params,
        "factor": 2,
        "start": {"hash": "0" * 64, "run": "parent", "step": 3, "directory": "elsewhere"},
        "evaluation": {"step": step, "loss": 1.5, "unigram": 1.6, "bigram": 1.4, "n_tokens": 16},
        "data": {"hash": "1" * 64, "directory": "data/small", "tokenizer_sha256": sha256(TOKENIZER)},
    }
    return save_checkpoint(run, model, moments, state, TOKENIZER, lineage.of("0" * 64, None), {"version": "1"})


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return write_step(tmp_path_factory.mktemp("runs") / "gelu-x2-s0")


@pytest.fixture
def step(pristine, tmp_path) -> Path:
    return shutil.copytree(pristine, tmp_path / "run" / pristine.name)


def use_all_of(directory: Path) -> None:
    """Open a step and read everything it holds."""
    checkpoint = open_step(directory)
    checkpoint.model()
    checkpoint.optimizer_state()
    assert checkpoint.lineage is not None
    assert checkpoint.code == {"version": "1"}


def refused(directory: Path, match: str = "") -> None:
    with at_most(20), pytest.raises(BadInput, match=match or None):
        use_all_of(directory)


def test_an_opened_checkpoint_equals_the_written_one(pristine):
    checkpoint = load(pristine)
    weights = load_file(pristine / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in checkpoint.model().state_dict().items())
    moments = load_file(pristine / "optim.safetensors")
    assert checkpoint.optimizer_state().keys() == moments.keys()
    assert checkpoint.lineage is not None
    assert checkpoint.lineage.parents[0].tolist() == [*range(6), *range(6)]
    assert (checkpoint.step, checkpoint.hash) == (7, manifest_hash(pristine))
    assert sorted(path.name for path in pristine.iterdir()) == sorted([*NAMES, MANIFEST])
    assert {path.stat().st_mode & 0o777 for path in pristine.iterdir()} == {0o644}


def test_the_same_step_is_the_same_bytes_every_time(pristine, tmp_path):
    again = write_step(tmp_path / pristine.parent.name)
    for name in ("model.safetensors", "optim.safetensors", "config.json", "state.json"):
        assert (again / name).read_bytes() == (pristine / name).read_bytes()


@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
def test_every_flipped_bit_is_detected(step, name):
    random, path = np.random.default_rng(len(name)), step / name
    whole = path.read_bytes()
    for position in random.choice(8 * len(whole), size=min(60, 8 * len(whole)), replace=False).tolist():
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        refused(step)
    path.write_bytes(whole)
    use_all_of(step)


@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
def test_a_file_that_was_cut_or_grew_is_detected(step, name):
    random, path = np.random.default_rng(1), step / name
    whole = path.read_bytes()
    # The line end that closes the manifest says nothing: without it there is the same manifest.
    lengths = {0, 1, 7, 8, 9, len(whole) - 2, len(whole) - 1, *random.integers(0, len(whole), 12).tolist()}
    for length in lengths - ({len(whole) - 1} if name == MANIFEST else set()):
        path.write_bytes(whole[:length])
        refused(step)
    path.write_bytes(whole + b"\0")
    refused(step)


@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
def test_a_missing_file_is_named(step, name):
    (step / name).unlink()
    refused(step, name)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "model.bin", "optimizer.pt", "a\nb", "x" * 255])
def test_an_extra_file_is_refused_even_where_the_manifest_names_it(step, name):
    (step / name).write_bytes(b"x")
    refused(step, "not named in its manifest")
    resealed(step)
    refused(step, "has no place in a checkpoint")


def test_swapped_files_are_refused_with_the_old_manifest_and_with_a_new_one(step):
    model, optim = step / "model.safetensors", step / "optim.safetensors"
    contents = model.read_bytes(), optim.read_bytes()
    optim.write_bytes(contents[0])
    model.write_bytes(contents[1])
    refused(step)
    resealed(step)
    refused(step)


def test_a_step_under_the_name_of_another_is_refused(pristine, tmp_path):
    moved = shutil.copytree(pristine, tmp_path / "step-000000009")
    refused(moved, "holds step 7 in a directory named step-000000009")
    use_all_of(shutil.copytree(pristine, tmp_path / "any other name"))


@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory", "device"])
def test_only_regular_files_are_read(step, tmp_path, name, kind):
    path = step / name
    path.rename(tmp_path / "aside")
    if kind == "link":
        path.symlink_to(tmp_path / "aside")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    refused(step, "not a regular file|not there")


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_no_pickle_is_ever_opened(step, tmp_path):
    mark = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    for name in ("optim.safetensors", "lineage.safetensors", "tokenizer.json"):
        victim = shutil.copytree(step, tmp_path / name / step.name)
        (victim / name).write_bytes(bomb)
        edit_json(victim / "state.json", data={"hash": "", "directory": "", "tokenizer_sha256": sha256(bomb)})
        resealed(victim)
        with pytest.raises(BadInput):
            load(victim).tokenizer() if name == "tokenizer.json" else use_all_of(victim)
    weights = (step / "model.safetensors").stat().st_size
    (step / "model.safetensors").write_bytes(bomb.ljust(weights, b"\0"))
    resealed(step)
    refused(step, "not a readable safetensors file")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (step.parent / name).write_bytes(bomb)
    assert steps(step.parent) == [7]
    assert not mark.exists()


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


def two_steps(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    write_step(run, 3)
    write_step(run, 7)
    return run


def test_a_damaged_newest_step_is_skipped_with_a_message(tmp_path, capsys):
    run = two_steps(tmp_path)
    edit_bytes(step_directory(run, 7) / "optim.safetensors", lambda data: data.pop())
    assert load(run).step == 3
    said = capsys.readouterr().out
    assert "optim.safetensors" in said
    assert "falling back" in said
    edit_bytes(step_directory(run, 3) / "state.json", lambda data: data.append(0))
    with pytest.raises(BadInput, match="no checkpoint step that verifies"):
        load(run)


def test_other_entries_of_a_run_directory_are_not_steps(tmp_path):
    run = two_steps(tmp_path)
    whole = step_directory(run, 7)
    for name in (".tmp-step-000000009-1", ".del-step-000000008-1", "step-9", "step-0000000009", "step-00000000٩"):
        shutil.copytree(whole, run / name)
    shutil.copytree(whole, run / "step-000000009\n")
    (run / "step-000000011").write_bytes(b"a file")
    (run / "step-000000012").symlink_to(tmp_path / "nowhere")
    os.mkfifo(run / "step-000000013")
    with at_most(20):
        assert steps(run) == [3, 7, 11, 12, 13]
        assert load(run).step == 7


def test_the_next_save_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    run = two_steps(tmp_path)
    for name in (".tmp-step-000000009-4194304", ".del-step-000000002-1", ".tmp-mine-1", ".notes"):
        (run / name).mkdir()
        (run / name / "part").write_bytes(b"half")
    write_step(run, 9)
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == [".notes", ".tmp-mine-1"]
    assert steps(run) == [3, 7, 9]


@pytest.mark.parametrize("name", ["with blanks", "münchen-漢字-🦆", "line\nbreak", "quo'te\"d", "-dash", "%s{}"])
def test_a_run_may_have_any_name(tmp_path, name):
    run = tmp_path / name
    write_step(run, 3)
    assert load(run).state["run"] == name
    load(str(run)).model()


@pytest.mark.parametrize("path", ["", "nowhere", "nul\0byte", "x" * 300])
def test_an_empty_place_is_bad_input(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"no such directory|holds no checkpoint|cannot be opened"):
        load(path)


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_save_that_fails_at_any_call_keeps_every_earlier_step_and_leaves_no_partial_one(tmp_path):
    run = two_steps(tmp_path)
    before = {step: content(step_directory(run, step)) for step in (3, 7)}
    number = 0
    while True:
        number += 1
        error = DISK_ERRORS[number % len(DISK_ERRORS)]
        with failing_call(number, disk_error(error)) as made:
            try:
                write_step(run, 9, seed=1)
                failed = False
            except OSError:
                failed = True
        assert {step: content(step_directory(run, step)) for step in (3, 7)} == before
        assert not [path for path in run.iterdir() if path.name.startswith(".")]
        for step in set(steps(run)) - {3, 7}:
            use_all_of(step_directory(run, step))
            shutil.rmtree(step_directory(run, step))
        if not failed and len(made) < number:
            break
    assert number > 15


def test_a_full_disk_fails_the_save_with_an_oserror_and_changes_nothing_else(tmp_path):
    """A limit on the size of files stands for the full disk; the weights are written by safetensors itself."""
    run = two_steps(tmp_path)
    before = {step: content(step_directory(run, step)) for step in (3, 7)}
    largest = max(len(each) for each in before[7].values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 10, 300, 1200, largest - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError):  # noqa: PT011  its words differ
                write_step(run, 9)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sorted(path.name for path in run.iterdir()) == ["step-000000003", "step-000000007"]
        assert {step: content(step_directory(run, step)) for step in (3, 7)} == before
    write_step(run, 9)
    assert load(run).step == 9


def test_an_equal_step_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    run = two_steps(tmp_path)
    old = content(step_directory(run, 7))
    number, seen = 0, set()
    while True:
        number += 1
        with failing_call(number, disk_error(DISK_ERRORS[0])) as made:
            try:
                write_step(run, 7, seed=5)
                failed = False
            except OSError:
                failed = True
        now = content(step_directory(run, 7))
        use_all_of(step_directory(run, 7))
        seen.add(now == old)
        assert now == old or load_file(step_directory(run, 7) / "model.safetensors")
        left = [path.name for path in run.iterdir() if path.name.startswith(".")]
        # Where deleting the old step failed, it lies where no reader looks, until the next save.
        assert not left or (now != old and left[0].startswith(".del-"))
        if now != old:
            shutil.rmtree(step_directory(run, 7))
            write_step(run, 7)
        if not failed and len(made) < number:
            break
    assert seen == {True, False}


def test_errors_name_a_file_on_one_line_that_a_terminal_can_show(step, capsys):
    change_tensors(step / "model.safetensors", lambda tensors: tensors.update({"\x1b]0;owned\x07": torch.zeros(1)}))
    resealed(step)
    from train.errors import exit_with_one_line

    with pytest.raises(SystemExit) as left:
        exit_with_one_line(lambda: use_all_of(step), debug=False)
    said = capsys.readouterr().err
    assert left.value.code == BadInput.exit_code
    assert "\x1b" not in said
    assert "\\x1b]0;owned\\x07" in said
    assert said.count("\n") == 1
    assert issubclass(BadInput, PolysemError)
