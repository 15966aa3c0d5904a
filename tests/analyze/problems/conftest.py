"""Three small runs of one variant, seeds 0 to 2, with their step 0."""

from pathlib import Path

import pytest

from tests.conftest import once
from tests.train.fixtures import small_data, small_run
from train.training_run import run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Their directories; the data lie beside them."""

    def make(place: Path) -> None:
        data = small_data(place)
        for seed in range(3):
            run(small_run(data, seed=seed, variant="gelu"), place / f"gelu-s{seed}")

    place = once(tmp_path_factory, "problem-runs", make)
    return [place / f"gelu-s{seed}" for seed in range(3)]
