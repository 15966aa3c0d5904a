"""The file of a small toy."""

from pathlib import Path

import pytest

from tests.train.toys.tomls import TOY


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    return path
