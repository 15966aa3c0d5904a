"""Where results lie, and what a path of one says."""

from pathlib import Path

import pytest

from analyze.activations.directory import KINDS, Kind, ResultDirectory, beside
from train.errors import BadInput

RESULT = ResultDirectory(Path("results/quickstart"), "relu-s0", step=500, layer=1, hook="mid")


def test_a_result_lies_below_its_run_and_step():
    assert RESULT.path == Path("results/quickstart/relu-s0/step-000000500/L1.mid")
    assert RESULT.run_directory == Path("results/quickstart/relu-s0")
    assert RESULT.beside("scores") == Path("results/quickstart/relu-s0/step-000000500/L1.mid.scores")


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_of_every_kind_of_result_says_the_same_of_it(kind: Kind):
    assert ResultDirectory.of(RESULT.beside(kind)) == RESULT
    for other in KINDS:
        assert beside(RESULT.beside(kind), other) == RESULT.beside(other)


def test_a_path_is_read_from_within_a_results_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    step = tmp_path / "relu-s0" / "step-000000500"
    step.mkdir(parents=True)
    monkeypatch.chdir(step)
    assert ResultDirectory.of("L1.mid.scores") == ResultDirectory(tmp_path, "relu-s0", 500, 1, "mid")


@pytest.mark.parametrize("path", ["results/relu-s0/L1.mid", "relu-s0/step-500/L1.mid", "a/step-000000500/L1"])
def test_another_path_is_refused(path: str):
    with pytest.raises(BadInput, match="not a directory of results"):
        ResultDirectory.of(path)
