"""The command `polysem`, and what it shares with `python -m train` and `python -m analyze`."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyze.__main__ import COMMANDS as ANALYZE
from analyze.__main__ import FORMER
from analyze.arguments import ReadsCheckpoints
from analyze.console import GROUPS, main
from analyze.validation.arguments import ReadsTruth
from tests.commands import Command, command_of
from train import launch
from train.__main__ import COMMANDS as TRAIN
from train.commandline import completion, options_of
from train.shipped import CONFIGS, shipped_names

ROOT = Path(__file__).parents[1]
EVERY = [*TRAIN, *ANALYZE]


@pytest.fixture
def polysem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`polysem WORDS` in this process."""
    with command_of(main, "polysem", capsys, monkeypatch) as command:
        yield command


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built of the files that git tracks or would: what is left of an earlier build must not get in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    for name in listed.decode().splitlines():
        if (ROOT / name).is_file() and name.split("/")[0] not in ("docs", "tests", "benchmarks"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    words = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(out)]
    subprocess.run(words, cwd=source, check=True, capture_output=True, timeout=300)
    return zipfile.ZipFile(next(out.glob("polysem-*.whl")))


def test_every_command_of_both_packages_appears_once_in_help(polysem: Command):
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(EVERY)
    assert len(set(EVERY)) == len(EVERY)
    said = polysem("--help")
    assert said.code == 0
    assert re.findall(r"^  ([a-z-]+) ", said.out, re.MULTILINE) == grouped
    assert not [old for old in FORMER if re.search(rf"^  {old} ", said.out, re.MULTILINE)]


@pytest.mark.parametrize("name", EVERY)
def test_every_command_explains_itself_and_its_shared_argument_once(polysem: Command, name: str):
    said = polysem(name, "--help")
    assert said.code == 0
    assert f"usage: polysem {name}" in said.out
    assert said.out.count("show the traceback of a failure") == 1


@pytest.mark.parametrize(("former", "now"), FORMER.items())
def test_former_names_are_the_same_command(polysem: Command, former: str, now: str):
    assert polysem(former, "--help").out == polysem(now, "--help").out


def test_former_names_work_for_analyze_too(analyze_command: Command):
    assert "K_eff" in analyze_command("scores").out


def test_version_tells_version_commit_torch_and_device(polysem: Command, train_command: Command):
    said = polysem("--version")
    assert said.code == 0
    pattern = r"polysem \S+, commit [0-9a-f]{12}( and changes)?, Python 3\.\S+, torch \S+, device (cpu|cuda|mps) \(.+\)"
    assert re.fullmatch(pattern, said.out.strip())
    assert train_command("--version").out == said.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ["a command is missing", "polysem --help"]),
        (("reprot", "x"), ["'reprot' is no command of polysem; did you mean 'report'?"]),
        (("--debgu", "run"), ["'--debgu' stands before the command"]),
        (("run",), ["missing: PATH; see polysem run --help"]),
        (("widen", "x"), ["missing: --layers INT...|all, --factor INT; see"]),
        (("run", "smoke", "--out"), ["Missing value for argument '--out'"]),
        (("collect", "x", "--data", "y", "--out", "z", "--batch", "many"), ["--batch", "'many'"]),
        (
            ("compare", "x", "--out", "y", "--refrence", "z"),
            ["'--refrence' is not an option of `compare`", "'--reference'"],
        ),
        (("score", "x", "--sample-tokens", "3"), ["--sample-tokens is an option of `collect`"]),
        (("run", "smoke", "--hooks", "mid"), ["unknown key 'hooks'", "--hooks is an option of `collect`"]),
        (("study", "smok"), ["smok: no such file, and no study config", "did you mean 'smoke'?"]),
        (("toy", "uniform-400-31"), ["did you mean 'uniform-400-30'?"]),
        (("--tyro-print-completion", "csh"), ["shells: bash, zsh, fish, tcsh"]),
    ],
)
def test_wrong_usage_is_one_line_with_the_nearest_right_one(polysem: Command, words: tuple[str, ...], parts: list[str]):
    assert polysem(*words).is_refusal(2, *parts)


def test_keys_of_a_file_may_stand_before_its_name_or_without_one(polysem: Command):
    for words in (("--train.tokenz", "1"), ("--train.tokenz=1", "smoke"), ("--train.tokenz", "-1", "--jobs", "1")):
        assert polysem("study", *words).is_refusal(2, "unknown key 'train.tokenz'")
    assert polysem("toy", "--list").code == 0


