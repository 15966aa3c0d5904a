"""What every test runs with. The small things that many tests read are session fixtures of the folders' conftest.py.

Session fixtures are made once in each worker, `once` makes one for all workers. Tests only read them: what changes
a data directory, a run or a result works on a copy.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.commands import Command, command_of

# One thread for each worker, and for the processes that tests start: more only get in each other's way.
# Set before torch is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

# An example may take as long as a busy machine makes it.
settings.register_profile("polysem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("polysem")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The study first: its tests take longest, and the other worker does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_study.py")


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that `make` fills in the first worker to ask for it; the others wait."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{directory}.lock"):
        made = directory / ".made"
        if not made.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            make(directory)
            made.touch()
    return directory


@pytest.fixture
def train_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`python -m train WORDS` in this process."""
    from train.__main__ import main

    with command_of(main, "train", capsys, monkeypatch) as command:
        yield command


@pytest.fixture
def analyze_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`python -m analyze WORDS` in this process."""
    from analyze.__main__ import main

    with command_of(main, "analyze", capsys, monkeypatch) as command:
        yield command
