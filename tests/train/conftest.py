"""A small corpus and a small run for whoever reads them, and `python -m train` without a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Command, command_of
from tests.train.fixtures import small_data, small_run
from train.__main__ import main
from train.training_run import run


@pytest.fixture
def train_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`python -m train WORDS` in this process."""
    with command_of(main, "train", capsys, monkeypatch) as command:
        yield command


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of `small_data`: a few thousand tokens of prose that a bigram can learn, rows of 16."""
    return small_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory gelu-s0 of a `small_run` on `data`: 20 steps, 7 checkpoints."""
    return run(small_run(data), tmp_path_factory.mktemp("runs") / "gelu-s0").directory