def test_a_directory_that_cannot_be_written_is_one_line(polysem: Command, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    said = polysem("prepare", "smoke", "--out", tmp_path / "file" / "data")
    assert said.code in (2, 3)
    assert said.is_refusal(said.code, str(tmp_path / "file"))


def test_shells_complete_commands_and_options(polysem: Command):
    said = polysem("--tyro-print-completion", "bash")
    assert said.code == 0
    assert all(name in said.out for name in (*EVERY, "--sample-tokens"))


def test_bash_completes_commands_and_options(polysem: Command, tmp_path: Path):
    file = tmp_path / "completion"
    assert polysem("--tyro-write-completion", "bash", file).code == 0
    asked = {"co": "collect compare", "collect --sam": "--sample-tokens"}
    for typed, expected in asked.items():
        words = f"polysem {typed}".split()
        script = (
            f"source {file}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); "
            'function=$(complete -p polysem | sed -E "s/.*-F ([^ ]+).*/\\1/"); '
            f'$function polysem {words[-1]} {words[-2]}; echo "${{COMPREPLY[*]}}"'
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=300)
        assert done.stdout.strip() == expected


def test_help_and_the_page_on_installing_say_the_same_of_completion(polysem: Command):
    line = completion("polysem")
    assert line in polysem("--help").out
    assert line in (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def test_options_are_named_as_typed():
    assert "--sample-tokens" in options_of(ANALYZE["collect"])
    assert "--checkpoint" not in options_of(ANALYZE["collect"])


@pytest.mark.parametrize("kind", ["data", "run", "study", "toy"])
def test_configs_that_come_with_polysem_have_names(kind: str):
    assert "smoke" in shipped_names(kind) or kind == "toy"
    assert len(shipped_names(kind)) == len(list((ROOT / "configs" / kind).glob("*.toml")))


def test_shipped_configs_are_found_from_any_directory_and_those_that_lie_there_win(
    polysem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()  # no file
    said = polysem("run", "smoke", "--train.tokenz", "1")
    assert said.is_refusal(2, str(CONFIGS / "run" / "smoke.toml"), "unknown key 'train.tokenz'")
    said = polysem("study", "smoke", "--train.tokenz", "1")  # through base = "configs/run/smoke.toml"
    assert said.is_refusal(2, "configs/run/smoke.toml: unknown key 'train.tokenz'")
    (tmp_path / "configs/run").mkdir(parents=True)
    (tmp_path / "configs/run/smoke.toml").write_text("nonsense = 1\n")
    assert polysem("study", "smoke").is_refusal(2, "configs/run/smoke.toml: unknown key 'nonsense'")
    (tmp_path / "cpu-1l").write_text("other = 1\n")
    assert polysem("run", "cpu-1l").is_refusal(2, "cpu-1l: unknown key 'other'")


def test_a_wheel_holds_the_configs_and_every_file_that_the_packages_read(wheel: zipfile.ZipFile):
    held = set(wheel.namelist())
    configs = {f"train/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.toml")}
    assert configs <= held
    other = {
        str(path.relative_to(ROOT))
        for package in ("train", "analyze")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert other <= held
    assert (
        "polysem = analyze.console:entry"
        in wheel.read(next(name for name in held if name.endswith("entry_points.txt"))).decode()
    )


def test_a_wheel_needs_nothing_that_only_tests_or_the_corpus_need(wheel: zipfile.ZipFile):
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    always = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert "torch" in always
    assert not {"beartype", "networkx", "sympy", "pytest", "pdoc"} & set(always)
    extras = set(re.findall(r"^Provides-Extra: (\S+)", metadata, re.MULTILINE))
    assert extras == {"corpus", "labels", "headline", "dask", "gguf", "test", "docs", "dev"}


BEFORE_THE_CHECK = (
    "train/__init__.py",
    "train/__main__.py",
    "train/launch.py",
    "analyze/__init__.py",
    "analyze/__main__.py",
    "analyze/console.py",
    "scripts/study.py",
)
"""What Python reads before a command can say that it is too old."""


@pytest.mark.parametrize("name", BEFORE_THE_CHECK)
def test_an_old_python_can_read_what_refuses_it(name: str):
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_an_old_python_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(launch.sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit) as left:
        launch.require_python()
    assert left.value.code == 3
    assert capsys.readouterr().err == "error: polysem needs Python 3.11 or newer; this is 3.10\n"


@pytest.mark.parametrize(
    ("option", "shared"), [("--checkpoints", (ReadsCheckpoints, ReadsTruth)), ("--debug", (object,))]
)
def test_what_commands_share_is_defined_once(option: str, shared: tuple[type, ...]):
    takers = [kind for kind in ANALYZE.values() if option in options_of(kind)]
    assert len(takers) > 3
    assert all(issubclass(kind, shared) for kind in takers)
    assert not [kind for kind in takers if option[2:] in vars(kind).get("__annotations__", {})]
