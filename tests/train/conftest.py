"""A small corpus, a small run and a small checkpoint for whoever reads them."""

import shutil
from pathlib import Path

import pytest

from tests.train.checkpoints import write_step
from tests.train.fixtures import small_data, small_run
from train.training_run import run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of `small_data`: a few thousand tokens of prose that a bigram can learn, rows of 16."""
    return small_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory gelu-s0 of a `small_run` on `data`: 20 steps, 7 checkpoints."""
    return run(small_run(data), tmp_path_factory.mktemp("runs") / "gelu-s0").directory


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of step 7 of a widened run; tests only read it."""
    return write_step(tmp_path_factory.mktemp("runs") / "gelu-x2-s0")


@pytest.fixture
def step(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(pristine, tmp_path / "run" / pristine.name)
