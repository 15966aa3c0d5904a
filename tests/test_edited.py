"""A bit flipped, a file cut, ids exchanged for others that are as good: no stage reads on, each names the file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from analyze.activations.store import open_activations
from tests.commands import Command
from tests.inputs import quoted, write_inputs
from train.config import RunConfig
from train.configfile import load_config
from train.errors import Damaged
from train.files import MANIFEST, read_manifest

ROOT = Path(__file__).parents[1]
STEP = "gelu-s0/step-000000010"
CELL = f"results/{STEP}/L0.mid"
WIDE = "results/wide-s0/step-000000000/L0.mid"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every stage; tests change files of it and put them back."""
    from analyze import collect, score
    from analyze.fission.command import fission
    from analyze.probing.command import probe
    from analyze.scores.passages import keep_passages
    from train import prepare, run
    from train.config import WidenPlan
    from train.widening.command import widen_checkpoint

    root = tmp_path_factory.mktemp("edited")
    write_inputs(root)
    prepare(root / "data.toml", root / "d")
    directory = run(load_config(RunConfig, root / "run.toml", ["--data", str(root / "d")]), root / "gelu-s0").directory
    widen_checkpoint(directory, WidenPlan(layers=(0,), factor=2, noise="none"), None, root / "wide-s0")
    for step in (directory, directory / "step-000000000"):
        collect(step, root / "d", root / "results", say=lambda line: None)
    score(root / "results", ["k_eff"], nulls=["rotated"])
    fission(root / "wide-s0", root / "d", root / "results", say=lambda line: None)
    probe([root / CELL], root / "probes", families=["casing"], ks=[1], shifts=1)
    keep_passages(root / CELL)
    of_run = (root / "run.toml").read_text().replace("[model]", "[unused]")
    (root / "start.toml").write_text(
        f"data = {quoted(root / 'd')}\nstart = {quoted(root / STEP)}\n" + of_run[of_run.index("[optim]") :]
    )
    return root


@pytest.fixture
def stages(place: Path, train_command: Command, analyze_command: Command) -> dict[str, tuple[Command, list[str]]]:
    """Each stage as a command that has something to do, or finds its result."""
    data, results, run = str(place / "d"), str(place / "results"), str(place / "gelu-s0")
    last = str(place / STEP)
    shutil.rmtree(place / "new", ignore_errors=True)
    new = ["--out", str(place / "new")]
    small = ["--families", "casing", "--k", "1", "--shifts", "1"]
    return {
        "prepare": (train_command, ["prepare", str(place / "data.toml"), "--out", data]),
        "run": (train_command, ["run", str(place / "run.toml"), "--data", data, *new]),
        "start": (train_command, ["run", str(place / "start.toml"), *new]),
        "widen": (train_command, ["widen", last, "--layers", "0", "--factor", "2", "--data", data, *new]),
        "collect": (analyze_command, ["collect", last, "--data", data, *new]),
        "collected": (analyze_command, ["collect", last, "--data", data, "--out", results]),
        "score": (analyze_command, ["score", str(place / CELL), "--scores", "rule_share", "--nulls", "rotated"]),
        "scored": (analyze_command, ["score", str(place / CELL), "--scores", "k_eff", "--nulls", "rotated"]),
        "probe": (analyze_command, ["probe", str(place / CELL), *new, *small]),
        "probed": (analyze_command, ["probe", str(place / CELL), "--out", str(place / "probes"), *small]),
        "fission": (analyze_command, ["fission", str(place / "wide-s0"), "--data", data, *new, "--parent", run]),
        "followed": (analyze_command, ["fission", str(place / "wide-s0"), "--data", data, "--out", results]),
        "labels": (analyze_command, ["labels", "--data", data]),
        "compare": (analyze_command, ["compare", results, *new]),
        "report": (analyze_command, ["report", results]),
    }


