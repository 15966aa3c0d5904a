"""The file of a small toy, and one that is trained."""

import shutil
from pathlib import Path

import pytest

from tests.train.toys.small import small_toy
from tests.train.toys.tomls import TOY
from train.toys.command import run_toy
from train.toys.runs import ToyRun


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """A trained toy, which tests only read."""
    return run_toy(small_toy(), tmp_path_factory.mktemp("toys") / "small").run


@pytest.fixture
def copy(finished: ToyRun, tmp_path: Path) -> Path:
    """Its directory, for tests that change it."""
    return shutil.copytree(finished.directory, tmp_path / "small")
