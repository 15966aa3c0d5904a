"""A study of minute size and its numbers, made once for all workers, and the command that runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from analyze.study.run import run_study
from tests.analyze.study.minute import minute_study, numbers_of
from tests.analyze.study.schedulers import LONG
from tests.commands import Command, Said
from tests.conftest import once
from train.parquet import read_parquet


@pytest.fixture
def study(analyze_command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """`polysem study TOML --out OUT WORDS` in this process, with variables of the environment by keyword."""

    def call(toml: Path, out: Path, *words: str, **environ: str) -> Said:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            return analyze_command("study", toml, "--out", out, *words)

    return call


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where studies of this worker lie."""
    return tmp_path_factory.mktemp("schedulers")


@pytest.fixture(scope="session")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "minute", minute_study) / "minute.toml"


@pytest.fixture(scope="session")
def plain(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The numbers of the study without a scheduler."""
    out = once(tmp_path_factory, "minute-plain", lambda place: run_study(toml, place, []))
    numbers = numbers_of(out)
    assert len(numbers) == 2 * 7 + 3 + 1  # steps of two runs, scored steps, the comparison
    (path,) = (out / "results/minute").glob("wide-s0/*/*/scores.parquet")
    scores = read_parquet(path)
    assert scores["k_eff"].drop_nulls().drop_nans().n_unique() > 5  # else equal scores would say nothing
    return numbers


@pytest.fixture(scope="session")
def long_plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A study that trains for seconds, and its numbers when run plainly."""

    def make(place: Path) -> None:
        run_study(minute_study(place, LONG, checkpoint_every=1000, widens=False), place / "plain", [])

    place = once(tmp_path_factory, "minute-long", make)
    return place / "minute.toml", numbers_of(place / "plain")
