"""`bench-scores --also`: finished benchmarks that go on one page, and those that do not go together with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyze.validation.bench.measured import MeasuredSet, Result, SetFacts
from analyze.validation.bench.parts import Part, parts_of
from analyze.validation.bench.store import Finished, write
from analyze.validation.layers.base import PlantedFeature
from train.errors import BadInput
from train.files import found_or_made, seal

CODE = {"code": "c" * 64, "data default": "d" * 64}


def finished(corpus: str = "brown", half: str = "held", hashes: dict[str, str] | None = None) -> Finished:
    features = tuple(PlantedFeature(f"f{i}", f"family {i}", "word", "held") for i in range(4))
    members = np.eye(4, dtype=bool)[[0, 1, 2, 3, 0]] | np.eye(4, dtype=bool)[[0, 1, 2, 3, 1]]
    facts = SetFacts(
        f"{corpus}, matched", 1, corpus, "matched", "held", "none", members.sum(1), members, features, np.full(5, 0.1)
    )
    measured = MeasuredSet(facts, {"mine": Result(np.arange(5.0), 1.0)}, 2.0)
    return Finished([measured], {"mine": "mine (own)"}, half, 3.0, hashes or CODE | {f"data {corpus}": "b" * 64}, ())


@pytest.fixture
def part(tmp_path: Path) -> Callable[..., Path]:
    """OUT of a finished benchmark."""

    def make(name: str = "part", key: str = "k", **given) -> Path:
        facts = {"kind": "score benchmark", "contestants": {"mine": key}}
        found_or_made(tmp_path / name / "bench", facts, lambda directory: write(finished(**given), directory))
        return tmp_path / name

    return make


def opened(*also: Path, final: Path = Path("nowhere"), **over) -> list[Part]:
    given = {"half": "held", "hashes": CODE, "contestants": {"mine": "k"}, "corpora": ["default"], "layers": [1]} | over
    return parts_of(also, final, **given)  # pyright: ignore[reportArgumentType]


def refusal(*also: Path, **over) -> str:
    with pytest.raises(BadInput) as refused:
        opened(*also, **over)
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_parts_of_other_corpora_are_opened_by_either_name(part):
    first, second = part(), part("second", corpus="code")
    assert [each.finished.sets[0].facts.corpus for each in opened(first, second / "bench")] == ["brown", "code"]


def test_results_that_are_named_twice_are_refused(part, tmp_path):
    first = part()
    for again in (first, first / "bench", tmp_path / "copy"):
        if again.name == "copy":
            shutil.copytree(first, again)
        assert refusal(first, again) == f"--also: {first} and {again} are the same results; name them once"
    assert refusal(first, final=first / "bench") == f"--also: {first} is what --out writes; name another --out"


def test_what_another_version_measured_is_refused(part):
    other = part("older", hashes={"code": "a" * 64})
    assert refusal(other).startswith(
        f"--also: {other}: was measured by another version of the program (code {'a' * 12}, now {'c' * 12}); run it"
    )
    other = part("score", key="another")
    assert refusal(other) == f"--also: {other}: its score 'mine' is another one than here; run it again"
    first, second = part(key="one"), part("second", key="two", corpus="code")
    assert "its score 'mine' is another one" in refusal(first, second, contestants={})


def test_the_same_corpus_or_other_data_of_its_name_is_refused(part):
    mine = part(corpus="default", hashes=CODE)
    assert refusal(mine) == (
        f"--also: {mine}: layer 1 of default is measured by this command as well; leave it out of one of them"
    )
    assert len(opened(mine, layers=[3])) == 1
    other = part("other", corpus="default")
    assert refusal(other) == f"--also: {other}: its data default are other data than those of the same name here"
    first, second = part("first"), part("second", hashes=CODE | {"data more": "e"})
    assert f"measured by {first} as well" in refusal(first, second)


def test_another_half_is_refused(part):
    other = part(half="tuning")
    assert refusal(other) == f"--also: {other}: features of half 'tuning' beside those of 'held'"


def test_missing_and_edited_files_are_refused(part, tmp_path):
    assert refusal(tmp_path) == f"--also: {tmp_path}: no finished benchmark of scores there"
    assert "no finished benchmark" in refusal(tmp_path / "nowhere")
    for name in ("neurons.parquet", "about.json"):
        directory = part(f"edited {name}")
        path = directory / "bench" / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert f"{path}: " in refusal(directory)
    directory = part("without a table")
    (directory / "bench/neurons.parquet").unlink()
    assert "neurons.parquet" in refusal(directory)


@pytest.mark.parametrize("change", [{"sets": [{"name": "gone"}]}, {"sets": 3}, {"hashes": None}, {"titles": None}])
def test_a_record_of_another_format_is_refused(part, change):
    directory = part() / "bench"
    about = json.loads((directory / "about.json").read_text())
    about = {key: value for key, value in (about | change).items() if value is not None}
    (directory / "about.json").write_text(json.dumps(about))
    (directory / "MANIFEST.json").unlink()
    seal(directory, {"kind": "score benchmark"})
    assert refusal(directory).endswith("was written by another version of the program; run it again")
