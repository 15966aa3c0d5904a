"""A trained checkpoint that tests export."""

from pathlib import Path

import pytest

from tests.conftest import once
from tests.train.fixtures import small_data, small_run
from train.training_run import run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `data` and the runs `gelu` and `wide` (solu_ln, widened)."""

    def make(place: Path) -> None:
        data = small_data(place)
        run(small_run(data), place / "gelu")
        run(small_run(data, model__act="solu_ln"), place / "solu")
        widen = {"layers": (0,), "factor": 3, "noise": "zero_sum", "sigma": 0.1}
        run(small_run(data, start=str(place / "solu"), widen=widen), place / "wide")

    return once(tmp_path_factory, "exported-runs", make)
