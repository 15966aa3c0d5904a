"""`polysem rescore` on runs of its own: what it writes, what it finds again, and what it refuses."""

import shutil
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


@needs_tagger
def test_without_a_null_the_page_says_so_and_other_steps_in_the_results_are_not_opened(
    trained: tuple[Path, Path], tmp_path: Path
):
    data, runs = trained
    (tmp_path / "mine/step-000000007/L0.mid.scores").mkdir(parents=True)  # of nothing
    (page, *_) = rescore([runs / "gelu_new-s0"], data, tmp_path, nulls=[], jobs=1, say=lambda line: None)
    assert "nothing here says what chance gives" in page.read_text()


@needs_tagger
def test_what_cannot_stand_on_one_page_is_refused_before_anything_is_scored(trained: tuple[Path, Path], tmp_path: Path):
    data, runs = trained
    other = tmp_path / "other/gelu_new-s0"
    run(small_run(data, model__act="relu", variant="relu"), other)
    run(small_run(data, model__n_ctx=8), tmp_path / "short-s0")
    small_data(more := tmp_path / "more", d_vocab=290)
    page = tmp_path / "nowhere/page.md"
    for given, told in (
        (([runs, other], data), r"gelu_new-s0/.* and .*other/gelu_new-s0/.* are different runs of one name"),
        (([runs, tmp_path / "short-s0"], data), "reads rows of 16 tokens and .*short-s0.* of 8: they cannot be"),
        (([runs], more / "data"), "its tokenizer is not the one that .*gelu_new-s0.* was trained with"),
        (([], data), "rescore needs runs"),
    ):
        with pytest.raises(BadInput, match=told):
            rescore(*given, tmp_path / "out", say=print)
    for keys, told in (
        ({"page": page}, f"--page: there is no directory {page.parent}"),
        ({"page": tmp_path}, "is a directory; name a file"),
        ({"max_neurons": 0}, "max_neurons: 0 must be at least 1"),
        ({"sample_tokens": -1}, "sample_tokens: -1 must be at least 1"),
    ):
        with pytest.raises(BadInput, match=told):
            rescore([runs], data, tmp_path / "out", **keys, say=print)
    assert not (tmp_path / "out").exists()


@needs_tagger
def test_results_of_other_data_are_refused_and_damaged_ones_named(trained: tuple[Path, Path], tmp_path: Path):
    data, runs = trained
    asked = {"nulls": [], "jobs": 1, "say": lambda line: None}
    rescore([runs / "gelu_new-s0"], data, tmp_path / "out", **asked)
    small_data(tmp_path / "more", tokenizer=str(data), d_vocab=None)
    with pytest.raises(BadInput, match=r"L0\.mid: collected with data_hash = "):
        rescore([runs / "gelu_new-s0"], tmp_path / "more/data", tmp_path / "out", **asked)
    scores = next((tmp_path / "out").rglob("scores.parquet"))
    scores.write_bytes(scores.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"scores\.parquet: content does not match"):
        rescore([runs / "gelu_new-s0"], data, tmp_path / "out", **asked)


@needs_tagger
@pytest.mark.parametrize("lost", ["L0.mid", "L0.mid.scores", "L0.mid.passages"])
def test_a_layer_that_is_not_whole_is_made_again_alike(trained: tuple[Path, Path], tmp_path: Path, lost: str):
    data, runs = trained
    asked = {"nulls": ["rotated"], "jobs": 1, "say": lambda line: None}
    pages = rescore([runs / "gelu_new-s0"], data, tmp_path, **asked)
    before = [path.read_bytes() for path in pages]
    shutil.rmtree(tmp_path / "gelu_new-s0/step-000000020" / lost)
    assert [path.read_bytes() for path in rescore([runs / "gelu_new-s0"], data, tmp_path, **asked)] == before
