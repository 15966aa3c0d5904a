"""Processes that a launcher starts share a checkpoint's layers, and collect the very bytes that one would."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from analyze.activations.collect import collect
from tests.train.fixtures import small_run
from train.errors import EnvironmentProblem
from train.launchers import launched_as
from train.training_run import run


def bytes_of(results: Path) -> dict[str, str]:
    """sha256 of every file of a collection, but of the manifests' times."""
    files = sorted(
        path for path in results.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".parquet")
    )
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_two_processes_collect_the_bytes_of_one(tmp_path):
    from tests.train.fixtures import small_data

    data = small_data(tmp_path / "data")
    over = {"model__act": "solu_ln", "model__n_layers": 2}
    checkpoint = run(small_run(data, **over), tmp_path / "solu-s0").directory
    one = collect(checkpoint, data, tmp_path / "one", say=lambda line: None)
    assert len(one) == 4
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = ["-m", "analyze", "collect", str(checkpoint), "--data", str(data), "--out", str(tmp_path / "two")]
    done = subprocess.run([*launcher, *words], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all(done.stdout.count(f"{place.relative_to(tmp_path / 'one')}\n") == 1 for place in one)
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "one")
    assert len(bytes_of(tmp_path / "one")) > 12


def test_a_share_is_every_so_manieth_layer_and_more_processes_than_layers_say_so(tmp_path):
    from tests.train.fixtures import small_data

    data = small_data(tmp_path / "data")
    checkpoint = run(small_run(data, model__n_layers=2, train__tokens=64), tmp_path / "gelu-s0").directory
    said: list[str] = []
    shares = [collect(checkpoint, data, tmp_path / "results", share=(n, 3), say=said.append) for n in range(3)]
    assert [[place.name for place in share] for share in shares] == [["L0.mid"], ["L1.mid"], []]
    assert said[-1] == "process 3 of 3: the others collect all layers"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, (0, 1)), ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)), ({"WORLD_SIZE": "1", "RANK": "0"}, (0, 1))],
)
def test_a_launcher_says_which_process_this_is(environ, expected):
    assert launched_as(environ) == expected


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2"),
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE"),
    ],
)
def test_half_a_launcher_is_refused_by_name(environ, named):
    with pytest.raises(EnvironmentProblem, match=named):
        launched_as(environ)