READERS = {
    "d": "prepare run start widen collect score probe fission labels report",
    STEP: "start widen collect fission",
    "wide-s0/step-000000000": "fission",
    CELL: "collected score scored probe report",
    f"{CELL}.sample": "collected",
    f"{CELL}.scores": "scored compare report",
    f"{CELL}.passages": "kept",
    f"{CELL}.probes": "",
    f"probes/{STEP}/L0.mid.probes": "probed",
    f"{WIDE}.fission": "followed report",
    f"{WIDE}.split": "followed report",
}
"""A kind of directory, and the stages that read it."""


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """A file with other bytes, or without it; its date is the old one, as an attacker or a restored backup has it."""
    before, status = path.read_bytes(), path.stat()
    path.unlink() if data is None else path.write_bytes(data)
    if data is not None:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flipped(data: bytes, place: float) -> bytes:
    at = min(int(len(data) * place), len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


FOUND = [(kind, stage) for kind, named in READERS.items() for stage in named.split() if stage != "kept"]


@pytest.mark.parametrize(("kind", "stage"), FOUND, ids=[f"{Path(kind).name}-{stage}" for kind, stage in FOUND])
def test_every_stage_refuses_a_directory_with_a_flipped_bit_and_names_the_file(place, stages, kind, stage):
    directory, (command, words) = place / kind, stages[stage]
    names = [path.name for path in sorted(directory.iterdir()) if path.name != MANIFEST]
    assert names == sorted(read_manifest(directory)["files"])
    for number, name in enumerate(names):
        path = directory / name
        with changed(path, flipped(path.read_bytes(), (number % 3) / 2)):
            assert command(*words).is_refusal(2, str(path)), (kind, name, stage)


@pytest.mark.parametrize("stage", ["score", "probe", "report"])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_flipped_bit_in_a_sample_is_found_by_whoever_reads_it(place, stages, stage, at):
    path, (command, words) = place / f"{CELL}.sample" / "sample.safetensors", stages[stage]
    with changed(path, flipped(path.read_bytes(), at)):
        assert command(*words).is_refusal(2, str(path), "does not match its hash")


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_flipped_bit_in_the_sums_of_a_sample_is_found_by_whoever_reads_them(place, at):
    path, acts = place / f"{CELL}.sample" / "token_sums.safetensors", open_activations(place / CELL)
    assert acts.token_sums is not None
    with (
        changed(path, flipped(path.read_bytes(), at)),
        pytest.raises(Damaged, match=r"token_sums\.safetensors: content"),
    ):
        acts.token_sums.block(0, 4)


def test_a_report_without_the_sample_reads_what_was_kept_of_it(place, stages, tmp_path):
    path, (command, words) = place / f"{CELL}.passages" / "passages.parquet", stages["report"]
    (place / f"{CELL}.sample").rename(tmp_path / "sample")
    try:
        assert command(*words).code == 0
        with changed(path, flipped(path.read_bytes(), 0.5)):
            assert command(*words).is_refusal(2, str(path), "does not match its hash")
    finally:
        (tmp_path / "sample").rename(place / f"{CELL}.sample")


@pytest.mark.parametrize("stage", READERS["d"].split())
@pytest.mark.parametrize("split", ["fit", "eval"])
def test_ids_that_were_exchanged_for_others_are_no_data(place, stages, stage, split):
    path, (command, words) = place / "d" / f"tokens-{split}.bin", stages[stage]
    ids = np.frombuffer(path.read_bytes(), "<u2")
    with changed(path, ids[::-1].tobytes()):
        assert command(*words).is_refusal(2, str(path), "does not match its hash")


@pytest.mark.parametrize(
    ("kind", "stage"), [(kind, named.split()[0]) for kind, named in READERS.items() if named not in ("", "kept")]
)
def test_a_file_that_was_cut_or_is_gone_is_named(place, stages, kind, stage):
    directory, (command, words) = place / kind, stages[stage]
    for name in read_manifest(directory)["files"]:
        path = directory / name
        for data in (path.read_bytes()[:-1], b"", None):
            with changed(path, data):
                assert command(*words).is_refusal(2, str(path)), (kind, name, stage)


def test_after_all_of_that_every_stage_goes_on(place, stages):
    """What was put back is taken again, so nothing above was refused for another reason."""
    for stage, (command, words) in stages.items():
        said = command(*words)
        assert (said.code, said.err) == (0, ""), (stage, said)
        shutil.rmtree(place / "new", ignore_errors=True)


@pytest.mark.parametrize("kind", ["d", CELL])
def test_a_new_process_hashes_again_what_has_its_old_date_and_size(place, kind):
    path = place / kind / ("tokens-eval.bin" if kind == "d" else "examples.parquet")
    words = ["labels", "--data", str(place / "d")] if kind == "d" else ["score", str(place / CELL), "--scores", "k_eff"]
    with changed(path, flipped(path.read_bytes(), 0.5)):
        done = subprocess.run(
            [sys.executable, "-m", "analyze", *words], check=False, cwd=ROOT, capture_output=True, text=True
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(path) in done.stderr


def test_a_toy_with_a_flipped_bit_is_neither_found_nor_shown(tmp_path, train_command, analyze_command):
    toy = ROOT / "configs" / "toy" / "abs-20-10.toml"
    words = ("toy", toy, "--out", tmp_path / "toy", "--fit.steps", "10", "--fit.batch", "32")
    assert train_command(*words).code == 0
    for name in read_manifest(tmp_path / "toy")["files"]:
        path = tmp_path / "toy" / name
        with changed(path, flipped(path.read_bytes(), 0.5)):
            assert train_command(*words).is_refusal(2, str(path))
            assert analyze_command("toys", tmp_path / "toy", "--out", tmp_path / "pages").is_refusal(2, str(path))
    assert "found" in train_command(*words).out
