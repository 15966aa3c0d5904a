"""Every path that a user may give under names that other programs take for patterns, options, addresses or markup."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest

from tests.commands import Command
from tests.conftest import once
from tests.inputs import write_inputs
from train.config import RunConfig
from train.configfile import load_config
from train.errors import BadInput
from train.files import read_manifest
from train.parquet import read_parquet

PATTERN = "-x[1]*wh?t"
"""A pattern that begins like an option."""
NEIGHBOURS = {PATTERN: ("-x1-what", "-x[1]other-what")}
"""Names that are patterns, and the names of neighbours that they match, the second where brackets mean themselves."""
ODD = "s3:two words\nand 'quotes\" $(touch pwned); %s {0} <b>&amp;#1%20? m\u00fcn-u\u0308-\u6f22\u5b57-\U0001f986"
"""An address, markup, commands, and letters beyond ASCII, composed and not."""
LONG = "x" * 200
NAMES = (PATTERN, "--help", "~", ODD, LONG)


def as_word(path: str) -> str:
    """A path as a user types it where a word that begins with a dash is an option."""
    return f"./{path}" if path.startswith("-") else path


def commands(place: Path, out: Callable[[str], list[str]], train: Command, analyze: Command) -> None:
    """The whole line, a command a stage, in directories of `place`.

    Args:
        out: the words that say --out of a directory of `place`.
    """
    word = as_word(str(place))
    data, run, results = f"{word}/d", f"{word}/gelu-s0", f"{word}/results"
    lines: list[tuple[Command, list[str]]] = [
        (train, ["prepare", f"{word}/data.toml", *out("d")]),
        (train, ["run", f"{word}/run.toml", *out("gelu-s0"), "--data", data]),
        (train, ["widen", run, "--layers", "0", "--factor", "2", "--data", data, *out("wide-s0")]),
        (analyze, ["collect", run, "--data", data, *out("results")]),
        (analyze, ["collect", f"{run}/step-000000000/", "--data", data, *out("results")]),
        (analyze, ["score", results, "--scores", "k_eff", "--nulls", "rotated"]),
        (analyze, ["probe", results, *out("probes"), "--families", "casing", "--k", "1", "--shifts", "1"]),
        (analyze, ["compare", results, *out("results")]),
        (analyze, ["report", results]),
        (analyze, ["fission", f"{word}/wide-s0", "--data", data, *out("results")]),
        (analyze, ["labels", "--data", data, "--extra", f"{word}/own.csv", f"{word}/own.parquet", *out("labels")]),
        (train, ["status", word]),
    ]
    for command, words in lines:
        said = command(*words)
        assert (said.code, said.err) == (0, ""), (words, said)


def numbers(results: Path) -> pl.DataFrame:
    """Every scored row below a directory, in order."""
    tables = [read_parquet(path) for path in sorted(results.rglob("scores.parquet"))]
    return pl.concat(tables)


def weights(run: Path) -> str:
    return read_manifest(run / "step-000000010")["files"]["model.safetensors"]["sha256"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes out under names that nobody could take for anything else."""

    def make(root: Path) -> None:
        from analyze import collect, score
        from train import prepare, run

        write_inputs(root)
        prepare(root / "data.toml", root / "d")
        config = load_config(RunConfig, root / "run.toml", ["--data", str(root / "d")])
        directory = run(config, root / "gelu-s0").directory
        for step in (directory, directory / "step-000000000"):
            collect(step, root / "d", root / "results", say=lambda line: None)
        score(root / "results", ["k_eff"], nulls=["rotated"])

    return once(tmp_path_factory, "plain-names", make)


