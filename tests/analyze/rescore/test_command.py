"""`polysem rescore` on runs of its own: what it writes, what it finds again, and what it refuses."""

from pathlib import Path

import pytest

from analyze.labels.families import speech
from analyze.rescore.command import EXAMPLES, PAGE, TABLE, rescore, sources_of
from tests.train.fixtures import small_data, small_run
from train.checkpoint import step_directory
from train.errors import BadInput
from train.training_run import run

needs_tagger = pytest.mark.skipif(speech.lexicon_path() is None, reason="textblob is not installed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data, and a directory of two runs."""
    where = tmp_path_factory.mktemp("rescore")
    data = small_data(where)
    for act in ("gelu_new", "solu_ln"):
        config = small_run(data, model__act=act, variant=act, train__checkpoint_every=20)
        run(config, where / "checkpoints" / f"{act}-s0")
    return data, where / "checkpoints"


@needs_tagger
def test_every_layer_is_scored_once_and_the_pages_show_nulls_and_the_untrained_network(
    trained: tuple[Path, Path], tmp_path: Path
):
    data, runs = trained
    lines: list[str] = []
    asked = {"nulls": ["w_in_rotated"], "hooks": ["mid"], "untrained": True, "jobs": 1}
    page = tmp_path / "docs.md"
    pages = rescore([runs], data, tmp_path / "out", **asked, page=page, command=["x"], say=lines.append)
    assert [path.name for path in pages] == [PAGE, TABLE, EXAMPLES, "docs.md"]
    assert not any(line.startswith("found") for line in lines)
    assert not list((tmp_path / "out").rglob("*.sample"))
    text = page.read_text()
    for variant in ("gelu_new L0.mid", "solu_ln L0.mid"):
        for null in ("W_in rotated", "untrained"):
            assert any(line.startswith(f"| {variant}") and null in line for line in text.splitlines()), (variant, null)
    again: list[str] = []
    before = [path.read_bytes() for path in pages]
    rescore([runs], data, tmp_path / "out", **asked, page=page, command=["x"], say=again.append)
    assert [line.split()[0] for line in again] == ["found"] * 4
    assert [path.read_bytes() for path in pages] == before


@needs_tagger
def test_a_hook_that_a_variant_lacks_is_passed_over_unless_no_hook_is_left(trained: tuple[Path, Path], tmp_path: Path):
    data, runs = trained
    with pytest.raises(BadInput, match=r"gelu_new-s0.*no hook of post; it has: mid"):
        rescore([runs / "gelu_new-s0"], data, tmp_path, nulls=[], hooks=["post"], say=lambda line: None)


@needs_tagger
def test_a_hook_that_does_not_exist_is_refused(trained: tuple[Path, Path], tmp_path: Path):
    data, runs = trained
    with pytest.raises(BadInput, match="--hooks: 'mide' is none of mid, post"):
        rescore([runs], data, tmp_path, hooks=["mid", "mide"], say=lambda line: None)


def test_runs_steps_and_directories_of_runs_are_taken_and_variants_choose(trained: tuple[Path, Path]):
    runs = trained[1]
    last = [step_directory(runs / name, 20) for name in ("gelu_new-s0", "solu_ln-s0")]
    assert sources_of([runs], (), False) == last
    assert sources_of([runs / "solu_ln-s0", last[0]], (), False) == last[::-1]
    assert sources_of([runs], ("solu_ln",), True) == [step_directory(runs / "solu_ln-s0", 0), last[1]]


@pytest.mark.parametrize(
    ("given", "variants", "told"),
    [
        ("nowhere", (), "nowhere: no such directory"),
        ("", (), "no run here"),
        ("checkpoints", ("relu",), "no run of 'relu'; there are gelu_new, solu_ln"),
    ],
)
def test_bad_input_is_told(trained: tuple[Path, Path], given: str, variants: tuple[str, ...], told: str):
    root = trained[1].parent
    with pytest.raises(BadInput, match=told):
        sources_of([root / given if given else root / "texts"], variants, False)


def test_without_the_tagger_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(speech, "lexicon_path", lambda: None)
    with pytest.raises(BadInput, match=r"textblob.*pip install"):
        rescore([tmp_path], tmp_path, tmp_path, say=lambda line: None)
