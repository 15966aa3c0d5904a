"""Checkpoints under damage and accident: what is opened is what was written, or it is refused."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.train.checkpoints import NAMES, refused, use_all_of, write_step
from tests.train.faults import edit_json
from tests.train.faults import reseal as resealed
from train import load
from train.checkpoint import steps
from train.errors import BadInput
from train.files import MANIFEST, manifest_hash
from train.hashes import sha256


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