@pytest.fixture
def place(request: pytest.FixtureRequest, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of a hard name, by its path from the working directory, with inputs, and beside it a neighbour."""
    monkeypatch.chdir(tmp_path)
    name = request.param
    write_inputs(Path(name))
    for neighbour in NEIGHBOURS.get(name, ()):
        shutil.copytree(plain, neighbour)
    return Path(name)


def check(place: Path, plain: Path, results: Path, run: Path) -> None:
    """The numbers of the plain names, and nothing outside of `place` but the neighbour."""
    assert weights(run) == weights(plain / "gelu-s0")
    assert numbers(results / "gelu-s0").equals(numbers(plain / "results"))
    assert sorted(os.listdir()) == sorted({place.name, *NEIGHBOURS.get(place.name, ())})


@pytest.mark.parametrize("place", NAMES, indirect=True)
def test_every_command_takes_paths_of_any_name(
    place: Path, plain: Path, train_command: Command, analyze_command: Command
) -> None:
    # `--out=NAME` is the one word that may begin with anything; a slash at the end changes nothing.
    here = "./" if str(place) == "~" else ""  # without it a home is meant
    commands(place, lambda name: [f"--out={here}{place / name}/"], train_command, analyze_command)
    check(place, plain, place / "results", place / "gelu-s0")
    documents, wanted = (read_parquet(path / "d" / "documents.parquet").height for path in (place, plain))
    assert documents == wanted
    table = read_parquet(place / "results" / "comparison.parquet")
    assert table["variant"].to_list() == ["gelu"]


@pytest.mark.parametrize("place", [PATTERN, ODD, LONG], indirect=True)
def test_a_study_lies_under_any_name(place: Path, plain: Path, analyze_command: Command) -> None:
    (place / "study.toml").rename(place / f"{place}.toml")
    for turn in range(2):
        said = analyze_command("study", f"{as_word(str(place))}/{place}.toml", f"--out={place}/{place}")
        assert (said.code, said.err) == (0, "")
        assert turn == 0 or said.out.count("found") == 9
    out = place / place
    check(place, plain, out / "results" / place, out / "checkpoints" / place / "gelu-s0")


@pytest.mark.slow
@pytest.mark.parametrize("place", [PATTERN], indirect=True)
def test_a_launcher_is_given_words_that_are_no_options(place: Path, plain: Path, analyze_command: Command) -> None:
    launch = f"--launch={shlex.quote(sys.executable)}"
    said = analyze_command("study", f"./{place}/study.toml", f"--out={place}", launch)
    assert (said.code, said.err) == (0, "")
    check(place, plain, place / "results" / "study", place / "checkpoints" / "study" / "gelu-s0")


TOY = Path(__file__).parents[1] / "configs" / "toy" / "abs-20-10.toml"


@pytest.mark.parametrize("place", [PATTERN, ODD], indirect=True)
def test_a_toy_and_its_pages_lie_under_any_name(place: Path, train_command: Command, analyze_command: Command) -> None:
    word = as_word(str(place))
    (place / f"{place}.toml").write_text(TOY.read_text())
    toy = f"{word}/{place}"
    small = ("--fit.steps", "20", "--fit.batch", "32")
    assert train_command("toy", f"{word}/{place}.toml", f"--out={place}/{place}", *small).code == 0
    assert "found" in train_command("toy", f"{word}/{place}.toml", f"--out={place}/{place}/", *small).out
    assert analyze_command("toys", toy, f"--out={place}/pages").code == 0
    links = re.findall(r'href="([^"#]+)"', (place / "pages" / "index.html").read_text(encoding="utf-8"))
    assert [unquote(link) for link in links] == [f"{place}.html"]
    assert (place / "pages" / f"{place}.html").is_file()


def test_a_home_is_meant_where_a_shell_does_not_say_so(tmp_path, monkeypatch, plain, analyze_command) -> None:
    """bash leaves `--out=~/x` as it stands; a directory named `~` is removed together with what is at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert analyze_command("compare", plain / "results", "--out=~/results").code == 0
    assert (tmp_path / "home" / "results" / "comparison.md").is_file()
    assert os.listdir() == ["home"]


def test_a_run_that_is_named_like_a_step_is_refused_before_it_trains(plain: Path, tmp_path, train_command) -> None:
    out = tmp_path / "step-000000007"
    for words in (["run", plain / "run.toml", "--data", plain / "d"], ["widen", plain / "gelu-s0", "--layers", "0"]):
        more = ["--factor", "2"] if words[0] == "widen" else []
        assert train_command(*words, *more, "--out", out).is_refusal(2, str(out), "the name of a checkpoint's step")
    assert not out.exists()


@pytest.mark.parametrize("name", ["nope", "texts", "data.toml"])
def test_what_is_no_data_directory_is_refused_with_the_command_that_makes_one(
    plain: Path, tmp_path, analyze_command, name
) -> None:
    said = analyze_command("collect", plain / "gelu-s0", "--data", plain / name, "--out", tmp_path / "results")
    assert said.is_refusal(2, f"{plain / name}", "`polysem prepare` makes a data directory")
    assert ("no such directory" in said.err) == (name == "nope")


@pytest.mark.parametrize("kind", ["", ".scores"])
def test_results_that_lost_a_manifest_are_refused_in_one_line(plain: Path, tmp_path, analyze_command, kind) -> None:
    from analyze import load_scores

    shutil.copytree(plain / "results", tmp_path / "results")
    cell = tmp_path / "results" / "gelu-s0" / "step-000000010" / f"L0.mid{kind}"
    (cell / "MANIFEST.json").unlink()
    with pytest.raises(BadInput, match=rf"L0\.mid{kind}/MANIFEST\.json: not there"):
        load_scores(tmp_path / "results")
    for command in ("compare", "report"):
        words = ["--out", tmp_path / "out"] if command == "compare" else []
        said = analyze_command(command, tmp_path / "results", *words)
        assert said.is_refusal(2, str(cell / "MANIFEST.json"), "not there")


def test_a_log_without_a_step_is_refused_in_one_line(plain: Path, tmp_path, analyze_command) -> None:
    shutil.copytree(plain / "results", tmp_path / "results")
    log = tmp_path / "results" / "gelu-s0" / "metrics.jsonl"
    log.write_text('{"kind": "eval", "loss": 1.0}\n' + log.read_text())
    assert analyze_command("report", tmp_path / "results").is_refusal(2, f"{log}: line 1: key 'step' is missing")
